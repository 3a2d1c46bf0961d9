//! HTTP long-polling of a session: GETs that bring packets, POSTs that take them, at most one of each at a time.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use tidings_protocol::engineio::{self, PacketType, PayloadPacket};
use tokio::sync::oneshot;

use super::Refusal;
use crate::connection::{Post, Transport};
use crate::handshake::Opening;
use crate::hub::Permit;
use crate::random::RandomId;
use crate::shard::{Farewell, Shard};
use crate::socketio::reason::Reason;

/// The answer to a GET.
#[derive(Debug)]
pub(crate) enum PollReply {
    Payload(Bytes),
    Refused(Refusal),
}

/// The answer to a POST.
#[derive(Debug)]
pub(crate) enum PostReply {
    Taken,
    Refused(Refusal),
}

impl Shard {
    pub(crate) fn open_polling(
        &mut self,
        sid: RandomId,
        opening: Arc<Opening>,
        permit: Permit,
        reply: oneshot::Sender<Bytes>,
    ) {
        let upgrades: &[&str] = if self.server.config.allows_upgrade() {
            &["websocket"]
        } else {
            &[]
        };
        let handshake = self.handshake(sid, upgrades);
        let index = self.open(sid, Transport::Polling(Box::default()), opening, permit);
        if reply.send(handshake.into()).is_err() {
            self.end(index, Reason::TransportClose, Farewell::None);
        }
    }

    pub(crate) fn poll(&mut self, sid: RandomId, ticket: u64, reply: oneshot::Sender<PollReply>) {
        let now_ms = self.now_ms;
        let Some(connection) = self.session(sid) else {
            return drop(reply.send(PollReply::Refused(Refusal::SessionUnknown)));
        };
        let index = connection.key.index;
        let is_probed = connection.probe.as_ref().is_some_and(|probe| probe.answered);
        let is_open = connection.is_open();
        let Some(polling) = connection.polling_mut() else {
            return drop(reply.send(PollReply::Refused(Refusal::BadRequest(
                "the session has moved to a WebSocket",
            ))));
        };
        if let Some((_, first)) = polling.get.take() {
            let _ = first.send(PollReply::Payload(Bytes::from_static(b"1")));
            let _ = reply.send(PollReply::Refused(Refusal::Overlap));
            return self.end(index, Reason::TransportError, Farewell::None);
        }
        polling.get = Some((ticket, reply));
        connection.heartbeat.received_ms = now_ms;
        if !is_open {
            // The session has ended meanwhile: what was queued, and the end with the poll after that.
            if connection.outbox.is_empty() {
                connection.outbox.push(Bytes::from_static(b"6"));
                return self.answer_end(index);
            }
        } else if is_probed && connection.outbox.is_empty() {
            connection.outbox.push(Bytes::from_static(b"6"));
        }
        self.flush(index);
    }

    /// The client closed a GET that waited: to engine.io the session is over.
    pub(crate) fn poll_aborted(&mut self, sid: RandomId, ticket: u64) {
        let Some(connection) = self.session(sid) else { return };
        let index = connection.key.index;
        if connection
            .polling_mut()
            .is_some_and(|polling| matches!(&polling.get, Some((waiting, _)) if *waiting == ticket))
        {
            self.end(index, Reason::TransportError, Farewell::None);
        }
    }

    pub(crate) fn begin_post(&mut self, sid: RandomId) -> Result<(), Refusal> {
        let connection = self.session(sid).ok_or(Refusal::SessionUnknown)?;
        let index = connection.key.index;
        let polling = connection
            .polling_mut()
            .ok_or(Refusal::BadRequest("the session has moved to a WebSocket"))?;
        if polling.posting {
            self.end(index, Reason::TransportError, Farewell::Close(None));
            return Err(Refusal::Overlap);
        }
        polling.posting = true;
        Ok(())
    }

    pub(crate) fn end_post(&mut self, sid: RandomId, aborted: bool) {
        let Some(connection) = self.session(sid) else { return };
        let index = connection.key.index;
        let Some(polling) = connection.polling_mut() else {
            return;
        };
        polling.posting = false;
        if aborted {
            self.end(index, Reason::TransportError, Farewell::Close(None));
        }
    }

    /// The packets of a POST. It is answered when the connection may be read from again.
    pub(crate) fn post(&mut self, sid: RandomId, body: &[u8], reply: oneshot::Sender<PostReply>) {
        let now_ms = self.now_ms;
        let Some(connection) = self.session(sid) else {
            return drop(reply.send(PostReply::Refused(Refusal::SessionUnknown)));
        };
        let key = connection.key;
        // Invalid UTF-8 becomes U+FFFD, as on the reference server.
        let body = String::from_utf8_lossy(body);
        if !connection.is_open() {
            // It was told to go. All it can still say is that it has gone, and asks for nothing more.
            if let Some(polling) = connection.polling_mut() {
                polling.posting = false;
            }
            let is_close = |packet| matches!(packet, Ok(PayloadPacket::Text(PacketType::Close, _)));
            if engineio::decode_payload(&body).any(is_close) {
                self.remove(key.index);
            }
            return drop(reply.send(PostReply::Taken));
        }
        connection.heartbeat.received_ms = now_ms;
        if let Some(polling) = connection.polling_mut() {
            let rest = Some(Bytes::from(body.into_owned()));
            polling.post = Some(Post { rest, reply });
        }
        self.go_on_with_post(key.index);
    }

    /// Takes packets of the POST that waits for as long as the connection may be read from; after the last it is answered.
    pub(crate) fn go_on_with_post(&mut self, index: u32) {
        let outbox_bytes_max = self.server.hub.limits.outbox_bytes;
        loop {
            let Some(connection) = self.at(index) else { return };
            if connection.is_paused(outbox_bytes_max) {
                return;
            }
            let Some(polling) = connection.polling_mut() else {
                return;
            };
            let Some(post) = &mut polling.post else { return };
            let Some(packet) = post.next_packet() else {
                polling.posting = false;
                if let Some(post) = polling.post.take() {
                    let _ = post.reply.send(PostReply::Taken);
                }
                return;
            };
            // Cut from valid UTF-8 at an ASCII character.
            let text = std::str::from_utf8(&packet).unwrap_or_default();
            match engineio::decode_packet(text) {
                Ok(packet) => {
                    if self.packet(index, packet) == ControlFlow::Break(()) {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(connection = %self.name(index), %error, "a client sent a malformed payload");
                    return self.end(index, Reason::ParseError, Farewell::Close(None));
                }
            }
        }
    }

    /// The end of a polling session: told to the poll that waits or, for a goodbye, to the next one.
    pub(crate) fn end_polling(&mut self, index: u32, may_wait: bool) {
        let Some(connection) = self.at(index) else { return };
        let Transport::Polling(polling) = &mut connection.transport else {
            return;
        };
        if let Some(post) = polling.post.take() {
            polling.posting = false;
            let _ = post.reply.send(PostReply::Taken);
        }
        if polling.get.is_none() {
            if !may_wait {
                self.remove(index);
            }
        } else if may_wait && !connection.outbox.is_empty() {
            // Stock clients act on a `1` before the packets that came with it, so it has a poll of its own.
            self.flush(index);
        } else {
            self.answer_end(index);
        }
    }

    /// Answers the poll that waits with the end of the session.
    fn answer_end(&mut self, index: u32) {
        if let Some(connection) = self.at(index) {
            connection.outbox.push(Bytes::from_static(b"1"));
            self.flush(index);
            self.remove(index);
        }
    }

    // Packets
}

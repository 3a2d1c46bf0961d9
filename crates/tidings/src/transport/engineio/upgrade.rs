//! The upgrade: a WebSocket tries the way, takes the session over from polling, and what waited goes out on it.

use std::ops::ControlFlow;

use bytes::Bytes;
use tidings_protocol::websocket::{self, Decoder, Message, Opcode};

use super::Refusal;
use super::polling::{PollReply, PostReply};
use crate::connection::{Heartbeat, Phase, Polling, Probe, Socket, Transport};
use crate::outbox::Outbox;
use crate::random::RandomId;
use crate::shard::Shard;
use crate::transport::link::NewLink;
use crate::wire::{self, Wire};

impl Shard {
    pub(crate) fn check_upgrade(&mut self, sid: RandomId) -> Result<(), Refusal> {
        let allowed = self.server.config.allows_upgrade();
        match self.session(sid) {
            Some(connection) if connection.is_open() && allowed => Ok(()),
            Some(_) => Err(Refusal::BadRequest("this session can't be upgraded")),
            None => Err(Refusal::SessionUnknown),
        }
    }

    /// A second WebSocket, or one for a session that needs none, is closed; the session does not care.
    pub(crate) fn probe(&mut self, sid: RandomId, mut link: NewLink) {
        let now_ms = self.now_ms;
        let task = self.next_task();
        let connection = self.session(sid).filter(|connection| {
            let is_polling = matches!(connection.transport, Transport::Polling(_));
            connection.is_open() && connection.probe.is_none() && is_polling
        });
        let Some(connection) = connection else {
            let close = [link.head, websocket::close_frame(None, "")].concat();
            return link.stream.end_with(&close);
        };
        if link.stream.begin_with(&link.head).is_err() {
            return;
        }
        let Ok(stream) = link.stream.into_link() else { return };
        let socket = Socket {
            link: stream,
            decoder: Decoder::new(),
            task,
        };
        connection.probe = Some(Box::new(Probe {
            socket,
            since_ms: now_ms,
            answered: false,
        }));
        let key = connection.key;
        self.start_reading(key.index, task);
        self.receive_early(key, true, &link.early);
    }

    pub(crate) fn drop_probe(&mut self, index: u32) {
        let Some(connection) = self.at(index) else { return };
        if let Some(mut probe) = connection.probe.take() {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let _ = probe.socket.link.poll_write(&mut cx, &websocket::close_frame(None, ""));
            let _ = probe.socket.link.poll_shutdown(&mut cx);
        }
    }

    /// A message of a WebSocket that wants to take over.
    pub(crate) fn probe_message(&mut self, index: u32, message: Message<'_>) -> ControlFlow<()> {
        match message {
            Message::Text("2probe") => {
                let Some(connection) = self.at(index) else {
                    return ControlFlow::Break(());
                };
                let Some(probe) = &mut connection.probe else {
                    return ControlFlow::Break(());
                };
                probe.answered = true;
                // So few bytes on a socket that has hardly been written to: the kernel takes them.
                let answer = websocket::frame(Opcode::Text, &[b"3probe"]);
                let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
                let _ = probe.socket.link.poll_write(&mut cx, &answer);
                // The poll that waits ends, so that the client can pause polling.
                if connection.polling_mut().is_some_and(|polling| polling.get.is_some()) {
                    if connection.outbox.is_empty() {
                        connection.outbox.push(Bytes::from_static(b"6"));
                    }
                    self.flush(index);
                }
                ControlFlow::Continue(())
            }
            Message::Text("5") => {
                self.upgrade(index);
                ControlFlow::Continue(())
            }
            Message::Ping(payload) => {
                let pong = websocket::frame(Opcode::Pong, &[payload]);
                if let Some(probe) = self.at(index).and_then(|connection| connection.probe.as_mut()) {
                    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
                    let _ = probe.socket.link.poll_write(&mut cx, &pong);
                }
                ControlFlow::Continue(())
            }
            Message::Pong(_) => ControlFlow::Continue(()),
            _ => {
                self.drop_probe(index);
                ControlFlow::Break(())
            }
        }
    }

    /// `5`: the WebSocket takes over; what waited for the next poll goes out on it.
    fn upgrade(&mut self, index: u32) {
        let now_ms = self.now_ms;
        let ping_due_ms = now_ms + self.server.config.ping_interval_ms();
        let Some(connection) = self.at(index) else { return };
        let Some(probe) = connection.probe.take() else { return };
        connection.wire = Wire::SocketIo;
        let old = std::mem::replace(&mut connection.transport, Transport::WebSocket(probe.socket));
        if let Transport::Polling(polling) = old {
            let Polling { get, post, .. } = *polling;
            if let Some((_, reply)) = get {
                let _ = reply.send(PollReply::Payload(Bytes::from_static(b"6")));
            }
            if let Some(post) = post {
                let _ = post.reply.send(PostReply::Taken);
            }
        }
        let mut outbox = Outbox::default();
        while let Some(chunk) = connection.outbox.pop() {
            outbox.push(wire::polling_to_websocket(&chunk));
        }
        connection.outbox = outbox;
        if let Some(lag) = connection.lag() {
            lag.deferred.reframe(wire::polling_to_websocket);
        }
        connection.blocked = false;
        connection.progress_ms = now_ms;
        connection.heartbeat = Heartbeat {
            received_ms: now_ms,
            ping_due_ms,
            pinged_ms: None,
        };
        if !connection.is_open() {
            // It was told to go during the upgrade, and reads that here.
            connection.phase = Phase::Closing {
                since_ms: now_ms,
                shut: false,
            };
            connection.outbox.push(websocket::close_frame(None, ""));
        }
        self.mark_dirty(index);
    }
}

//! Engine.IO v4 on a connection: sessions, HTTP long-polling, the upgrade to WebSocket, and the heartbeat.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tidings_protocol::engineio::{self, PacketType, PayloadPacket};
use tidings_protocol::websocket::{self, Decoder, Message, Opcode};
use tokio::sync::oneshot;

use crate::connection::{Connection, Heartbeat, Key, Pace, Phase, Polling, Post, Probe, Socket, Transport};
use crate::handshake::Opening;
use crate::hub::Permit;
use crate::outbox::Outbox;
use crate::random::RandomId;
use crate::shard::{Farewell, Shard};
use crate::socketio::client::Client;
use crate::socketio::reason::Reason;
use crate::transport::link::NewLink;
use crate::wire::{self, Wire};

/// Why a request is refused (the error bodies of engine.io: an integer `code` and a `message`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    TransportUnknown,
    SessionUnknown,
    BadHandshakeMethod,
    /// With what was bad about it.
    BadRequest(&'static str),
    /// With the message for the client.
    Forbidden(String),
    ProtocolVersion,
    /// A GET or POST while another is under way: 400 without a body.
    Overlap,
    /// The limit of connections is reached, or the server is draining.
    Unavailable(StatusCode, String),
}

impl Refusal {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
            Refusal::Unavailable(status, _) => *status,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Refusal::TransportUnknown => 0,
            Refusal::SessionUnknown => 1,
            Refusal::BadHandshakeMethod => 2,
            Refusal::BadRequest(_) | Refusal::Overlap => 3,
            Refusal::Forbidden(_) | Refusal::Unavailable(..) => 4,
            Refusal::ProtocolVersion => 5,
        }
    }

    pub(crate) fn message(&self) -> &str {
        match self {
            Refusal::TransportUnknown => "Transport unknown",
            Refusal::SessionUnknown => "Session ID unknown",
            Refusal::BadHandshakeMethod => "Bad handshake method",
            Refusal::BadRequest(_) | Refusal::Overlap => "Bad request",
            Refusal::Forbidden(message) | Refusal::Unavailable(_, message) => message,
            Refusal::ProtocolVersion => "Unsupported protocol version",
        }
    }
}

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

    pub(crate) fn open_websocket(&mut self, sid: RandomId, opening: Arc<Opening>, permit: Permit, link: NewLink) {
        let Ok(stream) = link.stream.into_link() else { return };
        let task = self.next_task();
        let socket = Socket {
            link: stream,
            decoder: Decoder::new(),
            task,
        };
        let handshake = self.handshake(sid, &[]);
        let index = self.open(sid, Transport::WebSocket(socket), opening, permit);
        let Some(connection) = self.at(index) else { return };
        let key = connection.key;
        connection
            .outbox
            .push(websocket::frame(Opcode::Text, &[handshake.as_bytes()]));
        self.mark_dirty(index);
        self.start_reading(index, task);
        self.receive_early(key, false, &link.early);
    }

    fn open(&mut self, sid: RandomId, transport: Transport, opening: Arc<Opening>, permit: Permit) -> u32 {
        let wire = match transport {
            Transport::Polling(_) => Wire::Polling,
            _ => Wire::SocketIo,
        };
        self.add(sid, transport, wire, Some(opening), Some(permit))
    }

    /// A new connection, of whatever kind.
    pub(crate) fn add(
        &mut self,
        sid: RandomId,
        transport: Transport,
        wire: Wire,
        opening: Option<Arc<Opening>>,
        permit: Option<Permit>,
    ) -> u32 {
        let now_ms = self.now_ms;
        let ping_due_ms = now_ms + self.server.config.ping_interval_ms();
        self.insert(|key: Key| Connection {
            key,
            sid,
            transport,
            wire,
            probe: None,
            waker: None,
            outbox: Outbox::default(),
            pace: Pace::Live,
            phase: Phase::Open,
            dirty: false,
            blocked: false,
            reader_waits: false,
            drivers_wait: false,
            progress_ms: now_ms,
            seen: 0,
            subscriptions: Vec::new(),
            heartbeat: Heartbeat {
                received_ms: now_ms,
                ping_due_ms,
                pinged_ms: None,
            },
            opened_ms: now_ms,
            opening,
            client: Client::default(),
            plain: None,
            _permit: permit,
        })
    }

    fn handshake(&self, sid: RandomId, upgrades: &[&str]) -> String {
        let config = &self.server.config;
        engineio::Handshake {
            sid: &sid.to_string(),
            upgrades,
            ping_interval_ms: config.ping_interval_ms(),
            ping_timeout_ms: config.ping_timeout_ms(),
            max_payload_bytes: self.server.hub.limits.message_bytes,
        }
        .encode()
    }

    pub(crate) fn next_task(&mut self) -> u32 {
        self.tasks = self.tasks.wrapping_add(1);
        self.tasks
    }

    // HTTP long-polling

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
                    tracing::debug!(%error, "a client sent a malformed payload");
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

    /// A message of the connection's own WebSocket.
    pub(crate) fn websocket_message(&mut self, index: u32, message: Message<'_>) -> ControlFlow<()> {
        match message {
            Message::Text(text) => match engineio::decode_packet(text) {
                Ok(packet) => self.packet(index, packet),
                Err(error) => {
                    tracing::debug!(%error, "a client sent a malformed packet");
                    self.end(index, Reason::ParseError, Farewell::Goodbye);
                    ControlFlow::Break(())
                }
            },
            Message::Binary(bytes) => self.socketio_attachment(index, Bytes::copy_from_slice(bytes)),
            Message::Ping(payload) => {
                let pong = websocket::frame(Opcode::Pong, &[payload]);
                if let Some(connection) = self.at(index) {
                    connection.outbox.push(pong);
                    self.mark_dirty(index);
                }
                ControlFlow::Continue(())
            }
            Message::Pong(_) => ControlFlow::Continue(()),
            Message::Close { code, .. } => {
                self.end(index, Reason::TransportClose, Farewell::Close(code));
                ControlFlow::Break(())
            }
        }
    }

    fn packet(&mut self, index: u32, packet: PayloadPacket<'_>) -> ControlFlow<()> {
        let now_ms = self.now_ms;
        let interval_ms = self.server.config.ping_interval_ms();
        match packet {
            PayloadPacket::Binary(bytes) => self.socketio_attachment(index, bytes.into()),
            PayloadPacket::Text(PacketType::Message, text) => self.socketio_packet(index, text),
            PayloadPacket::Text(PacketType::Pong, _) => {
                if let Some(connection) = self.at(index) {
                    connection.heartbeat.pinged_ms = None;
                    connection.heartbeat.ping_due_ms = now_ms + interval_ms;
                }
                ControlFlow::Continue(())
            }
            // In version 4 only the server pings.
            PayloadPacket::Text(PacketType::Ping, _) => {
                self.end(index, Reason::TransportError, Farewell::Close(None));
                ControlFlow::Break(())
            }
            PayloadPacket::Text(PacketType::Close, _) => {
                self.closed_by_client(index);
                ControlFlow::Break(())
            }
            PayloadPacket::Text(PacketType::Open | PacketType::Upgrade | PacketType::Noop, _) => {
                ControlFlow::Continue(())
            }
        }
    }

    fn closed_by_client(&mut self, index: u32) {
        let Some(connection) = self.at(index) else { return };
        if let Some(polling) = connection.polling_mut() {
            if let Some((_, reply)) = polling.get.take() {
                let _ = reply.send(PollReply::Payload(Bytes::from_static(b"6")));
            }
            if let Some(post) = polling.post.take() {
                let _ = post.reply.send(PostReply::Taken);
            }
            self.end(index, Reason::TransportClose, Farewell::None);
        } else {
            self.end(index, Reason::TransportClose, Farewell::Close(None));
        }
    }

    // The upgrade

    pub(crate) fn check_upgrade(&mut self, sid: RandomId) -> Result<(), Refusal> {
        let allowed = self.server.config.allows_upgrade();
        match self.session(sid) {
            Some(connection) if connection.is_open() && allowed => Ok(()),
            Some(_) => Err(Refusal::BadRequest("this session can't be upgraded")),
            None => Err(Refusal::SessionUnknown),
        }
    }

    /// A second WebSocket, or one for a session that needs none, is closed; the session does not care.
    pub(crate) fn probe(&mut self, sid: RandomId, link: NewLink) {
        let now_ms = self.now_ms;
        let task = self.next_task();
        let connection = self.session(sid).filter(|connection| {
            let is_polling = matches!(connection.transport, Transport::Polling(_));
            connection.is_open() && connection.probe.is_none() && is_polling
        });
        let Some(connection) = connection else {
            return link.stream.end_with(&websocket::close_frame(None, ""));
        };
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
                // The first bytes on a new socket: the kernel takes them.
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
        for (_, chunk) in connection.lag().into_iter().flat_map(|lag| &mut lag.deferred) {
            *chunk = wire::polling_to_websocket(chunk);
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

    // The heartbeat

    /// Pings when it is time, closes when nothing came since the last ping for too long. Any packet counts as life.
    pub(crate) fn heartbeat(&mut self, index: u32) {
        let now_ms = self.now_ms;
        let interval_ms = self.server.config.ping_interval_ms();
        let timeout_ms = self.server.config.ping_timeout_ms();
        let Some(connection) = self.at(index) else { return };
        let heartbeat = &mut connection.heartbeat;
        if let Some(pinged_ms) = heartbeat.pinged_ms
            && now_ms > pinged_ms.max(heartbeat.received_ms) + timeout_ms
        {
            // The transport may be dead: nothing waits for a farewell to be read.
            let farewell = if connection.wire == Wire::SocketIo {
                Farewell::Goodbye
            } else {
                Farewell::Close(None)
            };
            return self.end(index, Reason::PingTimeout, farewell);
        }
        // Another ping would give a dead client its time anew.
        let is_answered = heartbeat
            .pinged_ms
            .is_none_or(|pinged_ms| heartbeat.received_ms > pinged_ms);
        if is_answered && now_ms >= heartbeat.ping_due_ms {
            heartbeat.ping_due_ms = now_ms + interval_ms;
            heartbeat.pinged_ms = Some(now_ms);
            self.push_control(index, b"2");
        }
    }
}

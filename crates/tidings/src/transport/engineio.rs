//! Engine.IO v4 on a connection: how a session begins, its packets, and the heartbeat. [`polling`] and [`upgrade`] are the ways between a
//! session and HTTP.

pub(crate) mod polling;
mod upgrade;

use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tidings_protocol::engineio::{self, PacketType, PayloadPacket};
use tidings_protocol::websocket::{self, Decoder, Message, Opcode};

use crate::connection::{Connection, Heartbeat, Key, Pace, Phase, Socket, Speaks, Transport};
use crate::handshake::Opening;
use crate::hub::Permit;
use crate::outbox::Outbox;
use crate::random::RandomId;
use crate::shard::{Due, Farewell, Shard};
use crate::socketio::client::Client;
use crate::socketio::reason::Reason;
use crate::transport::link::NewLink;
use crate::wire::Wire;
use polling::{PollReply, PostReply};

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

impl Shard {
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
        connection.outbox.push(link.head);
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
        let client = Speaks::SocketIo(Client::default());
        self.add(sid, transport, wire, client, Some(opening), Some(permit))
    }

    /// A new connection, of whatever kind.
    pub(crate) fn add(
        &mut self,
        sid: RandomId,
        transport: Transport,
        wire: Wire,
        speaks: Speaks,
        opening: Option<Arc<Opening>>,
        permit: Option<Permit>,
    ) -> u32 {
        let now_ms = self.now_ms;
        let ping_due_ms = now_ms + self.server.config.ping_interval_ms();
        let address = opening.as_ref().and_then(|opening| opening.address());
        let index = self.insert(|key: Key| Connection {
            key,
            sid,
            transport,
            wire,
            probe: None,
            waker: None,
            outbox: Outbox::default(),
            pace: Pace::Live,
            phase: Phase::Open,
            due: Due::No,
            blocked: false,
            reader_waits: false,
            drivers_wait: false,
            is_lacking: false,
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
            speaks,
            _permit: permit,
        });
        tracing::debug!(connection = %self.name(index), ?wire, ?address, "a connection is open");
        index
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

    /// A message of the connection's own WebSocket.
    pub(crate) fn websocket_message(&mut self, index: u32, message: Message<'_>) -> ControlFlow<()> {
        match message {
            Message::Text(text) => match engineio::decode_packet(text) {
                Ok(packet) => self.packet(index, packet),
                Err(error) => {
                    tracing::debug!(connection = %self.name(index), %error, "a client sent a malformed packet");
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

    /// Pings when it is time, closes when nothing came since the last ping for too long. Any packet counts as life.
    pub(crate) fn heartbeat(&mut self, index: u32) {
        let now_ms = self.now_ms;
        let interval_ms = self.server.config.ping_interval_ms();
        let timeout_ms = self.server.config.ping_timeout_ms();
        let Some(connection) = self.at(index) else { return };
        let heartbeat = &mut connection.heartbeat;
        if let Some(pinged_ms) = heartbeat.pinged_ms
            && now_ms > pinged_ms.get().max(heartbeat.received_ms) + timeout_ms
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
            .is_none_or(|pinged_ms| heartbeat.received_ms > pinged_ms.get());
        if is_answered && now_ms >= heartbeat.ping_due_ms {
            heartbeat.ping_due_ms = now_ms + interval_ms;
            heartbeat.pinged_ms = NonZeroU64::new(now_ms);
            self.push_control(index, b"2");
        }
    }
}

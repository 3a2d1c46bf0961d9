//! Receive: from the kernel into the buffer that all connections of the shard share, and on to Engine.IO as
//! WebSocket messages. Only an unfinished frame is kept.

use std::ops::ControlFlow;
use std::task::{Context, Poll};

use super::{Farewell, Shard};
use crate::connection::{Connection, Key, Phase, Socket, Transport};
use crate::limits::STREAM_INPUT_BYTES_MAX;
use crate::socketio::reason::Reason;
use crate::transport::link::Link;

/// What reading a link came to.
pub(crate) enum Read {
    /// The waker is registered, with the link or with the connection.
    Waiting,
    /// There is probably more.
    Again,
    /// The link is gone, or another's.
    Over,
}

/// Which of a connection's links a task reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Main,
    Probe,
}

impl Shard {
    pub(crate) fn poll_link(&mut self, key: Key, task: u32, cx: &mut Context<'_>, buffer: &mut [u8]) -> Read {
        self.tick();
        loop {
            let outbox_bytes_max = self.server.hub.limits.outbox_bytes;
            let Some(connection) = self.get(key) else {
                return Read::Over;
            };
            let role = match (&connection.transport, &connection.probe) {
                (Transport::WebSocket(socket), _) if socket.task == task => Role::Main,
                (Transport::BareStream { task: own, .. }, _) if *own == task => Role::Main,
                (_, Some(probe)) if probe.socket.task == task => Role::Probe,
                _ => return Read::Over,
            };
            if role == Role::Main {
                if !connection
                    .waker
                    .as_ref()
                    .is_some_and(|waker| waker.will_wake(cx.waker()))
                {
                    connection.waker = Some(cx.waker().clone());
                }
                if connection.blocked {
                    self.flush(key.index);
                    let Some(connection) = self.get(key) else {
                        return Read::Over;
                    };
                    if connection.blocked && connection.is_paused(outbox_bytes_max) {
                        connection.reader_waits = true;
                        return Read::Waiting;
                    }
                    self.mark_dirty(key.index);
                }
            }
            let Some(connection) = self.get(key) else {
                return Read::Over;
            };
            if role == Role::Main && connection.is_paused(outbox_bytes_max) {
                connection.reader_waits = true;
                return Read::Waiting;
            }
            let Some(link) = link_of(connection, role) else {
                return Read::Over;
            };
            let bytes = match link.poll_read(cx, buffer) {
                Poll::Pending => return Read::Waiting,
                Poll::Ready(Ok(0)) => {
                    self.link_gone(key.index, role, Reason::TransportClose);
                    return Read::Over;
                }
                Poll::Ready(Err(_)) => {
                    self.link_gone(key.index, role, Reason::TransportError);
                    return Read::Over;
                }
                Poll::Ready(Ok(bytes)) => bytes,
            };
            if role == Role::Main && matches!(connection.phase, Phase::Closing { .. }) {
                continue; // it is told to go: what it still says is thrown away
            }
            self.receive(key, role, &mut buffer[..bytes]);
            if bytes == buffer.len() {
                return Read::Again;
            }
        }
    }

    /// What was read with the request, before the link came here.
    pub(crate) fn receive_early(&mut self, key: Key, is_probe: bool, early: &[u8]) {
        if !early.is_empty() {
            let role = if is_probe { Role::Probe } else { Role::Main };
            self.receive(key, role, &mut early.to_vec());
        }
    }

    fn receive(&mut self, key: Key, mut role: Role, mut input: &mut [u8]) {
        let message_bytes_max = self.server.hub.limits.message_bytes;
        let now_ms = self.now_ms;
        let Some(connection) = self.get(key) else { return };
        let is_plain = connection.plain().is_some();
        if role == Role::Main {
            connection.heartbeat.received_ms = now_ms;
        }
        if let Transport::BareStream { said, .. } = &mut connection.transport {
            *said += input.len();
            if *said > STREAM_INPUT_BYTES_MAX {
                tracing::debug!(connection = %key, "a client talks to an event stream");
                self.end(key.index, Reason::TransportError, Farewell::None);
            }
            return;
        }
        let Some(socket) = socket_of(connection, role) else {
            return;
        };
        let mut decoder = std::mem::take(&mut socket.decoder);
        loop {
            let flow = match decoder.next(&mut input, message_bytes_max) {
                Ok(None) => break,
                Ok(Some(message)) => match role {
                    Role::Main if is_plain => self.session_message(key.index, message),
                    Role::Main => self.websocket_message(key.index, message),
                    Role::Probe => self.probe_message(key.index, message),
                },
                Err(error) => {
                    tracing::debug!(connection = %key, %error, "a client broke the WebSocket protocol");
                    match role {
                        Role::Main => self.end(
                            key.index,
                            Reason::TransportError,
                            Farewell::Close(Some(error.close_code())),
                        ),
                        Role::Probe => self.drop_probe(key.index),
                    }
                    return;
                }
            };
            if flow == ControlFlow::Break(()) {
                return;
            }
            // `5` made the probing link the connection's own.
            let Some(connection) = self.get(key) else { return };
            if role == Role::Probe && connection.probe.is_none() {
                role = Role::Main;
                if !connection.is_open() {
                    return;
                }
            }
        }
        if let Some(connection) = self.get(key)
            && let Some(socket) = socket_of(connection, role)
        {
            socket.decoder = decoder;
        }
    }

    fn link_gone(&mut self, index: u32, role: Role, reason: Reason) {
        match role {
            Role::Main => self.end(index, reason, Farewell::None),
            Role::Probe => self.drop_probe(index),
        }
    }
}

fn link_of(connection: &mut Connection, role: Role) -> Option<&mut Link> {
    match (role, &mut connection.transport) {
        (Role::Main, Transport::WebSocket(Socket { link, .. }) | Transport::BareStream { link, .. }) => Some(link),
        (Role::Main, _) => None,
        (Role::Probe, _) => connection.probe.as_mut().map(|probe| &mut probe.socket.link),
    }
}

fn socket_of(connection: &mut Connection, role: Role) -> Option<&mut Socket> {
    match role {
        Role::Main => connection.socket_mut(),
        Role::Probe => connection.probe.as_mut().map(|probe| &mut probe.socket),
    }
}

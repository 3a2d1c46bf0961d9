//! A Socket.IO client on its connection: which namespaces it is in, the packets it sends, the acks it owes.

mod membership;

use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use hashbrown::HashMap;
use smallvec::SmallVec;
use tidings_protocol::socketio::{self, PacketType};

use super::ack::{AckReply, AckSink};
use super::driver::{Driver, Job};
use super::extract::Event;
use super::rate::{Rate, Verdict};
use super::reason::Reason;
use super::socket::{SocketInner, User};
use crate::connection::{Connection, Key};
use crate::credential::{Credential, Due};
use crate::error::{Code, Error};
use crate::hub::Gauges;
use crate::shard::command::Packet;
use crate::shard::run::Cell;
use crate::shard::{Farewell, Shard};

/// The Socket.IO side of a connection.
#[derive(Default)]
pub(crate) struct Client {
    members: SmallVec<[Member; 1]>,
    /// Namespaces whose application is still being asked.
    entering: Vec<Arc<str>>,
    /// It has sent a packet.
    has_begun: bool,
    has_entered: bool,
    next_member: u32,
    /// A packet whose attachments have not all come.
    partial: Option<Box<Partial>>,
    /// The acks that the client owes; no table while there are none.
    acks: Option<Box<HashMap<u64, Owed>>>,
    rate: Rate,
}

/// A socket: the client in one namespace.
pub(crate) struct Member {
    pub(crate) id: u32,
    pub(crate) socket: Arc<SocketInner>,
    driver: Rc<Driver>,
    credential: Credential,
}

struct Partial {
    kind: PacketType,
    namespace: Box<str>,
    id: Option<u64>,
    data: Box<str>,
    expected: usize,
    attachments: Vec<Bytes>,
    /// When the last part of it came.
    progress_ms: u64,
}

struct Owed {
    sink: AckSink,
    namespace: Box<str>,
}

impl Client {
    pub(crate) fn has_entered(&self) -> bool {
        self.has_entered
    }

    /// Since when it owes the next attachment of a packet.
    pub(crate) fn partial_since_ms(&self) -> Option<u64> {
        self.partial.as_ref().map(|partial| partial.progress_ms)
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.members.iter().any(|member| member.driver.is_behind())
    }

    pub(crate) fn drivers(&self) -> impl Iterator<Item = Rc<Driver>> {
        self.members.iter().map(|member| Rc::clone(&member.driver))
    }

    pub(crate) fn member(&self, namespace: &str) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| &*member.socket.namespace.path == namespace)
    }

    /// What is due of the credentials of its sockets: the worst of it, and of which namespace.
    pub(crate) fn credential_due(&mut self) -> Option<(Due, Arc<str>)> {
        let mut warning = None;
        for member in &mut self.members {
            match member.credential.due() {
                Some(Due::End) => return Some((Due::End, Arc::clone(&member.socket.namespace.path))),
                Some(Due::Warning) if warning.is_none() => {
                    member.credential.note_warned();
                    warning = Some((Due::Warning, Arc::clone(&member.socket.namespace.path)));
                }
                _ => {}
            }
        }
        warning
    }

    /// The users of its sockets.
    pub(crate) fn users(&self) -> impl Iterator<Item = &User> {
        self.members.iter().map(|member| &member.socket.user)
    }

    /// The id of the first that is somebody.
    pub(crate) fn user_id(&self) -> Option<Arc<str>> {
        self.members.iter().find_map(|member| member.socket.user_id.clone())
    }

    pub(crate) fn namespaces(&self) -> Vec<Arc<str>> {
        self.members
            .iter()
            .map(|member| Arc::clone(&member.socket.namespace.path))
            .collect()
    }

    /// Those of `namespaces` that it is in, each once.
    pub(crate) fn namespaces_of<'a>(&self, namespaces: impl Iterator<Item = &'a str>) -> Vec<Arc<str>> {
        let mut found: Vec<Arc<str>> = Vec::new();
        for name in namespaces {
            if let Some(member) = self.member(name)
                && !found.iter().any(|namespace| &**namespace == name)
            {
                found.push(Arc::clone(&member.socket.namespace.path));
            }
        }
        found
    }

    pub(crate) fn expect_ack(&mut self, ack: u64, sink: AckSink, namespace: &str, gauges: &Gauges) {
        self.acks.get_or_insert_default().insert(
            ack,
            Owed {
                sink,
                namespace: namespace.into(),
            },
        );
        gauges.acks.fetch_add(1, Ordering::Relaxed);
    }

    fn take_ack(&mut self, ack: u64, gauges: &Gauges) -> Option<Owed> {
        let acks = self.acks.as_mut()?;
        let owed = acks.remove(&ack)?;
        if acks.is_empty() {
            self.acks = None;
        }
        gauges.acks.fetch_sub(1, Ordering::Relaxed);
        Some(owed)
    }

    /// Whoever waits for an answer from that namespace is told that none will come.
    fn drop_acks(&mut self, namespace: &str, gauges: &Gauges) {
        let Some(acks) = &mut self.acks else { return };
        let gone: Vec<u64> = acks
            .iter()
            .filter(|(_, owed)| &*owed.namespace == namespace)
            .map(|(ack, _)| *ack)
            .collect();
        for ack in gone {
            if let Some(owed) = self.take_ack(ack, gauges) {
                owed.sink.gone();
            }
        }
    }
}

impl Shard {
    fn client_mut(&mut self, index: u32) -> Option<&mut Client> {
        self.at(index)?.client_mut()
    }

    /// The namespaces that a connection's sockets are in.
    pub(crate) fn namespaces_at(&mut self, index: u32) -> Vec<Arc<str>> {
        self.client_mut(index)
            .map(|client| client.namespaces())
            .unwrap_or_default()
    }

    /// A packet in the text of an Engine.IO message.
    pub(crate) fn socketio_packet(&mut self, index: u32, text: &str) -> ControlFlow<()> {
        let attachments_max = self.server.hub.limits.attachments;
        let now_ms = self.now_ms;
        let Some(client) = self.client_mut(index) else {
            return ControlFlow::Break(());
        };
        if client.partial.is_some() {
            return self.broke_protocol(index, "a text where an attachment was due");
        }
        let packet = match socketio::decode(text, attachments_max) {
            Ok(packet) => packet,
            Err(error) => {
                tracing::debug!(connection = %self.name(index), %error, "a client sent a malformed packet");
                return self.broke_protocol(index, "a malformed packet");
            }
        };
        if packet.attachments > 0 {
            if socketio::check_placeholders(packet.data, packet.attachments).is_err() {
                return self.broke_protocol(index, "a placeholder without an attachment");
            }
            client.partial = Some(Box::new(Partial {
                kind: packet.kind,
                namespace: packet.namespace.into(),
                id: packet.id,
                data: packet.data.into(),
                expected: packet.attachments,
                attachments: Vec::new(),
                progress_ms: now_ms,
            }));
            return ControlFlow::Continue(());
        }
        self.complete_packet(index, packet.kind, packet.namespace, packet.id, packet.data, Vec::new())
    }

    /// A binary message: an attachment of the packet before it.
    pub(crate) fn socketio_attachment(&mut self, index: u32, bytes: Bytes) -> ControlFlow<()> {
        let now_ms = self.now_ms;
        let Some(client) = self.client_mut(index) else {
            return ControlFlow::Break(());
        };
        let Some(partial) = &mut client.partial else {
            return self.broke_protocol(index, "an attachment that no packet announced");
        };
        partial.attachments.push(bytes);
        partial.progress_ms = now_ms;
        if partial.attachments.len() < partial.expected {
            return ControlFlow::Continue(());
        }
        match client.partial.take() {
            Some(partial) => {
                let Partial {
                    kind,
                    namespace,
                    id,
                    data,
                    attachments,
                    ..
                } = *partial;
                self.complete_packet(index, kind, &namespace, id, &data, attachments)
            }
            None => ControlFlow::Continue(()),
        }
    }

    fn complete_packet(
        &mut self,
        index: u32,
        kind: PacketType,
        namespace: &str,
        id: Option<u64>,
        data: &str,
        attachments: Vec<Bytes>,
    ) -> ControlFlow<()> {
        let verdict = self.count_packet(index, kind);
        if verdict == Verdict::Close || (verdict == Verdict::Refuse && kind == PacketType::Connect) {
            // No CONNECT_ERROR: stock clients would not come back after one.
            self.close_transport(index, 4429);
            return ControlFlow::Break(());
        }
        if kind == PacketType::Connect {
            return self.enter(index, namespace, data);
        }
        let Some(client) = self.client_mut(index) else {
            return ControlFlow::Break(());
        };
        if client.member(namespace).is_none() {
            return self.broke_protocol(index, "a packet for a namespace that the client is not in");
        }
        match kind {
            PacketType::Event | PacketType::BinaryEvent if verdict == Verdict::Refuse => {
                let error = Error::coded(Code::RateLimited, "too many messages: slow down");
                self.answer_error(index, namespace, id, &error);
                ControlFlow::Continue(())
            }
            PacketType::Event | PacketType::BinaryEvent => self.event(index, namespace, id, data, attachments),
            PacketType::Ack | PacketType::BinaryAck => self.ack(index, namespace, id, data, attachments),
            PacketType::Disconnect => {
                self.end_socket(index, namespace, Reason::ClientNamespaceDisconnect);
                ControlFlow::Continue(())
            }
            PacketType::Connect | PacketType::ConnectError => {
                self.broke_protocol(index, "a packet that only servers send")
            }
        }
    }

    /// The reference server closes the transport, so that the client comes back with a clean state.
    fn broke_protocol(&mut self, index: u32, problem: &'static str) -> ControlFlow<()> {
        tracing::debug!(connection = %self.name(index), problem, "a client broke the Socket.IO protocol");
        self.end(index, Reason::ForcedClose, Farewell::Goodbye);
        ControlFlow::Break(())
    }

    fn event(
        &mut self,
        index: u32,
        namespace: &str,
        id: Option<u64>,
        data: &str,
        attachments: Vec<Bytes>,
    ) -> ControlFlow<()> {
        if data.is_empty() {
            return ControlFlow::Continue(()); // tolerated, as on the reference server
        }
        let event = match socketio::event(data) {
            Ok(event) => event,
            Err(error) => {
                tracing::debug!(connection = %self.name(index), %error, "a client sent a malformed event");
                return self.broke_protocol(index, "a malformed event");
            }
        };
        let Some(member) = self.client_mut(index).and_then(|client| client.member(namespace)) else {
            return ControlFlow::Break(());
        };
        let event = Event::new(
            &event.name,
            Bytes::copy_from_slice(event.arguments.as_bytes()),
            attachments,
        );
        let job = Job::Event { event, ack: id };
        let driver = Rc::clone(&member.driver);
        if driver.is_idle() {
            driver.schedule();
            self.ready.push_back((driver, Some(job)));
        } else {
            driver.push(job);
            if driver.schedule() {
                self.ready.push_back((driver, None));
            }
        }
        ControlFlow::Continue(())
    }

    fn ack(
        &mut self,
        index: u32,
        namespace: &str,
        id: Option<u64>,
        data: &str,
        attachments: Vec<Bytes>,
    ) -> ControlFlow<()> {
        let Ok(arguments) = socketio::ack_arguments(data) else {
            return self.broke_protocol(index, "a malformed ack");
        };
        let server = Arc::clone(&self.server);
        let Some(client) = self.client_mut(index) else {
            return ControlFlow::Break(());
        };
        let is_owed = id.is_some_and(|id| {
            client
                .acks
                .as_ref()
                .and_then(|acks| acks.get(&id))
                .is_some_and(|owed| &*owed.namespace == namespace)
        });
        if is_owed && let Some(owed) = id.and_then(|id| client.take_ack(id, &server.hub.gauges)) {
            owed.sink.reply(AckReply {
                arguments: Bytes::copy_from_slice(arguments.as_bytes()),
                attachments,
            });
        }
        ControlFlow::Continue(())
    }

    /// Counts a packet of whatever kind against the rate; only the CONNECT that a connection begins with is free.
    fn count_packet(&mut self, index: u32, kind: PacketType) -> Verdict {
        let limits = &self.server.hub.limits;
        let (per_second, burst) = (limits.messages_per_second, limits.messages_burst);
        let now_ms = self.now_ms;
        self.meters.received.add(1);
        let Some(client) = self.client_mut(index) else {
            return Verdict::Close;
        };
        if !std::mem::replace(&mut client.has_begun, true) && kind == PacketType::Connect {
            return Verdict::Pass;
        }
        let verdict = client.rate.count(now_ms, per_second, burst);
        if verdict != Verdict::Pass {
            self.meters.rate_limited.add(1);
            tracing::debug!(connection = %self.name(index), "a client sends too much");
        }
        verdict
    }

    /// An error as an ack or, where the client asked for none, as `tidings:error`.
    fn answer_error(&mut self, index: u32, namespace: &str, id: Option<u64>, error: &Error) {
        let mut packet = Vec::new();
        match id {
            Some(id) => socketio::write_ack(&mut packet, namespace, id, 0, &error.to_ack_json()),
            None => {
                let arguments = serde_json::json!({ "code": error.code(), "message": error.message() }).to_string();
                socketio::write_event(&mut packet, namespace, None, 0, "tidings:error", &arguments, &[]);
            }
        }
        self.push_packet(index, &packet, &[]);
    }

    // What the application sends to one socket

    pub(crate) fn send(&mut self, socket: &SocketInner, packet: &Packet, volatile: bool) {
        socket.dispatched(packet);
        if self.member_id(socket).is_none() {
            return; // an ack of a socket that is gone is nobody's
        }
        let index = socket.key.index;
        if volatile && self.at(index).is_none_or(|connection| connection.blocked) {
            return;
        }
        if !volatile || socket.pid.is_none() {
            return self.push_packet(index, &packet.bytes, &packet.attachments);
        }
        // Stock clients take any last argument that is a string for their place in the log, so it is given that.
        let place = self.server.hub.id(self.position);
        let mut bytes = packet.bytes.clone();
        bytes.pop(); // the closing bracket of the arguments, of which the event's name is the first
        bytes.extend_from_slice(format!(",\"{place}\"]").as_bytes());
        self.push_packet(index, &bytes, &packet.attachments);
    }

    pub(crate) fn send_with_ack(&mut self, socket: &SocketInner, packet: &Packet, ack: u64, sink: AckSink) {
        let server = Arc::clone(&self.server);
        if self.member_id(socket).is_none() {
            return sink.gone();
        }
        let index = socket.key.index;
        if let Some(client) = self.client_mut(index) {
            client.expect_ack(ack, sink, &socket.namespace.path, &server.hub.gauges);
        }
        self.push_packet(index, &packet.bytes, &packet.attachments);
    }

    pub(crate) fn forget_ack(&mut self, ack: u64, socket: Option<&SocketInner>) {
        let server = Arc::clone(&self.server);
        match socket {
            Some(socket) => {
                if let Some(client) = self.get(socket.key).and_then(|connection| connection.client_mut()) {
                    client.take_ack(ack, &server.hub.gauges);
                }
            }
            None => {
                for client in self.connections.iter_mut().filter_map(Connection::client_mut) {
                    client.take_ack(ack, &server.hub.gauges);
                }
            }
        }
    }
}

/// The socket's handlers have caught up: its connection may be read from again.
pub(crate) fn resume(cell: &Rc<Cell>, key: Key) {
    let mut state = cell.state.borrow_mut();
    let outbox_bytes_max = state.server.hub.limits.outbox_bytes;
    if let Some(connection) = state.get(key) {
        connection.resume_reading(outbox_bytes_max);
        state.go_on_with_post(key.index);
    }
}

//! How a client comes into a namespace, stays for as long as its credential holds, and leaves.

use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use tidings_protocol::socketio;

use super::Member;
use crate::channel::Channel;
use crate::connection::{Key, Speaks};
use crate::credential::{Credential, Due};
use crate::error::{Code, Error, Result};
use crate::handshake::Handshake;
use crate::shard::Shard;
use crate::socketio::driver::{Driver, Job};
use crate::socketio::namespace::Namespace;
use crate::socketio::reason::Reason;
use crate::socketio::recovery::{Change, Room};
use crate::socketio::socket::SocketInner;
use crate::tight;

impl Shard {
    /// CONNECT: asks the application, while the client may send nothing to that namespace.
    pub(super) fn enter(&mut self, index: u32, path: &str, data: &str) -> ControlFlow<()> {
        let server = Arc::clone(&self.server);
        let Some(connection) = self.at(index) else {
            return ControlFlow::Break(());
        };
        let kind = connection.kind();
        let Speaks::SocketIo(client) = &mut connection.speaks else {
            return ControlFlow::Break(());
        };
        if client.member(path).is_some() || client.entering.iter().any(|entering| &**entering == path) {
            return self.broke_protocol(index, "a second CONNECT for a namespace");
        }
        if client.members.len() + client.entering.len() >= server.hub.limits.namespaces {
            let error = Error::coded(Code::TooManyChannels, "too many namespaces on one connection");
            self.refuse_entry(index, path, &error);
            return ControlFlow::Continue(());
        }
        let Some(namespace) = server.namespaces.find(path) else {
            let mut packet = Vec::new();
            socketio::write_connect_error(&mut packet, path, "Invalid namespace", None);
            self.push_packet(index, &packet, &[]);
            return ControlFlow::Continue(());
        };
        let Some(opening) = connection.opening.clone() else {
            return self.broke_protocol(index, "a CONNECT after the headers were let go");
        };
        let auth = (!data.is_empty()).then(|| Arc::from(data));
        let cookie = server.config.token_cookie.clone();
        let handshake = Handshake::new(opening, auth, Arc::clone(&namespace.path), cookie).on(kind);
        tight::push(&mut client.entering, Arc::clone(&namespace.path));
        let key = connection.key;
        self.entering
            .push(crate::socketio::handler::enter(key, namespace, handshake));
        ControlFlow::Continue(())
    }

    fn refuse_entry(&mut self, index: u32, path: &str, error: &Error) {
        let mut packet = Vec::new();
        socketio::write_connect_error(&mut packet, path, error.message(), Some(&error.to_connect_data_json()));
        self.push_packet(index, &packet, &[]);
    }

    /// The application has decided.
    pub(crate) fn entered(&mut self, key: Key, namespace: &Arc<Namespace>, outcome: Result<Arc<SocketInner>>) {
        let server = Arc::clone(&self.server);
        let Some(connection) = self.get(key).filter(|connection| connection.is_open()) else {
            if let (Ok(socket), Some(sessions)) = (&outcome, &server.sessions) {
                sessions.give_back(socket);
            }
            return;
        };
        let index = key.index;
        if let Some(client) = connection.client_mut() {
            tight::retain(&mut client.entering, |entering| *entering != namespace.path);
        }
        let socket = match outcome {
            Ok(socket) => socket,
            // A stock client does not come back after a CONNECT_ERROR, so that is for what is final only.
            Err(error) => {
                return match error.transient_close_code() {
                    Some(code) => self.close_transport(index, code),
                    None => self.refuse_entry(index, &namespace.path, &error),
                };
            }
        };
        let position = self.position;
        let Some(client) = self.client_mut(index) else { return };
        client.has_entered = true;
        client.next_member += 1;
        let id = client.next_member;
        let driver = Driver::new(Arc::clone(&socket));
        driver.push(Job::Connect);
        client.members.push(Member {
            id,
            socket: Arc::clone(&socket),
            driver: Rc::clone(&driver),
            credential: Credential::until(socket.expires_at),
        });
        server.hub.gauges.sockets.fetch_add(1, Ordering::Relaxed);
        namespace.count(1);
        let changes = server.sessions.as_ref().map(|sessions| sessions.arrive(&socket));
        let changes = changes.unwrap_or_default();
        socket.make_up_for(&changes);
        let mut rooms = socket.begin(position);
        if let Some(sessions) = &server.sessions {
            sessions.begin(&socket, &rooms);
        }
        rooms.push(Room::new(Channel::everyone(&namespace.path), socket.start()));
        for room in &rooms {
            self.subscribe(index, id, &room.channel);
        }
        // What it missed comes before the answer to its CONNECT, as stock clients expect it.
        if let Some(cursor) = socket.recovered {
            for room in &mut rooms {
                room.joined_at = room.start(cursor);
            }
            let from = rooms.iter().map(|room| room.joined_at).min().unwrap_or(cursor);
            self.set_back(index, &rooms, from.min(cursor));
        }
        let mut packet = Vec::new();
        let pid = socket.pid.map(|pid| pid.to_string());
        socketio::write_connect(&mut packet, &namespace.path, socket.id(), pid.as_deref());
        self.push_packet(index, &packet, &[]);
        self.ready.push_back((driver, None));
        for change in changes {
            if let Change::Disconnected { close } = change {
                self.disconnect(&socket, close);
            }
        }
    }

    pub(crate) fn member_id(&mut self, socket: &SocketInner) -> Option<u32> {
        let client = self.get(socket.key)?.client()?;
        let member = client.member(&socket.namespace.path)?;
        std::ptr::eq(&*member.socket, socket).then_some(member.id)
    }

    /// Ends one of a connection's sockets: nothing more is delivered to it, its handlers hear of it last.
    pub(crate) fn end_socket(&mut self, index: u32, namespace: &str, reason: Reason) {
        let server = Arc::clone(&self.server);
        let Some(client) = self.client_mut(index) else { return };
        let Some(at) = client
            .members
            .iter()
            .position(|member| &*member.socket.namespace.path == namespace)
        else {
            return;
        };
        let member = client.members.remove(at);
        client.drop_acks(namespace, &server.hub.gauges);
        member.socket.end();
        if let Some(sessions) = &server.sessions {
            sessions.end(&member.socket, reason);
        }
        member.driver.push(Job::End(reason));
        server.hub.gauges.sockets.fetch_sub(1, Ordering::Relaxed);
        member.socket.namespace.count(-1);
        self.unsubscribe_member(index, member.id);
        self.ready.push_back((member.driver, None));
    }

    pub(crate) fn end_sockets(&mut self, index: u32, reason: Reason) {
        let Some(client) = self.client_mut(index) else { return };
        client.entering = Vec::new();
        client.partial = None;
        for namespace in client.namespaces() {
            self.end_socket(index, &namespace, reason);
        }
    }

    /// Another credential in the place of the one that a socket had.
    pub(crate) fn renew(&mut self, socket: &SocketInner, expires_at: SystemTime) {
        let Some(id) = self.member_id(socket) else { return };
        let Some(client) = self.client_mut(socket.key.index) else {
            return;
        };
        for member in client.members.iter_mut().filter(|member| member.id == id) {
            member.credential = Credential::until(Some(expires_at));
        }
    }

    /// Warns sockets whose credentials end soon, and closes the connection when one has ended. False when it is closed.
    pub(crate) fn check_credentials(&mut self, index: u32) -> bool {
        let Some(client) = self.client_mut(index) else {
            return false;
        };
        match client.credential_due() {
            None => true,
            Some((Due::Warning, namespace)) => {
                // With an argument: stock clients with a session take a last one that is a text for their place in the log, and
                // without any the event's name is the last.
                let mut packet = Vec::new();
                socketio::write_event(&mut packet, &namespace, None, 0, "expiring", "{}", &[]);
                self.push_packet(index, &packet, &[]);
                true
            }
            Some((Due::End, _)) => {
                tracing::debug!(connection = %self.name(index), "a client's credential has ended");
                self.close_transport(index, 4401);
                false
            }
        }
    }
}

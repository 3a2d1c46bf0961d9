//! Carrying out what a shard is asked.

use std::sync::Arc;

use super::Shard;
use super::command::{Action, Command};
use crate::channel::Channel;
use crate::connection::Transport;
use crate::shard::Farewell;
use crate::socketio::reason::Reason;
use crate::socketio::socket::SocketInner;
use crate::wire::Wire;

impl Shard {
    pub(super) fn execute(&mut self, command: Command) {
        match command {
            Command::OpenPolling {
                sid,
                opening,
                permit,
                reply,
            } => self.open_polling(sid, opening, permit, reply),
            Command::OpenWebSocket {
                sid,
                opening,
                permit,
                link,
            } => self.open_websocket(sid, opening, permit, *link),
            Command::CheckUpgrade { sid, reply } => drop(reply.send(self.check_upgrade(sid))),
            Command::Probe { sid, link } => self.probe(sid, *link),
            Command::Poll { sid, ticket, reply } => self.poll(sid, ticket, reply),
            Command::PollAborted { sid, ticket } => self.poll_aborted(sid, ticket),
            Command::BeginPost { sid, reply } => drop(reply.send(self.begin_post(sid))),
            Command::Post { sid, body, reply } => self.post(sid, &body, reply),
            Command::EndPost { sid, aborted } => self.end_post(sid, aborted),

            Command::OpenPlain {
                sid,
                opening,
                permit,
                link,
            } => self.open_session(sid, opening, permit, *link),
            Command::PlainEntered {
                key,
                outcome,
                shows_token,
                own,
                done,
            } => {
                self.session_entered(key, outcome, shows_token, own);
                drop(done);
            }
            Command::PlainAuth { key, id, outcome, done } => {
                self.session_authenticated(key, id.as_deref(), outcome);
                drop(done);
            }
            Command::PlainSubscribe {
                key,
                id,
                channels,
                since,
                done,
            } => {
                self.session_subscribe(key, id.as_deref(), &channels, since);
                drop(done);
            }
            Command::PlainUnsubscribe { key, id, channels } => self.session_unsubscribe(key, id.as_deref(), &channels),
            Command::PlainSay { key, json } => self.say_to(key, &json),
            Command::PlainPublished { key, id, emitted } => self.session_published(key, id, emitted),
            Command::OpenStream { sid, new } => self.open_stream(sid, *new),
            Command::TakeStream { sid, taken } => self.take_stream(sid, *taken),
            Command::OpenWaiter { sid, new } => self.open_waiter(sid, *new),
            Command::StopWaiting { sid } => self.stop_waiting(sid),
            Command::Writable { sid } => self.writable(sid),
            Command::Gone { sid } => self.gone(sid),
            Command::Enter {
                key,
                namespace,
                outcome,
            } => self.entered(key, &namespace, outcome),
            Command::Join { socket, channel } => self.join(&socket, &channel),
            Command::JoinSince {
                socket,
                channels,
                since,
                heard_in,
            } => {
                socket.begin_replay(&channels, &heard_in);
                self.join_since(&socket, &channels, since);
            }
            Command::Leave { socket, channel } => self.leave(&socket, &channel),
            Command::Send {
                socket,
                packet,
                volatile,
            } => self.send(&socket, &packet, volatile),
            Command::SendWithAck {
                socket,
                packet,
                ack,
                sink,
            } => self.send_with_ack(&socket, &packet, ack, sink),
            Command::Settle { done } => drop(done),
            Command::Broadcast { event, kind } => self.broadcast(&event, &kind),
            Command::Latest {
                key,
                channel,
                events,
                version,
            } => self.latest_came(key, &channel, &events, version),
            Command::ForgetAck { ack, socket } => self.forget_ack(ack, socket.as_deref()),
            Command::Occupied { request, reply } => drop(reply.send(self.occupied(&request))),
            Command::Select { selection, reply } => {
                let reached = self.select(&selection);
                let sockets = reached
                    .into_iter()
                    .filter_map(|(index, channel)| self.socket_by_channel(index, channel))
                    .collect();
                drop(reply.send(sockets));
            }
            Command::Apply {
                selection,
                action,
                done,
            } => {
                for (index, channel) in self.select(&selection) {
                    if let Some(socket) = self.socket_by_channel(index, channel) {
                        self.apply(&socket, &action);
                    }
                }
                drop(done);
            }
            Command::Disconnect { socket, close } => self.disconnect(&socket, close),
            Command::CloseTransport { socket, code } => {
                if self.member_id(&socket).is_some() {
                    self.close_transport(socket.key.index, code);
                }
            }
            Command::Census(reply) => drop(reply.send(self.census())),
            Command::Connections(request) => self.list_connections(&request),
            Command::SendAway { key, reply } => drop(reply.send(self.send_away(key))),
            Command::Renew { socket, expires_at } => self.renew(&socket, expires_at),
            Command::Page { key, ticket, outcome } => self.page_came(key, ticket, outcome),
            Command::Reconsider => self.reconsider_channels(),
            Command::CloseWave { wave, of } => self.close_wave(wave, of),
            Command::Stop => {
                self.close_wave(0, 1);
                self.flush_dirty();
                self.stopping = true;
            }
        }
    }

    /// The socket that is subscribed to that channel by that connection.
    fn socket_by_channel(&mut self, index: u32, channel: u32) -> Option<Arc<SocketInner>> {
        let connection = self.connections.get(index)?;
        let namespace = self.channels.name(channel).namespace();
        connection
            .client()?
            .member(namespace)
            .map(|member| Arc::clone(&member.socket))
    }

    fn join(&mut self, socket: &SocketInner, channel: &Channel) {
        if let Some(member) = self.member_id(socket) {
            self.subscribe(socket.key.index, member, channel);
        }
    }

    fn leave(&mut self, socket: &SocketInner, channel: &Channel) {
        if self.member_id(socket).is_some() {
            self.unsubscribe(socket.key.index, channel);
        }
    }

    pub(crate) fn apply(&mut self, socket: &Arc<SocketInner>, action: &Action) {
        match action {
            Action::Join(channels) => {
                for channel in channels.iter() {
                    socket.note_joined(channel);
                    self.join(socket, channel);
                }
            }
            Action::Leave(channels) => {
                for channel in channels.iter() {
                    socket.note_left(channel);
                    self.leave(socket, channel);
                }
            }
            Action::Disconnect { close } => self.disconnect(socket, *close),
        }
    }

    pub(crate) fn disconnect(&mut self, socket: &SocketInner, close: bool) {
        if self.member_id(socket).is_none() {
            return;
        }
        let index = socket.key.index;
        if !close {
            let mut packet = Vec::new();
            tidings_protocol::socketio::write_disconnect(&mut packet, &socket.namespace.path);
            self.push_packet(index, &packet, &[]);
            return self.end_socket(index, &socket.namespace.path, Reason::ServerNamespaceDisconnect);
        }
        self.disconnect_all(index);
    }

    /// Ends all sockets of a connection and then its transport: stock clients don't come back by themselves.
    pub(crate) fn disconnect_all(&mut self, index: u32) {
        for namespace in self.namespaces_at(index) {
            let mut packet = Vec::new();
            tidings_protocol::socketio::write_disconnect(&mut packet, &namespace);
            self.push_packet(index, &packet, &[]);
            self.end_socket(index, &namespace, Reason::ServerNamespaceDisconnect);
        }
        self.end(index, Reason::ServerNamespaceDisconnect, Farewell::Goodbye);
    }

    /// Ends a connection in its transport's own way, after which stock clients come back by themselves.
    pub(crate) fn close_transport(&mut self, index: u32, code: u16) {
        let Some(connection) = self.at(index) else { return };
        let farewell = match connection.transport {
            Transport::WebSocket(_) => Farewell::Close(Some(code)),
            _ => Farewell::Goodbye,
        };
        self.end(index, Reason::ForcedClose, farewell);
    }

    fn close_wave(&mut self, wave: u32, of: u32) {
        for index in (0..self.connections.end()).filter(|index| index % of == wave) {
            let Some(connection) = self.connections.get(index) else {
                continue;
            };
            // A stock client comes back by itself after any close; others are told that they may (RFC 6455 section 7.4.1).
            let farewell = match connection.wire {
                Wire::Json => Farewell::Close(Some(1012)),
                _ => Farewell::Goodbye,
            };
            self.end(index, Reason::ServerShuttingDown, farewell);
        }
    }
}

//! Who is connected, on whatever transport: to look at, and to send away.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::sync::mpsc;

use crate::access::Grant;
use crate::channel::Channel;
use crate::connection::{Connection, Key, Speaks, Transport};
use crate::plain::Granted;
use crate::shard::command::{Action, Command};
use crate::shard::{Farewell, Shard};
use crate::socketio::io::Io;
use crate::socketio::reason::Reason;
use crate::socketio::socket::{Socket, SocketInner, User};
use crate::wire::Wire;

/// The WebSocket close code for who was sent away (RFC 6455 section 7.4.2 leaves 4000 to 4999 to applications).
const SENT_AWAY: u16 = 4403;

/// Names a connection, as long as it lives: no other of this process ever has the same name. It is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub(crate) Key);

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ConnectionKind {
    /// Socket.IO on a WebSocket.
    SocketioWebsocket,
    /// Socket.IO by HTTP long-polling.
    SocketioPolling,
    /// A plain WebSocket.
    Websocket,
    /// Server-sent events.
    Sse,
    /// A poll that waits.
    Poll,
}

/// A connection, as it was when it was asked for.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Its name.
    pub id: ConnectionId,
    /// The id of its user, where the application [tells](Io::identify).
    pub user: Option<Arc<str>>,
    /// What it speaks.
    pub kind: ConnectionKind,
    /// Since when it is there, Unix milliseconds.
    pub since: u64,
    /// How many channels it is subscribed to, a socket's own-id room and its namespace among them.
    pub channels: usize,
    /// Bytes that wait to be written to it.
    pub waiting_bytes: usize,
}

/// Some of the connections of a server: see [`Io::connections`].
#[must_use = "nothing is asked until a method says what for"]
pub struct Connections {
    io: Io,
    accepts: Accepts,
}

type Accepts = Arc<dyn Fn(&User) -> bool + Send + Sync>;

/// What each shard is asked.
#[derive(Clone)]
pub(crate) struct Request {
    accepts: Accepts,
    deed: Deed,
    reply: mpsc::UnboundedSender<Vec<ConnectionInfo>>,
}

/// What is done with each of the connections.
#[derive(Clone)]
enum Deed {
    /// It is looked at.
    Show,
    SendAway,
    Join(Channel, Granted),
    Leave(Channel, Arc<str>),
    /// Its Socket.IO socket of the root namespace is told.
    Sockets(mpsc::UnboundedSender<Arc<SocketInner>>),
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for ConnectionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for ConnectionId {
    type Err = crate::Error;

    /// As it is displayed.
    fn from_str(text: &str) -> Result<Self, crate::Error> {
        let mut parts = text.split('.').map(str::parse::<u32>);
        let key = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(shard)), Some(Ok(index)), Some(Ok(generation)), None) => {
                u16::try_from(shard).ok().map(|shard| Key {
                    shard,
                    index,
                    generation,
                })
            }
            _ => None,
        };
        key.map(Self)
            .ok_or_else(|| crate::Error::new("this is no connection's id"))
    }
}

impl Io {
    /// The connections, of all transports and namespaces, whose user is a `U` that a function accepts. A user is what
    /// [`Io::auth`] answered; who has not said yet who it is has none. Each of them is looked at: for people and for what happens
    /// seldom, not for each request.
    ///
    /// ```no_run
    /// # struct User { id: String }
    /// # async fn run(io: tidings::Io) {
    /// let sent_away = io.connections(|user: &User| user.id == "ann").disconnect().await;
    /// # }
    /// ```
    pub fn connections<U, F>(&self, accepts: F) -> Connections
    where
        U: Send + Sync + 'static,
        F: Fn(&U) -> bool + Send + Sync + 'static,
    {
        Connections {
            io: self.clone(),
            accepts: Arc::new(move |user: &User| user.downcast_ref::<U>().is_some_and(&accepts)),
        }
    }

    /// Takes a user's Socket.IO sessions whose clients are away out of a room of the root namespace: who comes back to one does
    /// not find itself there. With [`Connections::leave`], which reaches those who are here. The user is who
    /// [`Io::identify`] tells.
    ///
    /// # Errors
    /// `invalid_channel` when the name can't be a room's.
    pub fn leave_sessions(&self, user: &str, room: &str) -> Result<(), crate::Error> {
        let channel = Channel::room("/", room)?;
        if let Some(sessions) = &self.server.sessions {
            sessions.leave(user, &channel);
        }
        Ok(())
    }

    /// Sends one connection away, as [`Connections::disconnect`] does: false when there is none of that name.
    pub async fn disconnect(&self, id: ConnectionId) -> bool {
        let hub = &self.server.hub;
        if usize::from(id.0.shard) >= hub.shards.len() {
            return false;
        }
        let (reply, was_there) = tokio::sync::oneshot::channel();
        hub.send(id.0.shard, Command::SendAway { key: id.0, reply });
        was_there.await.unwrap_or_default()
    }
}

impl Connections {
    /// What each of them is like, the oldest first.
    pub async fn list(self) -> Vec<ConnectionInfo> {
        self.ask(Deed::Show).await
    }

    /// Ends them, and says how many there were. A Socket.IO client is told with the packet that it does not come back after by
    /// itself, a plain WebSocket is closed with 4403, an event stream ends, a poll that waits is answered. Whether they may come
    /// back is for [`Io::auth`] to say.
    pub async fn disconnect(self) -> usize {
        self.ask(Deed::SendAway).await.len()
    }

    /// Puts them into a channel from now on, and says how many there were: each socket of the root namespace as
    /// [`Socket::join`](crate::Socket::join) does, plain WebSockets without counting it among what they asked for.
    /// Event streams and polls are passed over, since they name their channels when they come, and would lose this one when they come
    /// back. `grant` says whether plain WebSockets are shown in the channel's presence.
    ///
    /// ```no_run
    /// # struct User { id: String }
    /// # async fn run(io: tidings::Io) -> tidings::Result<()> {
    /// io.connections(|user: &User| user.id == "ann").join("room:7", ()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `invalid_channel` for a name that no channel can have.
    pub async fn join(self, channel: &str, grant: impl Into<Grant>) -> Result<usize, crate::Error> {
        let deed = Deed::Join(Channel::room("/", channel)?, (Arc::from(channel), grant.into()));
        let is_put =
            |connection: &ConnectionInfo| !matches!(connection.kind, ConnectionKind::Sse | ConnectionKind::Poll);
        Ok(self
            .ask(deed)
            .await
            .iter()
            .filter(|connection| is_put(connection))
            .count())
    }

    /// Takes them out of a channel, whatever transport they speak and whoever put them into it, and says how many connections were
    /// looked at. Whether they may come back is for [`Io::authorize`] to say.
    ///
    /// # Errors
    /// As [`Connections::join`].
    pub async fn leave(self, channel: &str) -> Result<usize, crate::Error> {
        let deed = Deed::Leave(Channel::room("/", channel)?, Arc::from(channel));
        Ok(self.ask(deed).await.len())
    }

    /// The Socket.IO sockets of the root namespace among them.
    pub async fn sockets<U: Send + Sync + 'static>(self) -> Vec<Socket<U>> {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        self.ask(Deed::Sockets(sender)).await;
        let mut sockets = Vec::new();
        while let Some(socket) = receiver.recv().await {
            sockets.extend(Socket::of(&socket));
        }
        sockets
    }

    async fn ask(self, deed: Deed) -> Vec<ConnectionInfo> {
        let (reply, mut replies) = mpsc::unbounded_channel();
        let request = Request {
            accepts: self.accepts,
            deed,
            reply,
        };
        self.io
            .server
            .hub
            .send_all(|| Command::Connections(Box::new(request.clone())));
        drop(request);
        let mut all = Vec::new();
        while let Some(part) = replies.recv().await {
            all.extend(part);
        }
        all.sort_by_key(|connection| connection.since);
        all
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

impl Shard {
    /// Does what is asked with those that are here, and answers who they are.
    pub(crate) fn list_connections(&mut self, request: &Request) {
        let (now_unix, now_ms) = (SystemTime::now(), self.now_ms);
        let open = self.connections.iter_mut().filter(|connection| connection.is_open());
        let found: Vec<ConnectionInfo> = open
            .filter(|connection| connection.is_of(&request.accepts))
            .map(|connection| {
                let age = Duration::from_millis(now_ms.saturating_sub(connection.opened_ms));
                connection.info(now_unix.checked_sub(age).unwrap_or(now_unix))
            })
            .collect();
        for connection in &found {
            self.deal_with(connection, &request.deed, &request.accepts);
        }
        // Who asked may have gone.
        let _ = request.reply.send(found);
    }

    fn deal_with(&mut self, connection: &ConnectionInfo, deed: &Deed, accepts: &Accepts) {
        let ConnectionInfo { id, kind, .. } = connection;
        let index = id.0.index;
        match (deed, kind) {
            (Deed::Show, _) | (Deed::Join(..), ConnectionKind::Sse | ConnectionKind::Poll) => {}
            (Deed::SendAway, _) => {
                self.send_away(id.0);
            }
            (Deed::Join(_, granted), ConnectionKind::Websocket) => {
                self.plain_subscribe(index, std::slice::from_ref(granted), true, None);
            }
            (Deed::Join(channel, _), _) => {
                self.apply_to_user(index, accepts, &Action::Join(Arc::new([channel.clone()])))
            }
            // It is answered now, and what it asks next is checked: reading on, it would still read this channel.
            (Deed::Leave(_, name), ConnectionKind::Poll) => {
                if self.is_in(index, name) {
                    self.end(index, Reason::ForcedClose, Farewell::Goodbye);
                }
            }
            (Deed::Leave(_, name), ConnectionKind::Websocket | ConnectionKind::Sse) => {
                self.plain_unsubscribe(index, name)
            }
            (Deed::Sockets(sender), _) => {
                if let Some(socket) = self.socket_of_user(index, accepts) {
                    // Who asked may have gone.
                    let _ = sender.send(socket);
                }
            }
            (Deed::Leave(channel, _), _) => {
                self.apply_to_user(index, accepts, &Action::Leave(Arc::new([channel.clone()])))
            }
        }
    }

    /// Acts on a Socket.IO connection's socket of the root namespace, if that is a user's that is meant.
    fn apply_to_user(&mut self, index: u32, accepts: &Accepts, action: &Action) {
        if let Some(socket) = self.socket_of_user(index, accepts) {
            self.apply(&socket, action);
        }
    }

    fn socket_of_user(&mut self, index: u32, accepts: &Accepts) -> Option<Arc<SocketInner>> {
        let member = self.at(index)?.client()?.member("/")?;
        accepts(&member.socket.user).then(|| Arc::clone(&member.socket))
    }

    fn is_in(&mut self, index: u32, name: &str) -> bool {
        let plain = self.at(index).and_then(|connection| connection.plain());
        plain.is_some_and(|plain| plain.channels.iter().any(|named| *named.name == *name))
    }

    /// Ends a connection for good, as far as its transport can say that. False when there is none.
    pub(crate) fn send_away(&mut self, key: Key) -> bool {
        let Some(connection) = self.get(key).filter(|connection| connection.is_open()) else {
            return false;
        };
        if connection.plain().is_some() {
            self.end(key.index, Reason::ForcedClose, Farewell::Close(Some(SENT_AWAY)));
        } else {
            self.disconnect_all(key.index);
        }
        true
    }
}

impl Connection {
    fn is_of(&self, accepts: &Accepts) -> bool {
        match &self.speaks {
            Speaks::SocketIo(client) => client.users().any(|user| accepts(user)),
            Speaks::Plain(plain) => plain.visitor.as_ref().is_some_and(|visitor| accepts(&visitor.user)),
        }
    }

    fn info(&self, since: SystemTime) -> ConnectionInfo {
        let user = match &self.speaks {
            Speaks::SocketIo(client) => client.user_id(),
            Speaks::Plain(plain) => plain.visitor.as_ref().and_then(|visitor| visitor.id().cloned()),
        };
        let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        ConnectionInfo {
            id: ConnectionId(self.key),
            user,
            kind: self.kind(),
            since: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            channels: self.subscriptions.len(),
            waiting_bytes: self.outbox.bytes(),
        }
    }

    pub(crate) fn kind(&self) -> ConnectionKind {
        match (&self.transport, self.wire) {
            (Transport::WebSocket(_), Wire::Json) => ConnectionKind::Websocket,
            (Transport::WebSocket(_), _) => ConnectionKind::SocketioWebsocket,
            (Transport::Polling(_), _) => ConnectionKind::SocketioPolling,
            (Transport::Stream(_) | Transport::BareStream { .. }, _) => ConnectionKind::Sse,
            (Transport::Waiter(_), _) => ConnectionKind::Poll,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let id = ConnectionId(Key {
            shard: 1,
            index: 20,
            generation: 300,
        });
        assert_eq!(id.to_string(), "1.20.300");
        assert_eq!(id.to_string().parse::<ConnectionId>().unwrap(), id);
        for text in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "65536.1.1",
            "1.2.x",
            "-1.2.3",
            "1.2.4294967296",
        ] {
            assert!(text.parse::<ConnectionId>().is_err(), "{text}");
        }
    }
}

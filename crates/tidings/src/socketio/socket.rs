//! A socket: one client in one namespace, as the application holds it.

mod inner;

use std::any::TypeId;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use smallvec::SmallVec;

use super::ack::{AckError, AckReply, Awaited};
use super::arguments::{self, Emit};
use super::broadcast::{Broadcast, Emitted, Target};
use super::extract::Event;
use super::handler::{Answer, ErasedHandler, Handler};
use super::io::Io;
use super::reason::Reason;
use crate::channel::Channel;
use crate::connections::ConnectionId;
use crate::error::Result;
use crate::event::{self, Draft, Message};
use crate::handshake::Handshake;
use crate::id::EventId;
use crate::log::Since;
use crate::shard::command::{Command, Packet};
use inner::Phase;
pub(crate) use inner::{Entering, Running, SocketInner, User};

/// One client in one namespace: what [`Io::on_connect`] gives, and what handlers extract. Cheap to clone.
///
/// `U` is what [`Io::auth`] answered for this client; `()` without it. A socket may be held for as long as one
/// likes: after the client is gone, what is sent to it goes nowhere.
pub struct Socket<U = ()> {
    pub(crate) inner: Arc<SocketInner>,
    user: Arc<U>,
}

impl<U: Send + Sync + 'static> Socket<U> {
    /// None when the user of this socket is of another type.
    pub(crate) fn of(inner: &Arc<SocketInner>) -> Option<Self> {
        let user = Arc::clone(&inner.user).downcast::<U>().ok()?;
        Some(Self {
            inner: Arc::clone(inner),
            user,
        })
    }

    /// The socket's public id: 24 characters, not the session id of its transport.
    pub fn id(&self) -> &str {
        self.inner.id()
    }

    /// The connection that it is on, as [`Io::connections`] and the log name it.
    pub fn connection_id(&self) -> ConnectionId {
        ConnectionId(self.inner.key)
    }

    /// What [`Io::auth`] answered for this client.
    pub fn user(&self) -> &U {
        &self.user
    }

    /// The namespace it is in, for example `"/"`.
    pub fn namespace(&self) -> &str {
        &self.inner.namespace.path
    }

    /// The namespace's [`Io`], for what goes to others.
    pub fn io(&self) -> Io {
        Io::of_namespace(&self.inner.server, &self.inner.namespace)
    }

    /// What the client said when it came.
    pub fn handshake(&self) -> &Handshake {
        &self.inner.handshake
    }

    /// Whether the client is there.
    pub fn is_connected(&self) -> bool {
        self.inner.is_connected()
    }

    // Rooms

    /// Enters a room. What is emitted to it from now on arrives, also when the next line does so. Nothing happens when
    /// it is in the room already, or gone, or when the name can't be a room's (which is logged; see [`Socket::try_join`]).
    pub fn join(&self, room: impl AsRef<str>) {
        if let Err(error) = self.try_join(room.as_ref()) {
            tracing::warn!(%error, "a socket can't join a room of this name");
        }
    }

    /// As [`Socket::join`], for names that come from outside.
    ///
    /// # Errors
    /// `invalid_channel` when the name is empty, over 255 bytes, has control characters or begins with `/`.
    pub fn try_join(&self, room: impl AsRef<str>) -> Result<()> {
        let channel = Channel::room(&self.inner.namespace.path, room.as_ref())?;
        self.inner.join(channel);
        Ok(())
    }

    /// Enters rooms and gets what was published there after an event, before anything new: for clients that come back and know
    /// the last id they have seen, on any transport. In a room it is in already that is replayed too. What is no longer
    /// retained is told to the client with the event `gap` (`{channels, next}`) first. Answers where the client stands: at
    /// `since`, or before the first event where that is not an id of this log.
    ///
    /// # Errors
    /// `invalid_channel` when a name is empty, over 255 bytes, has control characters or begins with `/`; it is then in none of them.
    pub fn join_since(&self, rooms: impl IntoIterator<Item = impl AsRef<str>>, since: EventId) -> Result<EventId> {
        let namespace = &self.inner.namespace.path;
        let channels = rooms.into_iter().map(|room| Channel::room(namespace, room.as_ref()));
        let channels = channels.collect::<Result<Vec<_>>>()?;
        let since = self.inner.server.hub.log.check(since);
        self.inner.join_since(channels, since);
        let hub = &self.inner.server.hub;
        Ok(match since {
            Since::Known(seq) => hub.id(seq),
            Since::Unknown => hub.id(0),
        })
    }

    /// Whether its client came back to it: rooms are as they were, and it gets what it missed before it hears that it is in.
    pub fn recovered(&self) -> bool {
        self.inner.recovered.is_some()
    }

    /// Leaves a room.
    pub fn leave(&self, room: impl AsRef<str>) {
        if let Ok(channel) = Channel::room(&self.inner.namespace.path, room.as_ref()) {
            self.inner.leave(channel);
        }
    }

    /// The rooms it is in, its own-id room among them; none once it has ended.
    pub fn rooms(&self) -> Vec<String> {
        let state = self.inner.state.lock();
        state
            .rooms
            .iter()
            .filter_map(|room| room.channel.room_name().map(str::to_owned))
            .collect()
    }

    /// Whether it is in a room.
    pub fn is_in(&self, room: &str) -> bool {
        self.inner
            .state
            .lock()
            .rooms
            .iter()
            .any(|other| other.channel.room_name() == Some(room))
    }

    // Sending

    /// Sends an event to this client. Awaiting the answer is not needed; awaited, it gives the event's id.
    pub fn emit(&self, name: &str, arguments: impl Emit) -> Emitted {
        Emitted::new(self.try_emit(name, &arguments))
    }

    fn try_emit(&self, name: &str, arguments: &impl Emit) -> Result<Option<crate::log::Appending>> {
        event::check_name(name)?;
        let encoded = arguments::encode(arguments)?;
        let message = Message {
            name: Arc::from(name),
            arguments: encoded.text.into(),
            attachments: encoded.attachments,
        };
        let channels = SmallVec::from_elem(self.inner.own.clone(), 1);
        let draft = Draft {
            channels,
            except: SmallVec::new(),
            message,
            user: None,
            key: None,
        };
        Ok(Some(
            self.inner.server.hub.publish_to_shard(draft, self.inner.key.shard),
        ))
    }

    /// Sends an event that may be lost: it is dropped when the client can't take it right now.
    pub fn emit_volatile(&self, name: &str, arguments: impl Emit) -> Emitted {
        let send = || {
            event::check_name(name)?;
            let encoded = arguments::encode(&arguments)?;
            let mut bytes = Vec::new();
            tidings_protocol::socketio::write_event(
                &mut bytes,
                &self.inner.namespace.path,
                None,
                encoded.attachments.len(),
                name,
                &encoded.text,
                &[],
            );
            let packet = Packet {
                bytes,
                attachments: encoded.attachments,
            };
            self.inner.dispatch(packet, true);
            Ok(None)
        };
        Emitted::new(send())
    }

    /// Sends an event and waits for the client's acknowledgement, as long as
    /// [`Builder::ack_timeout`](crate::Builder::ack_timeout) says.
    ///
    /// # Errors
    /// When no answer came in time, or the socket ended first.
    pub async fn emit_with_ack(&self, name: &str, arguments: impl Emit) -> Result<AckReply, AckFailed> {
        self.timeout(self.inner.server.config.ack_timeout)
            .emit_with_ack(name, arguments)
            .await
    }

    /// Another time to wait for acknowledgements.
    pub fn timeout(&self, timeout: Duration) -> WithTimeout<'_, U> {
        WithTimeout { socket: self, timeout }
    }

    /// A room without this socket. With several rooms, each socket gets the event once.
    pub fn to(&self, room: impl AsRef<str>) -> Broadcast {
        self.broadcast().to(room)
    }

    /// Everyone in the namespace but those in a room and this socket.
    pub fn except(&self, room: impl AsRef<str>) -> Broadcast {
        self.broadcast().except(room)
    }

    /// Everyone in the namespace but this socket.
    pub fn broadcast(&self) -> Broadcast {
        Broadcast::new(&self.inner.server, Target::Namespace(Arc::clone(&self.inner.namespace)))
            .without(self.inner.own.clone())
    }

    /// Ends the socket: the client is told that the server wants it so, and does not come back by itself. With `close`
    /// all its namespaces end and the transport too.
    pub fn disconnect(&self, close: bool) {
        self.inner.command(Command::Disconnect {
            socket: Arc::clone(&self.inner),
            close,
        });
    }

    /// Closes the transport under the socket, so that the client comes back by itself, and through [`Io::auth`] again: for a
    /// credential that has expired, say. All sockets of the connection end with the reason `forced close`. A WebSocket client
    /// is given `code`, 4000 to 4999 for an application (RFC 6455 section 7.4.2); polling has none.
    pub fn close_transport(&self, code: u16) {
        self.inner.command(Command::CloseTransport {
            socket: Arc::clone(&self.inner),
            code,
        });
    }

    /// Says when its client's credential ends, in the place of what [`Identity::expires_at`](crate::Identity::expires_at) said:
    /// its client has shown a fresh one. A minute before, it gets the event `expiring` (`{}`); then its transport
    /// is closed as with [`Socket::close_transport`], with the code 4401.
    pub fn expires_at(&self, time: SystemTime) {
        self.inner.command(Command::Renew {
            socket: Arc::clone(&self.inner),
            expires_at: time,
        });
    }

    // Handlers

    /// Handles an event of this client. The handler takes extractors and returns `()` or [`Result`](crate::Result): see
    /// [`Handler`]. Events of one socket are handled one after another, in their order.
    pub fn on<M>(&self, name: impl Into<Cow<'static, str>>, handler: impl Handler<M>) {
        self.register(name.into(), ErasedHandler::new(handler, false));
    }

    /// As [`Socket::on`], but the next event does not wait for this handler: for slow ones whose order does not matter.
    /// Up to 64 of a socket run at once.
    pub fn on_concurrent<M>(&self, name: impl Into<Cow<'static, str>>, handler: impl Handler<M>) {
        self.register(name.into(), ErasedHandler::new(handler, true));
    }

    fn register(&self, name: Cow<'static, str>, handler: ErasedHandler) {
        let mut state = self.inner.state.lock();
        if state.phase != Phase::Ended {
            state.handlers().events.add(name, handler);
        }
    }

    /// Removes the handlers of an event.
    pub fn off(&self, name: &str) {
        self.inner.forget_event(name);
    }

    /// Sees every event of this client before its handlers do.
    pub fn on_any<F, R>(&self, handler: F)
    where
        F: AsyncFn(Event) -> R + Send + Sync + 'static,
        R: Answer + 'static,
    {
        self.inner.state.lock().handlers().events.add_any(handler);
    }

    /// Decides about every event of this client before its handlers run: an error is the event's acknowledgement.
    pub fn before_event<F>(&self, middleware: F)
    where
        F: AsyncFn(Event) -> Result<()> + Send + Sync + 'static,
    {
        self.inner.state.lock().handlers().events.add_before(middleware);
    }

    /// Runs when the socket is about to end; its rooms are still there.
    pub fn on_disconnecting<F, R>(&self, handler: F)
    where
        F: AsyncFn(Socket<U>, Reason) -> R + Send + Sync + 'static,
        R: Answer + 'static,
    {
        self.inner
            .state
            .lock()
            .handlers()
            .disconnecting
            .push(super::handler::socket_handler(handler));
    }

    /// Runs when the socket has ended.
    pub fn on_disconnect<F, R>(&self, handler: F)
    where
        F: AsyncFn(Socket<U>, Reason) -> R + Send + Sync + 'static,
        R: Answer + 'static,
    {
        self.inner
            .state
            .lock()
            .handlers()
            .disconnect
            .push(super::handler::socket_handler(handler));
    }

    // State

    /// Keeps a value of a type with the socket, instead of the one of that type it had.
    pub fn set_state<T: Send + Sync + 'static>(&self, value: T) {
        let mut state = self.inner.state.lock();
        if state.phase != Phase::Ended {
            if let (Some(sessions), Some(pid)) = (&self.inner.server.sessions, self.inner.pid) {
                sessions.changed(pid, TypeId::of::<T>(), &value);
            }
            state
                .values
                .get_or_insert_default()
                .insert(TypeId::of::<T>(), Arc::new(value));
        }
    }

    /// The value of that type that the socket keeps.
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let value = self
            .inner
            .state
            .lock()
            .values
            .as_ref()?
            .get(&TypeId::of::<T>())
            .cloned()?;
        value.downcast().ok()
    }
}

/// A [`Socket`] with a time to wait for acknowledgements.
pub struct WithTimeout<'a, U> {
    socket: &'a Socket<U>,
    timeout: Duration,
}

impl<U: Send + Sync + 'static> WithTimeout<'_, U> {
    /// Sends an event and waits for the client's acknowledgement.
    ///
    /// # Errors
    /// When no answer came in time, or the socket ended first.
    pub async fn emit_with_ack(&self, name: &str, arguments: impl Emit) -> Result<AckReply, AckFailed> {
        event::check_name(name).map_err(AckFailed::Refused)?;
        let encoded = arguments::encode(&arguments).map_err(AckFailed::Refused)?;
        let awaited = Awaited::send(&self.socket.inner, name, encoded);
        awaited.within(self.timeout).await.map_err(AckFailed::Ack)
    }
}

/// Why an emit with an acknowledgement gave none.
#[derive(Debug)]
pub enum AckFailed {
    /// It was sent, and no answer came.
    Ack(AckError),
    /// It was not sent: the name is reserved, or the value can't be serialised.
    Refused(crate::Error),
}

impl fmt::Display for AckFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AckFailed::Ack(error) => fmt::Display::fmt(error, f),
            AckFailed::Refused(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for AckFailed {}

impl<U> Clone for Socket<U> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            user: Arc::clone(&self.user),
        }
    }
}

impl<U> fmt::Debug for Socket<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.inner.id())
            .field("namespace", &self.inner.namespace.path)
            .finish_non_exhaustive()
    }
}

impl<U> PartialEq for Socket<U> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl<U> Eq for Socket<U> {}

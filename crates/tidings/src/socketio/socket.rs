//! A socket: one client in one namespace, as the application holds it.

use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::ack::{AckError, AckReply, Awaited};
use super::arguments::{self, Emit};
use super::broadcast::{Broadcast, Emitted, Target};
use super::extract::Event;
use super::handler::{Answer, ErasedHandler, EventHandlers, Handler, SocketHandler};
use super::io::Io;
use super::namespace::Namespace;
use super::reason::Reason;
use super::recovery::{self, Change, Recovered, Replay, Room, TakenOver};
use crate::channel::Channel;
use crate::connection::Key;
use crate::error::Result;
use crate::event::{self, Draft, Message};
use crate::handshake::Handshake;
use crate::id::EventId;
use crate::log::Since;
use crate::random::RandomId;
use crate::server::Server;
use crate::shard::command::{Command, Packet};

/// One client in one namespace: what [`Io::on_connect`] gives, and what handlers extract. Cheap to clone.
///
/// `U` is what [`Io::auth`] answered for this client; `()` without it. A socket may be held for as long as one
/// likes: after the client is gone, what is sent to it goes nowhere.
pub struct Socket<U = ()> {
    pub(crate) inner: Arc<SocketInner>,
    user: Arc<U>,
}

pub(crate) type User = Arc<dyn Any + Send + Sync>;

pub(crate) struct SocketInner {
    pub(crate) server: Arc<Server>,
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) key: Key,
    /// The channel of the own-id room, whose name is the socket's id.
    own: Channel,
    id: Box<str>,
    pub(crate) user: User,
    handshake: Handshake,
    /// The session's secret id, with recovery.
    pub(crate) pid: Option<RandomId>,
    /// Who it is, where the application tells.
    pub(crate) user_id: Option<Arc<str>>,
    /// Where its client stands if it has seen no event.
    start: AtomicU64,
    /// Its client came back, and has all events up to here.
    pub(crate) recovered: Option<u64>,
    /// Who had its session before, until it is set up.
    pub(crate) taken_over: Mutex<Option<TakenOver>>,
    /// The application has set it up: its handlers of the connection have run.
    is_set_up: AtomicBool,
    state: Mutex<State>,
    pub(crate) concurrent: AtomicUsize,
}

#[derive(Default)]
struct State {
    phase: Phase,
    rooms: Vec<Room>,
    /// No event of before it was connected, or of a room that it has left, came to its client with a seq above this.
    heard: u64,
    handlers: Handlers,
    values: Option<Box<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>>,
}

impl State {
    fn is_in(&self, channel: &Channel) -> bool {
        self.rooms.iter().any(|room| room.channel == *channel)
    }
}

/// Of a room that begins with the socket.
const ENTERING: u64 = u64::MAX;

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The application is still being asked.
    #[default]
    Entering,
    Connected,
    Ended,
}

/// What the application registered on one socket.
#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) events: EventHandlers,
    disconnecting: Vec<SocketHandler<Reason>>,
    disconnect: Vec<SocketHandler<Reason>>,
}

/// Who asks to be a socket.
pub(crate) struct Entering {
    pub(crate) key: Key,
    pub(crate) user: User,
    pub(crate) user_id: Option<Arc<str>>,
    pub(crate) handshake: Handshake,
    /// The session that it comes back to.
    pub(crate) recovered: Option<Recovered>,
}

impl SocketInner {
    pub(crate) fn new(server: &Arc<Server>, namespace: &Arc<Namespace>, entering: Entering) -> Result<Arc<Self>> {
        let Entering {
            key,
            user,
            user_id,
            handshake,
            recovered,
        } = entering;
        let cursor = recovered.as_ref().map(|recovered| recovered.cursor);
        let heard = cursor.unwrap_or_else(|| recovery::heard(server, &handshake));
        let mut taken_over = None;
        let (id, pid, start, mut rooms, values) = match recovered {
            Some(recovered) => {
                taken_over = recovered.taken_over;
                let stored = recovered.stored;
                (stored.id, Some(stored.pid), stored.start, stored.rooms, stored.values)
            }
            None => {
                let pid = server.sessions.as_ref().map(|_| RandomId::new());
                let id = server.socket_ids.make().into();
                (id, pid, 0, Vec::new(), HashMap::new())
            }
        };
        let own = Channel::room(&namespace.path, &id)?;
        if !rooms.iter().any(|room| room.channel == own) {
            let channel = own.clone();
            rooms.push(Room::new(channel, ENTERING));
        }
        Ok(Arc::new(Self {
            server: Arc::clone(server),
            namespace: Arc::clone(namespace),
            key,
            own,
            id,
            user,
            handshake,
            pid,
            user_id,
            start: AtomicU64::new(start),
            recovered: cursor,
            taken_over: Mutex::new(taken_over),
            is_set_up: AtomicBool::new(cursor.is_some()),
            state: Mutex::new(State {
                rooms,
                heard,
                values: (!values.is_empty()).then(|| Box::new(values)),
                ..State::default()
            }),
            concurrent: AtomicUsize::new(0),
        }))
    }

    /// Where its client stands if it has seen no event.
    pub(crate) fn start(&self) -> u64 {
        self.start.load(Ordering::Relaxed)
    }

    pub(crate) fn is_set_up(&self) -> bool {
        self.is_set_up.load(Ordering::Acquire)
    }

    pub(crate) fn note_set_up(&self) {
        self.is_set_up.store(true, Ordering::Release);
    }

    /// Does what was done to its session before it was connected.
    pub(crate) fn make_up_for(&self, changes: &[Change]) {
        let mut state = self.state.lock();
        for change in changes {
            match change {
                Change::Joined(room) if !state.is_in(&room.channel) => state.rooms.push(room.clone()),
                Change::Left(channel) => state.rooms.retain(|room| room.channel != *channel),
                Change::Joined(_) | Change::Disconnected { .. } => {}
            }
        }
    }

    /// What recovery keeps of it.
    pub(crate) fn snapshot(&self) -> (Vec<Room>, HashMap<TypeId, Arc<dyn Any + Send + Sync>>) {
        let state = self.state.lock();
        let values = state.values.as_deref().cloned().unwrap_or_default();
        (state.rooms.clone(), values)
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Tells the client of an error that no acknowledgement can tell: `tidings:error` with `{code, message}`.
    pub(crate) fn report(self: &Arc<Self>, error: &crate::Error) {
        let arguments = serde_json::json!({ "code": error.code(), "message": error.message() }).to_string();
        let mut bytes = Vec::new();
        tidings_protocol::socketio::write_event(
            &mut bytes,
            &self.namespace.path,
            None,
            0,
            "tidings:error",
            &arguments,
            &[],
        );
        let packet = Packet {
            bytes,
            attachments: Vec::new(),
        };
        self.server.hub.send(
            self.key.shard,
            Command::Send {
                socket: Arc::clone(self),
                packet,
                volatile: false,
            },
        );
    }

    /// Enters a room. The command is sent under the lock, so that commands come in the order of changes.
    fn join(self: &Arc<Self>, channel: Channel) {
        let mut state = self.state.lock();
        if self.add_room(&mut state, &channel) && state.phase == Phase::Connected {
            self.command(Command::Join {
                socket: Arc::clone(self),
                channel,
            });
        }
    }

    /// Adds a room to those it is in; false when it was in there, or is gone.
    fn add_room(&self, state: &mut State, channel: &Channel) -> bool {
        if state.phase == Phase::Ended || state.is_in(channel) {
            return false;
        }
        // Before it is connected, `begin` says where its rooms begin.
        let joined_at = match state.phase {
            Phase::Connected => self.server.hub.log.assigned(),
            _ => ENTERING,
        };
        let room = Room::new(channel.clone(), joined_at);
        if state.phase == Phase::Connected {
            self.note_rooms(std::slice::from_ref(&room));
        }
        state.rooms.push(room);
        true
    }

    /// Keeps with the session that it is in these rooms.
    fn note_rooms(&self, rooms: &[Room]) {
        if let (Some(sessions), Some(pid)) = (&self.server.sessions, self.pid) {
            sessions.joined(pid, rooms);
        }
    }

    /// Enters rooms, and gets what came after `since` there.
    fn join_since(self: &Arc<Self>, channels: Vec<Channel>, since: Since) {
        let mut state = self.state.lock();
        if state.phase != Phase::Connected {
            return;
        }
        let from = match since {
            Since::Known(seq) => seq,
            Since::Unknown => 0,
        };
        let mut rooms: Vec<Room> = Vec::with_capacity(channels.len());
        let until = self.server.hub.log.assigned();
        let rooms_before = state.rooms.iter().map(|room| room.channel.clone());
        let heard_in = rooms_before.chain([Channel::everyone(&self.namespace.path)]).collect();
        for channel in &channels {
            if rooms.iter().any(|room| room.channel == *channel) {
                continue; // named twice
            }
            // Who is cut before all of it came gets the rest when it comes back.
            let known = state.rooms.iter().position(|room| room.channel == *channel);
            let before = known.map(|at| state.rooms.swap_remove(at).joined_at);
            rooms.push(Room {
                channel: channel.clone(),
                joined_at: before.map_or(from, |before| before.min(from)),
                replay: Some(Replay {
                    until,
                    has_gap: since == Since::Unknown,
                }),
            });
        }
        // All of them or none: it has one cursor for them.
        self.note_rooms(&rooms);
        state.rooms.append(&mut rooms);
        self.command(Command::JoinSince {
            socket: Arc::clone(self),
            channels,
            since,
            heard_in,
        });
    }

    /// The replay of these rooms begins. What its client may have heard before is no newer than what there is in the channels
    /// that it was in.
    pub(crate) fn begin_replay(&self, channels: &[Channel], heard_in: &[Channel]) {
        let log = &self.server.hub.log;
        let mut state = self.state.lock();
        let newest = heard_in.iter().map(|channel| log.newest(channel));
        let heard = newest.fold(state.heard, u64::max);
        let mut changed = Vec::new();
        for room in state.rooms.iter_mut().filter(|room| channels.contains(&room.channel)) {
            if let Some(replay) = room.replay.as_mut().filter(|replay| replay.until > heard) {
                replay.until = heard;
                changed.push(room.clone());
            }
        }
        if !changed.is_empty() {
            self.note_rooms(&changed);
        }
    }

    fn leave(self: &Arc<Self>, channel: Channel) {
        let mut state = self.state.lock();
        if self.remove_room(&mut state, &channel) && state.phase == Phase::Connected {
            self.command(Command::Leave {
                socket: Arc::clone(self),
                channel,
            });
        }
    }

    fn remove_room(&self, state: &mut State, channel: &Channel) -> bool {
        let rooms = state.rooms.len();
        state.rooms.retain(|room| room.channel != *channel);
        let was_in = state.rooms.len() < rooms;
        if was_in {
            state.heard = self.server.hub.log.assigned();
        }
        if was_in && let (Some(sessions), Some(pid)) = (&self.server.sessions, self.pid) {
            sessions.left(pid, channel);
        }
        was_in
    }

    fn command(&self, command: Command) {
        self.server.hub.send(self.key.shard, command);
    }

    /// Notes a room that its shard put it into.
    pub(crate) fn note_joined(&self, channel: &Channel) {
        let mut state = self.state.lock();
        self.add_room(&mut state, channel);
    }

    /// Notes a room that its shard took it out of.
    pub(crate) fn note_left(&self, channel: &Channel) {
        let mut state = self.state.lock();
        self.remove_room(&mut state, channel);
    }

    /// Makes it a connected one, from `position` on; answers the rooms it is in by now.
    pub(crate) fn begin(&self, position: u64) -> Vec<Room> {
        if self.recovered.is_none() {
            self.start.store(position, Ordering::Relaxed);
        }
        let mut state = self.state.lock();
        state.phase = Phase::Connected;
        for room in &mut state.rooms {
            if room.joined_at == ENTERING {
                room.joined_at = position;
            }
        }
        state.rooms.clone()
    }

    pub(crate) fn end(&self) {
        self.state.lock().phase = Phase::Ended;
    }

    /// What the application wants to run for an event: everything that was registered for it.
    pub(crate) fn with_handlers<R>(&self, read: impl FnOnce(&Handlers) -> R) -> R {
        read(&self.state.lock().handlers)
    }

    pub(crate) fn disconnecting_handlers(&self) -> Vec<SocketHandler<Reason>> {
        self.state.lock().handlers.disconnecting.clone()
    }

    /// Leaves all rooms; answers who wants to know of the end.
    pub(crate) fn leave_all(&self) -> Vec<SocketHandler<Reason>> {
        let mut state = self.state.lock();
        state.rooms = Vec::new();
        state.handlers.disconnect.clone()
    }

    /// Lets go of all that the application gave, which may hold this very socket.
    pub(crate) fn forget(&self) {
        let mut state = self.state.lock();
        let handlers = std::mem::take(&mut state.handlers);
        let values = state.values.take();
        drop(state);
        drop((handlers, values));
    }
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
        &self.inner.id
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
        self.inner.state.lock().phase == Phase::Connected
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
            self.inner.command(Command::Send {
                socket: Arc::clone(&self.inner),
                packet,
                volatile: true,
            });
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
            state.handlers.events.add(name, handler);
        }
    }

    /// Removes the handlers of an event.
    pub fn off(&self, name: &str) {
        self.inner.state.lock().handlers.events.remove(name);
    }

    /// Sees every event of this client before its handlers do.
    pub fn on_any<F, R>(&self, handler: F)
    where
        F: AsyncFn(Event) -> R + Send + Sync + 'static,
        R: Answer + 'static,
    {
        self.inner.state.lock().handlers.events.add_any(handler);
    }

    /// Decides about every event of this client before its handlers run: an error is the event's acknowledgement.
    pub fn before_event<F>(&self, middleware: F)
    where
        F: AsyncFn(Event) -> Result<()> + Send + Sync + 'static,
    {
        self.inner.state.lock().handlers.events.add_before(middleware);
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
            .handlers
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
            .handlers
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
            .field("id", &self.inner.id)
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

/// Counts a concurrent handler for as long as it runs.
pub(crate) struct Running(Arc<SocketInner>);

impl Running {
    /// None when so many run already that the next event has to wait.
    pub(crate) fn begin(socket: &Arc<SocketInner>) -> Option<Self> {
        const CONCURRENT_MAX: usize = 64;
        let running = Self(Arc::clone(socket));
        (socket.concurrent.fetch_add(1, Ordering::AcqRel) < CONCURRENT_MAX).then_some(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.concurrent.fetch_sub(1, Ordering::AcqRel);
    }
}

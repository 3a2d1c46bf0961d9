//! What is behind all handles of a socket: who it is, its rooms, its handlers and its state.

use std::any::{Any, TypeId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::access::Identity;
use crate::channel::Channel;
use crate::connection::Key;
use crate::error::Result;
use crate::handshake::Handshake;
use crate::log::Since;
use crate::random::RandomId;
use crate::server::Server;
use crate::shard::command::{Command, Packet};
use crate::socketio::handler::{EventHandlers, SocketHandler};
use crate::socketio::namespace::Namespace;
use crate::socketio::reason::Reason;
use crate::socketio::recovery::{self, Change, Recovered, Replay, Room, TakenOver};
use crate::tight;

pub(crate) type User = Arc<dyn Any + Send + Sync>;

pub(crate) struct SocketInner {
    pub(crate) server: Arc<Server>,
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) key: Key,
    /// The channel of the own-id room, whose name is the socket's id.
    pub(super) own: Channel,
    pub(crate) user: User,
    pub(super) handshake: Handshake,
    /// The session's secret id, with recovery.
    pub(crate) pid: Option<RandomId>,
    /// Who it is, where the application tells.
    pub(crate) user_id: Option<Arc<str>>,
    /// When the credential that it came with ends.
    pub(crate) expires_at: Option<SystemTime>,
    /// Where its client stands if it has seen no event.
    start: AtomicU64,
    /// Its client came back, and has all events up to here.
    pub(crate) recovered: Option<u64>,
    /// Who had its session before, until it is set up.
    pub(crate) taken_over: Mutex<Option<TakenOver>>,
    /// The application has set it up: its handlers of the connection have run.
    is_set_up: AtomicBool,
    pub(super) state: Mutex<State>,
    pub(crate) concurrent: AtomicUsize,
    /// Bytes on their way to its outbox.
    unsent: AtomicUsize,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) rooms: Vec<Room>,
    /// No event of before it was connected, or of a room that it has left, came to its client with a seq above this.
    heard: u64,
    /// None until there is one: most register theirs for all sockets.
    handlers: Option<Box<Handlers>>,
    pub(super) values: Option<Box<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>>,
}

impl State {
    pub(super) fn handlers(&mut self) -> &mut Handlers {
        self.handlers.get_or_insert_default()
    }

    fn is_in(&self, channel: &Channel) -> bool {
        self.rooms.iter().any(|room| room.channel == *channel)
    }
}

/// Of a room that begins with the socket.
const ENTERING: u64 = u64::MAX;

#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
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
    pub(super) disconnecting: Vec<SocketHandler<Reason>>,
    pub(super) disconnect: Vec<SocketHandler<Reason>>,
}

/// Who asks to be a socket.
pub(crate) struct Entering {
    pub(crate) key: Key,
    pub(crate) user: User,
    pub(crate) identity: Option<Identity>,
    pub(crate) handshake: Handshake,
    /// The session that it comes back to.
    pub(crate) recovered: Option<Recovered>,
}

impl SocketInner {
    pub(crate) fn new(server: &Arc<Server>, namespace: &Arc<Namespace>, entering: Entering) -> Result<Arc<Self>> {
        let Entering {
            key,
            user,
            identity,
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
            tight::push(&mut rooms, Room::new(channel, ENTERING));
        }
        Ok(Arc::new(Self {
            server: Arc::clone(server),
            namespace: Arc::clone(namespace),
            key,
            own,
            user,
            handshake,
            pid,
            user_id: identity.as_ref().map(|identity| Arc::clone(identity.id())),
            expires_at: identity.as_ref().and_then(Identity::expiry),
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
            unsent: AtomicUsize::new(0),
        }))
    }

    /// It has been let in, and has not ended.
    pub(crate) fn is_connected(&self) -> bool {
        self.state.lock().phase == Phase::Connected
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
                Change::Joined(room) if !state.is_in(&room.channel) => tight::push(&mut state.rooms, room.clone()),
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
        self.own.shown()
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
        self.dispatch(packet, false);
    }

    /// Has a packet written that is no event of the log.
    pub(crate) fn dispatch(self: &Arc<Self>, packet: Packet, volatile: bool) {
        self.unsent.fetch_add(packet.len(), Ordering::Relaxed);
        self.command(Command::Send {
            socket: Arc::clone(self),
            packet,
            volatile,
        });
    }

    /// A packet has come to the outbox.
    pub(crate) fn dispatched(&self, packet: &Packet) {
        self.unsent.fetch_sub(packet.len(), Ordering::Relaxed);
    }

    /// Bytes on their way to its outbox.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.load(Ordering::Relaxed)
    }

    /// Enters a room. The command is sent under the lock, so that commands come in the order of changes.
    pub(super) fn join(self: &Arc<Self>, channel: Channel) {
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
        tight::push(&mut state.rooms, room);
        true
    }

    /// Keeps with the session that it is in these rooms.
    fn note_rooms(&self, rooms: &[Room]) {
        if let (Some(sessions), Some(pid)) = (&self.server.sessions, self.pid) {
            sessions.joined(pid, rooms);
        }
    }

    /// Enters rooms, and gets what came after `since` there.
    pub(super) fn join_since(self: &Arc<Self>, channels: Vec<Channel>, since: Since) {
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
        for room in rooms {
            tight::push(&mut state.rooms, room);
        }
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

    pub(super) fn leave(self: &Arc<Self>, channel: Channel) {
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

    pub(super) fn command(&self, command: Command) {
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
        match &self.state.lock().handlers {
            Some(handlers) => read(handlers),
            None => read(&Handlers::default()),
        }
    }

    /// Lets go of the handlers of an event, if there are any.
    pub(super) fn forget_event(&self, name: &str) {
        if let Some(handlers) = &mut self.state.lock().handlers {
            handlers.events.remove(name);
        }
    }

    pub(crate) fn disconnecting_handlers(&self) -> Vec<SocketHandler<Reason>> {
        self.with_handlers(|handlers| handlers.disconnecting.clone())
    }

    /// Leaves all rooms; answers who wants to know of the end.
    pub(crate) fn leave_all(&self) -> Vec<SocketHandler<Reason>> {
        self.state.lock().rooms = Vec::new();
        self.with_handlers(|handlers| handlers.disconnect.clone())
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

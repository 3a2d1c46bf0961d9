//! Connection state recovery: a client that comes back within the window finds its socket as it left it, and gets what
//! it missed first (SOCKETIO: `pid` and offset in the CONNECT of a client that had them).
//!
//! A session is its socket for as long as that lives, and for the window after it a [`Stored`]. With a store it is also
//! a handful of records, written before anything that is published later, so that it outlives the process: the head, one
//! for each room, one for each registered state.

use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::namespace::Namespace;
use super::reason::Reason;
use super::socket::{SocketInner, User};
use crate::channel::Channel;
use crate::handshake::Handshake;
use crate::id::EventId;
use crate::log::{Cursor, Log, PageLimit, Record, Since};
use crate::random::RandomId;
use crate::server::Server;
use crate::shard::command::{Action, Command, Selection};

/// How recovery is set up; see [`Builder::recovery`](crate::Builder::recovery).
#[derive(Clone)]
pub struct Recovery {
    pub(crate) window: Duration,
    pub(crate) events_max: usize,
    pub(crate) bytes_max: usize,
    states: Vec<StateType>,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(120),
            events_max: 10_000,
            bytes_max: 16 << 20,
            states: Vec::new(),
        }
    }
}

impl Recovery {
    /// How long a client may be away. Default 2 minutes.
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// How many missed events are replayed at the most; with more, the client begins anew. Default 10,000.
    pub fn events_max(mut self, events: usize) -> Self {
        self.events_max = events;
        self
    }

    /// How many bytes of missed events are replayed at the most; with more, the client begins anew. Default 16 MiB.
    pub fn bytes_max(mut self, bytes: usize) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// Restores the [state](crate::Socket::set_state) of this type, which is kept under `name`, as JSON where there is a store.
    pub fn state<T: Serialize + DeserializeOwned + Send + Sync + 'static>(mut self, name: &'static str) -> Self {
        self.states.push(StateType {
            id: TypeId::of::<T>(),
            name,
            encode: |value| serde_json::to_vec(value.downcast_ref::<T>()?).ok(),
            decode: |bytes| Some(Arc::new(serde_json::from_slice::<T>(bytes).ok()?)),
        });
        self
    }
}

type Value = Arc<dyn Any + Send + Sync>;

#[derive(Clone)]
struct StateType {
    id: TypeId,
    name: &'static str,
    encode: fn(&(dyn Any + Send + Sync)) -> Option<Vec<u8>>,
    decode: fn(&[u8]) -> Option<Value>,
}

/// A room of a socket.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    pub(crate) channel: Channel,
    /// Events up to this seq are from before.
    pub(crate) joined_at: u64,
    pub(crate) replay: Option<Replay>,
}

/// What a client asked for that may have seen something of a room before. It has that when its last event is newer than
/// `until`; one that is not may have come before the replay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Replay {
    /// The newest event that it may have got before.
    pub(crate) until: u64,
    /// The client is to hear of a gap in the room.
    pub(crate) has_gap: bool,
}

impl Room {
    pub(crate) fn new(channel: Channel, joined_at: u64) -> Self {
        Self {
            channel,
            joined_at,
            replay: None,
        }
    }

    /// Where a client begins in the room that comes back with this cursor. An older event than those of the replay says nothing of
    /// the replay: what it has seen of that comes again.
    pub(crate) fn start(&self, cursor: u64) -> u64 {
        match self.replay {
            Some(replay) if cursor <= replay.until => self.joined_at,
            _ => self.joined_at.max(cursor),
        }
    }

    /// Whether the client may not have heard of its gap.
    fn owes_gap(&self, cursor: u64) -> bool {
        self.replay
            .is_some_and(|replay| replay.has_gap && cursor <= replay.until)
    }
}

/// A session whose client is away.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) pid: RandomId,
    pub(crate) namespace: Arc<str>,
    /// Who it is, where [`Io::identify`](crate::Io::identify) tells.
    user: Option<Arc<str>>,
    /// The public id of its socket.
    pub(crate) id: Box<str>,
    /// It must not get what everyone in the namespace got up to here.
    pub(crate) start: u64,
    pub(crate) rooms: Vec<Room>,
    pub(crate) values: HashMap<TypeId, Value>,
}

enum Entry {
    Live(Arc<SocketInner>),
    Away {
        stored: Box<Stored>,
        until: Instant,
    },
    /// Its client has come back, and the application is being asked about it.
    Coming {
        stored: Box<Stored>,
        until: Instant,
        /// What was done to it meanwhile.
        changes: Vec<Change>,
    },
}

/// What the server did to a socket that is not there.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Joined(Room),
    Left(Channel),
    Disconnected { close: bool },
}

/// All sessions that can be recovered.
pub(crate) struct Sessions {
    pub(crate) recovery: Recovery,
    log: Arc<dyn Log>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<RandomId, Entry>,
    /// Those that are away, the longest so first; some have come back since.
    away: VecDeque<(Instant, RandomId)>,
    /// How many of the entries are of clients that are not there.
    absent: usize,
}

impl Table {
    fn insert(&mut self, pid: RandomId, entry: Entry) {
        if let Some(until) = entry.until() {
            self.away.push_back((until, pid));
            self.absent += 1;
        }
        if self.entries.insert(pid, entry).is_some_and(|old| old.until().is_some()) {
            self.absent -= 1;
        }
    }

    fn remove(&mut self, pid: RandomId) -> Option<Entry> {
        let entry = self.entries.remove(&pid)?;
        if entry.until().is_some() {
            self.absent -= 1;
        }
        Some(entry)
    }
}

/// Sessions whose clients are away, at the most; the longest away give way.
const AWAY_MAX: usize = 100_000;

/// What records of sessions begin with.
const PREFIX: &[u8] = b"session/";

#[derive(Serialize, Deserialize)]
struct Head<'a> {
    namespace: &'a str,
    user: Option<&'a str>,
    id: &'a str,
    start: u64,
}

impl Sessions {
    /// With the sessions that an earlier process left in the store: their windows begin anew.
    pub(crate) fn new(recovery: Recovery, log: Arc<dyn Log>) -> Self {
        let sessions = Self {
            recovery,
            log,
            table: Mutex::default(),
        };
        sessions.load();
        sessions
    }

    fn load(&self) {
        let mut found: HashMap<RandomId, Stored> = HashMap::new();
        let mut orphans = Vec::new();
        // In the order of the keys: a session's head comes before what belongs to it.
        for (key, value) in self.log.records(PREFIX) {
            if self.load_record(&mut found, &key, &value).is_none() {
                orphans.push(key);
            }
        }
        for key in orphans {
            self.log.put(key, None);
        }
        for stored in found.into_values() {
            self.store(stored);
        }
    }

    fn load_record(&self, found: &mut HashMap<RandomId, Stored>, key: &[u8], value: &[u8]) -> Option<()> {
        let key = std::str::from_utf8(key.strip_prefix(PREFIX)?).ok()?;
        let (pid, rest) = key.split_at_checked(RandomId::CHARS)?;
        let pid = RandomId::parse(pid)?;
        if rest.is_empty() {
            let head: Head<'_> = serde_json::from_slice(value).ok()?;
            found.insert(
                pid,
                Stored {
                    pid,
                    namespace: Arc::from(head.namespace),
                    user: head.user.map(Arc::from),
                    id: head.id.into(),
                    start: head.start,
                    rooms: Vec::new(),
                    values: HashMap::new(),
                },
            );
            return Some(());
        }
        let stored = found.get_mut(&pid)?;
        if let Some(room) = rest.strip_prefix("/room/") {
            let mut value = std::str::from_utf8(value).ok()?.split(' ');
            let joined_at = value.next()?.parse().ok()?;
            let replay = match value.next() {
                Some(until) => Some(Replay {
                    until: until.parse().ok()?,
                    has_gap: value.next() == Some("gap"),
                }),
                None => None,
            };
            stored.rooms.push(Room {
                channel: Channel::room(&stored.namespace, room).ok()?,
                joined_at,
                replay,
            });
        } else {
            let name = rest.strip_prefix("/state/")?;
            let state = self.recovery.states.iter().find(|state| state.name == name)?;
            stored.values.insert(state.id, (state.decode)(value)?);
        }
        Some(())
    }

    // What happens to a socket

    /// A client is let in to its session: what was done to that meanwhile.
    pub(crate) fn arrive(&self, socket: &SocketInner) -> Vec<Change> {
        let Some(pid) = socket.pid else { return Vec::new() };
        match self.table.lock().entries.get_mut(&pid) {
            Some(Entry::Coming { changes, .. }) => std::mem::take(changes),
            _ => Vec::new(),
        }
    }

    /// A socket has come in.
    pub(crate) fn begin(&self, socket: &Arc<SocketInner>, rooms: &[Room]) {
        let Some(pid) = socket.pid else { return };
        self.joined(pid, rooms);
        self.table.lock().insert(pid, Entry::Live(Arc::clone(socket)));
    }

    /// The application has set a socket up: from now on its client can come back to it. Before, it would come back to a socket
    /// that lacks rooms.
    pub(crate) fn set_up(&self, socket: &SocketInner) {
        drop(socket.taken_over.lock().take());
        let Some(pid) = socket.pid else { return };
        let head = Head {
            namespace: &socket.namespace.path,
            user: socket.user_id.as_deref(),
            id: socket.id(),
            start: socket.start(),
        };
        // Under the lock, so that it is not kept after its end.
        let table = self.table.lock();
        let is_own = matches!(table.entries.get(&pid), Some(Entry::Live(live)) if std::ptr::eq(&**live, socket));
        if is_own && let Ok(head) = serde_json::to_vec(&head) {
            socket.note_set_up();
            self.log.put(key(pid, "", ""), Some(head.into()));
        }
    }

    /// It is in these rooms too, or in them since another event.
    pub(crate) fn joined(&self, pid: RandomId, rooms: &[Room]) {
        self.log
            .put_all(rooms.iter().filter_map(|room| record(pid, room)).collect());
    }

    pub(crate) fn left(&self, pid: RandomId, channel: &Channel) {
        if let Some(name) = channel.room_name() {
            self.log.put(key(pid, "/room/", name), None);
        }
    }

    pub(crate) fn changed(&self, pid: RandomId, id: TypeId, value: &(dyn Any + Send + Sync)) {
        if let Some(state) = self.recovery.states.iter().find(|state| state.id == id)
            && let Some(value) = (state.encode)(value)
        {
            self.log.put(key(pid, "/state/", state.name), Some(value.into()));
        }
    }

    /// A socket has ended: its session waits for the client, or ends with it.
    pub(crate) fn end(&self, socket: &SocketInner, reason: Reason) {
        let Some(pid) = socket.pid else { return };
        {
            let mut table = self.table.lock();
            // Its session may be another socket's by now.
            let is_own = matches!(table.entries.get(&pid), Some(Entry::Live(live)) if std::ptr::eq(&**live, socket));
            if !is_own {
                return;
            }
            table.remove(pid);
        }
        let stored = self.of(socket, pid);
        match reason {
            Reason::ClientNamespaceDisconnect | Reason::ServerNamespaceDisconnect => self.forget(&stored),
            _ if !socket.is_set_up() => self.forget(&stored),
            _ => self.store(stored),
        }
    }

    fn of(&self, socket: &SocketInner, pid: RandomId) -> Stored {
        let is_kept = |id: &TypeId| self.recovery.states.iter().any(|state| state.id == *id);
        let (rooms, values) = socket.snapshot();
        Stored {
            pid,
            namespace: Arc::clone(&socket.namespace.path),
            user: socket.user_id.clone(),
            id: socket.id().into(),
            start: socket.start(),
            rooms,
            values: values.into_iter().filter(|(id, _)| is_kept(id)).collect(),
        }
    }

    fn store(&self, stored: Stored) {
        let until = Instant::now() + self.recovery.window;
        let mut table = self.table.lock();
        let pid = stored.pid;
        let stored = Box::new(stored);
        table.insert(pid, Entry::Away { stored, until });
    }

    /// Takes a session for a client that says it is its own, until [`Sessions::begin`], [`Sessions::give_back`] or
    /// [`Sessions::give_up`]. One that is still live is taken over: the socket that had it is returned and is to be closed.
    fn claim(&self, pid: RandomId, namespace: &str, user: Option<&Arc<str>>) -> Option<Claimed> {
        let mut table = self.table.lock();
        let claimed = match table.entries.get(&pid)? {
            Entry::Live(socket)
                if *socket.namespace.path == *namespace && socket.user_id.as_ref() == user && socket.is_set_up() =>
            {
                Claimed {
                    stored: self.of(socket, pid),
                    taken_over: Some(Arc::clone(socket)),
                }
            }
            Entry::Away { stored, until }
                if *stored.namespace == *namespace && stored.user.as_ref() == user && *until > Instant::now() =>
            {
                Claimed {
                    stored: (**stored).clone(),
                    taken_over: None,
                }
            }
            _ => return None,
        };
        let until = Instant::now() + self.recovery.window;
        let coming = Entry::Coming {
            stored: Box::new(claimed.stored.clone()),
            until,
            changes: Vec::new(),
        };
        table.insert(pid, coming);
        Some(claimed)
    }

    /// Takes a client that is coming back out of rooms in which it may no longer be.
    fn refuse(&self, pid: RandomId, rooms: &[Channel]) {
        if let Some(Entry::Coming { stored, .. }) = self.table.lock().entries.get_mut(&pid) {
            stored.rooms.retain(|room| !rooms.contains(&room.channel));
        }
        for room in rooms {
            self.left(pid, room);
        }
    }

    /// A client that was coming back begins anew: its session is over.
    fn give_up(&self, stored: &Stored) {
        self.table.lock().remove(stored.pid);
        self.forget(stored);
    }

    /// A client that was coming back was not let in, or has gone before it could hear so: the session waits for it again.
    pub(crate) fn give_back(&self, socket: &SocketInner) {
        let Some(pid) = socket.pid else { return };
        let mut table = self.table.lock();
        if !matches!(table.entries.get(&pid), Some(Entry::Coming { .. })) {
            return;
        }
        if let Some(Entry::Coming { stored, changes, .. }) = table.remove(pid) {
            drop(table);
            let is_over = |change: &Change| matches!(change, Change::Disconnected { .. });
            match changes.iter().any(is_over) {
                true => self.forget(&stored),
                false => self.store(*stored),
            }
        }
    }

    /// Lets go of a session for good.
    fn forget(&self, stored: &Stored) {
        let pid = stored.pid;
        let rooms = stored.rooms.iter().filter_map(|room| room.channel.room_name());
        let mut records: Vec<Record> = rooms.map(|name| (key(pid, "/room/", name), None)).collect();
        let states = self.recovery.states.iter();
        let states = states.filter(|state| stored.values.contains_key(&state.id));
        records.extend(states.map(|state| (key(pid, "/state/", state.name), None)));
        records.push((key(pid, "", ""), None));
        self.log.put_all(records);
    }

    /// Lets go of those that were away for too long.
    pub(crate) fn expire(&self) {
        let now = Instant::now();
        loop {
            let mut table = self.table.lock();
            let is_crowded = table.absent > AWAY_MAX;
            let Some((until, pid)) = table.away.front().copied() else {
                return;
            };
            if until > now && !is_crowded {
                return;
            }
            table.away.pop_front();
            // It may have come back, and gone away again, since.
            if table.entries.get(&pid).and_then(Entry::until) != Some(until) {
                continue;
            }
            if let Some(Entry::Away { stored, .. } | Entry::Coming { stored, .. }) = table.remove(pid) {
                drop(table);
                self.forget(&stored);
            }
        }
    }

    /// Does to the sessions whose clients are not there what is done to sockets.
    pub(crate) fn apply(&self, selection: &Selection, action: &Action) {
        let mut gone = Vec::new();
        let mut table = self.table.lock();
        for entry in table.entries.values_mut() {
            let (stored, changes) = match entry {
                Entry::Live(_) => continue,
                Entry::Away { stored, .. } => (stored, None),
                Entry::Coming { stored, changes, .. } => (stored, Some(changes)),
            };
            let is_in = |channel: &Channel| *channel.as_str() == *stored.namespace || stored.is_in(channel);
            if !selection.channels.iter().any(is_in) || selection.except.iter().any(is_in) {
                continue;
            }
            let done: Vec<Change> = match action {
                Action::Join(channels) => {
                    let joined_at = self.log.assigned();
                    let new = channels.iter().filter(|channel| !stored.is_in(channel)).cloned();
                    new.map(|channel| Change::Joined(Room::new(channel, joined_at)))
                        .collect()
                }
                Action::Leave(channels) => channels.iter().cloned().map(Change::Left).collect(),
                Action::Disconnect { close } => vec![Change::Disconnected { close: *close }],
            };
            for change in &done {
                match change {
                    Change::Joined(room) => {
                        self.joined(stored.pid, std::slice::from_ref(room));
                        stored.rooms.push(room.clone());
                    }
                    Change::Left(channel) => {
                        stored.rooms.retain(|room| room.channel != *channel);
                        self.left(stored.pid, channel);
                    }
                    Change::Disconnected { .. } if changes.is_none() => gone.push(stored.pid),
                    Change::Disconnected { .. } => {}
                }
            }
            if let Some(changes) = changes {
                changes.extend(done);
            }
        }
        for pid in gone {
            if let Some(Entry::Away { stored, .. }) = table.remove(pid) {
                self.forget(&stored);
            }
        }
    }

    /// How many clients are away.
    pub(crate) fn away(&self) -> usize {
        self.table.lock().absent
    }
}

impl Entry {
    /// How long its client may be away, if it is.
    fn until(&self) -> Option<Instant> {
        match self {
            Entry::Live(_) => None,
            Entry::Away { until, .. } | Entry::Coming { until, .. } => Some(*until),
        }
    }
}

impl Stored {
    fn is_in(&self, channel: &Channel) -> bool {
        self.rooms.iter().any(|room| room.channel == *channel)
    }
}

/// A session that its client has come back to.
struct Claimed {
    stored: Stored,
    /// The socket of a connection that was not yet known to be dead.
    taken_over: Option<Arc<SocketInner>>,
}

/// The record of a room; the namespace's own channel needs none.
fn record(pid: RandomId, room: &Room) -> Option<Record> {
    let name = room.channel.room_name()?;
    let value = match room.replay {
        None => room.joined_at.to_string(),
        Some(Replay { until, has_gap }) => {
            let gap = if has_gap { " gap" } else { "" };
            format!("{} {until}{gap}", room.joined_at)
        }
    };
    Some((key(pid, "/room/", name), Some(value.into())))
}

fn key(pid: RandomId, kind: &str, name: &str) -> Bytes {
    let mut key = PREFIX.to_vec();
    key.extend_from_slice(pid.to_string().as_bytes());
    key.extend_from_slice(kind.as_bytes());
    key.extend_from_slice(name.as_bytes());
    key.into()
}

/// The session of a client that says it had one, with what it has seen of it: if it is its own, and all that it missed is there.
pub(crate) async fn recover(
    server: &Arc<Server>,
    namespace: &Namespace,
    handshake: &Handshake,
    user: &User,
    user_id: Option<&Arc<str>>,
) -> Option<Recovered> {
    let sessions = server.sessions.as_ref()?;
    let (pid, offset) = asked_for(handshake.auth_json()?)?;
    let Claimed { mut stored, taken_over } = sessions.claim(pid, &namespace.path, user_id)?;
    let taken_over = taken_over.map(TakenOver);
    // Each room has its own beginning too, which may be before the socket's: see `Socket::join_since`.
    let cursor = match offset {
        None => Some(0),
        Some(id) => match server.hub.log.check(id) {
            Since::Known(seq) => Some(seq),
            Since::Unknown => None,
        },
    };
    let allowed = server.access.recovered_rooms(user, &stored).await;
    let mut refused = Vec::new();
    stored.rooms.retain(|room| {
        let stays = allowed.contains(&room.channel);
        if !stays {
            refused.push(room.channel.clone());
        }
        stays
    });
    sessions.refuse(pid, &refused);
    match cursor {
        Some(cursor) if missed_is_whole(server, sessions, &stored, cursor).await => Some(Recovered {
            stored,
            cursor,
            taken_over,
        }),
        _ => {
            sessions.give_up(&stored);
            None
        }
    }
}

/// What a client comes back to.
pub(crate) struct Recovered {
    pub(crate) stored: Stored,
    /// It has all events up to here.
    pub(crate) cursor: u64,
    pub(crate) taken_over: Option<TakenOver>,
}

/// The socket of a connection that was not yet known to be dead. Dropped, that is closed: when the new one is set up, so
/// that its user was present all the time.
pub(crate) struct TakenOver(Arc<SocketInner>);

impl Drop for TakenOver {
    fn drop(&mut self) {
        let old = &self.0;
        let command = Command::CloseTransport {
            socket: Arc::clone(old),
            code: 4409,
        };
        old.server.hub.send(old.key.shard, command);
    }
}

/// The last event that a client has of whatever session it had, also if it does not come back to that: a stock client keeps
/// its offset until its next event.
pub(crate) fn heard(server: &Server, handshake: &Handshake) -> u64 {
    let offset = handshake.auth_json().and_then(asked_for).and_then(|(_, offset)| offset);
    match offset.map(|id| server.hub.log.check(id)) {
        Some(Since::Known(seq)) => seq,
        Some(Since::Unknown) | None => 0,
    }
}

/// `pid` and `offset` in the `auth` payload of a stock client.
fn asked_for(auth: &str) -> Option<(RandomId, Option<EventId>)> {
    #[derive(Deserialize)]
    struct Auth<'a> {
        #[serde(borrow)]
        pid: Option<Cow<'a, str>>,
        #[serde(borrow)]
        offset: Option<Cow<'a, str>>,
    }
    let auth: Auth<'_> = serde_json::from_str(auth).ok()?;
    let offset = match auth.offset {
        Some(offset) => Some(offset.parse().ok()?),
        None => None,
    };
    Some((RandomId::parse(&auth.pid?)?, offset))
}

/// Whether all that a client missed is retained, and not too much.
async fn missed_is_whole(server: &Arc<Server>, sessions: &Sessions, stored: &Stored, cursor: u64) -> bool {
    if stored.rooms.iter().any(|room| room.owes_gap(cursor)) {
        return false;
    }
    let everyone = Room::new(Channel::everyone(&stored.namespace), stored.start);
    let rooms = stored.rooms.iter().chain([&everyone]);
    let cursors: Vec<Cursor> = rooms
        .map(|room| Cursor {
            channel: room.channel.clone(),
            after: room.start(cursor),
        })
        .collect();
    let until = server.hub.log.position();
    let limit = PageLimit {
        events: sessions.recovery.events_max,
        bytes: sessions.recovery.bytes_max,
    };
    let page = match server.hub.log.read_tail(&cursors, until, limit) {
        Some(page) => Ok(page),
        None => {
            let read = move |log: &dyn Log| log.read(&cursors, until, limit);
            server.hub.read(read).await
        }
    };
    match page {
        Ok(page) => page.gaps.is_empty() && page.next >= until,
        Err(error) => {
            tracing::error!(%error, "a client can't be recovered: the log can't be read");
            false
        }
    }
}

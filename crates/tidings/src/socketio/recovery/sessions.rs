//! All sessions that can be recovered: those whose clients are here, and those that are away; and with a store their records.

use std::any::{Any, TypeId};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{Change, Recovery, Replay, Room, Stored};
use crate::channel::Channel;
use crate::log::{Log, Record};
use crate::random::RandomId;
use crate::shard::command::{Action, Selection};
use crate::socketio::reason::Reason;
use crate::socketio::socket::SocketInner;

/// All sessions that can be recovered.
pub(crate) struct Sessions {
    pub(crate) recovery: Recovery,
    log: Arc<dyn Log>,
    table: Mutex<Table>,
    /// Clients that came back to a session, and that could not.
    recovered: AtomicU64,
    lost: AtomicU64,
}

enum Entry {
    Live(Arc<SocketInner>),
    Absent(Box<Absent>),
}

/// A session whose client is not there.
struct Absent {
    stored: Stored,
    until: Instant,
    /// Its client has come back, and the application is being asked about it: what was done to it meanwhile.
    coming: Option<Vec<Change>>,
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
    /// A client has asked for its session.
    pub(crate) fn note_outcome(&self, is_recovered: bool) {
        let count = if is_recovered { &self.recovered } else { &self.lost };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// How many clients came back to their sessions, and how many could not.
    pub(crate) fn outcomes(&self) -> (u64, u64) {
        (
            self.recovered.load(Ordering::Relaxed),
            self.lost.load(Ordering::Relaxed),
        )
    }

    /// With the sessions that an earlier process left in the store: their windows begin anew.
    pub(crate) fn new(recovery: Recovery, log: Arc<dyn Log>) -> Self {
        let sessions = Self {
            recovery,
            log,
            table: Mutex::default(),
            recovered: AtomicU64::new(0),
            lost: AtomicU64::new(0),
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
            Some(Entry::Absent(absent)) => absent.coming.as_mut().map(std::mem::take).unwrap_or_default(),
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
        let absent = Absent {
            stored,
            until,
            coming: None,
        };
        table.insert(pid, Entry::Absent(Box::new(absent)));
    }

    /// Takes a session for a client that says it is its own, until [`Sessions::begin`], [`Sessions::give_back`] or
    /// [`Sessions::give_up`]. One that is still live is taken over: the socket that had it is returned and is to be closed.
    pub(super) fn claim(&self, pid: RandomId, namespace: &str, user: Option<&Arc<str>>) -> Option<Claimed> {
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
            Entry::Absent(absent) if absent.can_be_claimed(namespace, user) => Claimed {
                stored: absent.stored.clone(),
                taken_over: None,
            },
            _ => return None,
        };
        let until = Instant::now() + self.recovery.window;
        let coming = Absent {
            stored: claimed.stored.clone(),
            until,
            coming: Some(Vec::new()),
        };
        table.insert(pid, Entry::Absent(Box::new(coming)));
        Some(claimed)
    }

    /// Takes a client that is coming back out of rooms in which it may no longer be.
    pub(super) fn refuse(&self, pid: RandomId, rooms: &[Channel]) {
        if let Some(Entry::Absent(absent)) = self.table.lock().entries.get_mut(&pid)
            && absent.coming.is_some()
        {
            absent.stored.rooms.retain(|room| !rooms.contains(&room.channel));
        }
        for room in rooms {
            self.left(pid, room);
        }
    }

    /// A client that was coming back begins anew: its session is over.
    pub(super) fn give_up(&self, stored: &Stored) {
        self.table.lock().remove(stored.pid);
        self.forget(stored);
    }

    /// A client that was coming back was not let in, or has gone before it could hear so: the session waits for it again.
    pub(crate) fn give_back(&self, socket: &SocketInner) {
        let Some(pid) = socket.pid else { return };
        let mut table = self.table.lock();
        if !matches!(table.entries.get(&pid), Some(Entry::Absent(absent)) if absent.coming.is_some()) {
            return;
        }
        if let Some(Entry::Absent(absent)) = table.remove(pid) {
            drop(table);
            let Absent { stored, coming, .. } = *absent;
            let is_over = |change: &Change| matches!(change, Change::Disconnected { .. });
            match coming.iter().flatten().any(is_over) {
                true => self.forget(&stored),
                false => self.store(stored),
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
            if let Some(Entry::Absent(absent)) = table.remove(pid) {
                drop(table);
                self.forget(&absent.stored);
            }
        }
    }

    /// Takes the sessions of a user whose clients are away out of a room.
    pub(crate) fn leave(&self, user: &str, channel: &Channel) {
        let mut table = self.table.lock();
        for entry in table.entries.values_mut() {
            let Entry::Absent(absent) = entry else {
                continue;
            };
            let Absent { stored, coming, .. } = &mut **absent;
            if stored.user.as_deref() != Some(user) || !stored.is_in(channel) {
                continue;
            }
            stored.rooms.retain(|room| room.channel != *channel);
            self.left(stored.pid, channel);
            if let Some(changes) = coming {
                changes.push(Change::Left(channel.clone()));
            }
        }
    }

    /// Does to the sessions whose clients are not there what is done to sockets.
    pub(crate) fn apply(&self, selection: &Selection, action: &Action) {
        let mut gone = Vec::new();
        let mut table = self.table.lock();
        for entry in table.entries.values_mut() {
            let Entry::Absent(absent) = entry else {
                continue;
            };
            let Absent { stored, coming, .. } = &mut **absent;
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
                    Change::Disconnected { .. } if coming.is_none() => gone.push(stored.pid),
                    Change::Disconnected { .. } => {}
                }
            }
            if let Some(changes) = coming {
                changes.extend(done);
            }
        }
        for pid in gone {
            if let Some(Entry::Absent(absent)) = table.remove(pid) {
                self.forget(&absent.stored);
            }
        }
    }

    /// How many clients are away.
    pub(crate) fn away(&self) -> usize {
        self.table.lock().absent
    }
}

impl Absent {
    /// Whether a client of this user may come back to it in that namespace.
    fn can_be_claimed(&self, namespace: &str, user: Option<&Arc<str>>) -> bool {
        self.coming.is_none()
            && *self.stored.namespace == *namespace
            && self.stored.user.as_ref() == user
            && self.until > Instant::now()
    }
}

impl Entry {
    /// How long its client may be away, if it is.
    fn until(&self) -> Option<Instant> {
        match self {
            Entry::Live(_) => None,
            Entry::Absent(absent) => Some(absent.until),
        }
    }
}

/// A session that its client has come back to.
pub(super) struct Claimed {
    pub(super) stored: Stored,
    /// The socket of a connection that was not yet known to be dead.
    pub(super) taken_over: Option<Arc<SocketInner>>,
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

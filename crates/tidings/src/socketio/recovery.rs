//! Connection state recovery: a client that comes back within the window finds its socket as it left it, and gets what
//! it missed first (SOCKETIO: `pid` and offset in the CONNECT of a client that had them).
//!
//! A session is its socket for as long as that lives, and for the window after it a [`Stored`]. With a store it is also
//! a handful of records, written before anything that is published later, so that it outlives the process: the head, one
//! for each room, one for each registered state.

mod sessions;

use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::namespace::Namespace;
use super::socket::{SocketInner, User};
use crate::channel::Channel;
use crate::handshake::Handshake;
use crate::id::EventId;
use crate::log::{Cursor, Log, PageLimit, Since};
use crate::random::RandomId;
use crate::server::Server;
use crate::shard::command::Command;
use sessions::Claimed;
pub(crate) use sessions::Sessions;

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

/// What the server did to a socket that is not there.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Joined(Room),
    Left(Channel),
    Disconnected { close: bool },
}

impl Stored {
    fn is_in(&self, channel: &Channel) -> bool {
        self.rooms.iter().any(|room| room.channel == *channel)
    }
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
    let asked = asked_for(handshake.auth_json()?)?;
    let recovered = restore(server, sessions, namespace, asked, user, user_id).await;
    sessions.note_outcome(recovered.is_some());
    recovered
}

async fn restore(
    server: &Arc<Server>,
    sessions: &Sessions,
    namespace: &Namespace,
    (pid, offset): (RandomId, Option<EventId>),
    user: &User,
    user_id: Option<&Arc<str>>,
) -> Option<Recovered> {
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

//! A shard: one thread that owns a share of the connections, their subscriptions and all writes to them.
//!
//! Nothing here is shared and nothing is locked: others send a [`Command`](command::Command). A turn of the loop is
//! *take* (commands, each after the events that were in the log before it), *fan out* ([`fanout`]) and *flush*
//! ([`flush`]): one write for each connection that has something to be written. What is read from a connection
//! ([`receive`]) may start handlers, which run on this thread between turns ([`run`]).

mod arena;
pub(crate) mod channels;
pub(crate) mod command;
mod dirty;
mod execute;
mod fanout;
mod flush;
mod latest;
mod overflow;
mod places;
mod receive;
mod replay;
pub(crate) mod run;
mod sweep;

pub(crate) use dirty::Due;
pub(crate) use sweep::SLICES;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;

use crate::connection::{Connection, Key, Pace, Phase, Transport};
use crate::event::Event;
use crate::meters::Meters;
use crate::random::RandomId;
use crate::server::Server;
use crate::socketio::driver::{Driver, Job};
use crate::socketio::handler::EnterTask;
use crate::socketio::reason::Reason;
use crate::wire::{self, Replayed};
use arena::Arena;
use channels::Channels;
use dirty::Dirty;
use places::{Keyed, Places};

pub(crate) struct Shard {
    pub(crate) number: u16,
    pub(crate) server: Arc<Server>,
    pub(crate) meters: Metered,
    pub(crate) connections: Arena<Connection>,
    /// Connections that requests ask for.
    sessions: Places,
    pub(crate) channels: Channels,
    /// Connections with something to write.
    dirty: Dirty,
    /// All events up to this seq have been fanned out.
    pub(crate) position: u64,
    /// Counts fan-outs, so that a connection is reached once by each.
    fanouts: u64,
    generation: u32,
    pub(crate) tasks: u32,
    /// Sockets with jobs for the thread to start when this state is no longer borrowed, some with the first of them.
    pub(crate) ready: VecDeque<(Rc<Driver>, Option<Job>)>,
    /// Sockets whose jobs go on in the next turn.
    postponed: Vec<Rc<Driver>>,
    /// Clients that want to enter a namespace: the application is asked then.
    pub(crate) entering: Vec<EnterTask>,
    /// Plain WebSockets whose messages are to be handled then.
    pub(crate) asking: VecDeque<Key>,
    /// Futures of the application's that are to be started then.
    pub(crate) asked: Vec<run::Task>,
    /// Links whose reading is to be started then.
    linking: Vec<(Key, u32)>,
    events: Vec<Arc<Event>>,
    replayed: Replayed,
    /// The same of the latest values of channels, by version.
    latest: Replayed,
    /// Kept between fan-outs for its memory.
    reached_buffer: Vec<(u32, u32)>,
    /// The time of the first event that this turn fans out.
    first_event_ms: Option<u64>,
    clock: Instant,
    pub(crate) now_ms: u64,
    sweep_at: u32,
    stopping: bool,
    /// Commands that the turn under way has carried out.
    taken: usize,
    /// The turn under way ends with a flush: nobody needs to be woken for one.
    is_in_turn: bool,
}

impl Shard {
    fn new(number: u16, server: Arc<Server>) -> Self {
        Self {
            number,
            meters: Metered {
                all: Arc::clone(&server.hub.meters),
                own: usize::from(number),
            },
            connections: Arena::new(),
            sessions: Places::default(),
            channels: Channels::new(Arc::clone(&server.hub.gauges)),
            dirty: Dirty::default(),
            position: server.hub.log.position(),
            fanouts: 0,
            generation: 0,
            tasks: 0,
            ready: VecDeque::new(),
            postponed: Vec::new(),
            entering: Vec::new(),
            asking: VecDeque::new(),
            asked: Vec::new(),
            linking: Vec::new(),
            events: Vec::new(),
            replayed: Replayed::default(),
            latest: Replayed::default(),
            reached_buffer: Vec::new(),
            first_event_ms: None,
            clock: Instant::now(),
            now_ms: 0,
            sweep_at: 0,
            stopping: false,
            taken: 0,
            is_in_turn: false,
            server,
        }
    }

    fn tick(&mut self) {
        self.now_ms = u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX);
    }

    pub(crate) fn get(&mut self, key: Key) -> Option<&mut Connection> {
        let connection = self.at(key.index)?;
        (connection.key.generation == key.generation).then_some(connection)
    }

    /// A connection by its index, which must be current.
    pub(crate) fn at(&mut self, index: u32) -> Option<&mut Connection> {
        self.connections.get_mut(index)
    }

    /// What the log calls a connection.
    pub(crate) fn name(&self, index: u32) -> Key {
        let connection = self.connections.get(index);
        connection.map_or_else(Key::default, |connection| connection.key)
    }

    pub(crate) fn session(&mut self, sid: RandomId) -> Option<&mut Connection> {
        let index = self.sessions.find(&sid, &self.connections)?;
        self.at(index)
    }

    pub(crate) fn insert(&mut self, make: impl FnOnce(Key) -> Connection) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        let (shard, generation) = (self.number, self.generation);
        let index = self.connections.insert_with(|index| {
            make(Key {
                shard,
                index,
                generation,
            })
        });
        if self.connections[index].is_asked_for() {
            self.sessions.insert(index, &self.connections);
        }
        self.meters.opened.add(1);
        index
    }

    /// Starts reading a link once this state is no longer borrowed.
    pub(crate) fn start_reading(&mut self, index: u32, task: u32) {
        if let Some(connection) = self.connections.get(index) {
            self.linking.push((connection.key, task));
        }
    }

    /// Notes that a connection has something of its own to write, which does not wait for what is fanned out to others.
    pub(crate) fn mark_dirty(&mut self, index: u32) {
        if let Some(connection) = self.connections.get_mut(index)
            && connection.due != Due::First
        {
            connection.due = Due::First;
            self.dirty.first.push(index);
            if !self.is_in_turn {
                self.server.hub.shards[usize::from(self.number)].wake();
            }
        }
    }

    /// Queues a Socket.IO packet that is no event of the log, behind all events delivered so far.
    pub(crate) fn push_packet(&mut self, index: u32, packet: &[u8], attachments: &[Bytes]) {
        let position = self.position;
        let Some(connection) = self.at(index) else { return };
        if !connection.is_open() || connection.plain().is_some() {
            return;
        }
        let chunk = wire::frame(connection.wire, packet, attachments);
        connection.push_unlogged(position, chunk);
        self.mark_dirty(index);
    }

    /// Queues an Engine.IO packet without data.
    pub(crate) fn push_control(&mut self, index: u32, packet: &'static [u8]) {
        if let Some(connection) = self.at(index) {
            let chunk = wire::control(connection.wire, packet);
            connection.outbox.push(chunk);
            self.mark_dirty(index);
        }
    }

    /// Ends a connection: its sockets now, its transport once `farewell` is out.
    pub(crate) fn end(&mut self, index: u32, reason: Reason, farewell: Farewell) {
        let now_ms = self.now_ms;
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        if !connection.is_open() {
            if farewell == Farewell::None {
                self.remove(index);
            }
            return;
        }
        self.meters.end(reason);
        tracing::debug!(connection = %connection.key, %reason, "a connection ends");
        connection.phase = Phase::Closing {
            since_ms: now_ms,
            shut: false,
        };
        // A poll that lags can't say where its client stands: the log is asked instead.
        let farewell = match (&connection.transport, &connection.pace) {
            (Transport::Waiter(_), Pace::Lagging(_)) => Farewell::None,
            _ => farewell,
        };
        if let Pace::Lagging(mut lag) = std::mem::replace(&mut connection.pace, Pace::Live) {
            while let Some(chunk) = lag.deferred.pop_up_to(u64::MAX) {
                connection.outbox.push(chunk);
            }
        }
        // A polling client that is about to switch reads the goodbye on its new transport, or with another poll.
        if farewell != Farewell::Goodbye || !connection.probe.as_ref().is_some_and(|probe| probe.answered) {
            connection.probe = None;
        }
        self.end_sockets(index, reason);
        self.end_plain(index, reason);
        self.unsubscribe_all(index);
        self.say_farewell(index, farewell);
    }

    fn say_farewell(&mut self, index: u32, farewell: Farewell) {
        let Some(connection) = self.at(index) else { return };
        connection.wake();
        match (&mut connection.transport, farewell) {
            (_, Farewell::None) => self.remove(index),
            (Transport::WebSocket(_), Farewell::Close(code)) => {
                connection
                    .outbox
                    .push(tidings_protocol::websocket::close_frame(code, ""));
                self.mark_dirty(index);
            }
            (Transport::WebSocket(_), Farewell::Goodbye) => {
                connection
                    .outbox
                    .push(tidings_protocol::websocket::close_frame(None, ""));
                self.mark_dirty(index);
            }
            (Transport::Polling(_), _) => self.end_polling(index, farewell == Farewell::Goodbye),
            (Transport::Stream(_) | Transport::BareStream { .. }, _) => self.end_stream(index),
            (Transport::Waiter(_), _) => self.answer_waiter(index),
        }
    }

    /// Lets go of a connection that has ended.
    pub(crate) fn remove(&mut self, index: u32) {
        if let Some(connection) = self.connections.remove(index) {
            self.sessions.remove::<Connection>(&connection.sid, index);
            if let Transport::Stream(pipe) = &connection.transport {
                pipe.finish();
            }
            connection.wake();
        }
    }

    fn is_idle(&self) -> bool {
        self.connections.is_empty()
    }

    pub(crate) fn gauge_tasks(&self) -> TaskGauge {
        self.server.hub.gauges.tasks.fetch_add(1, Ordering::AcqRel);
        TaskGauge(Arc::clone(&self.server.hub.gauges))
    }
}

impl Keyed for Connection {
    type Key = RandomId;

    fn key(&self) -> &RandomId {
        &self.sid
    }
}

/// A shard's own meters among all.
pub(crate) struct Metered {
    all: Arc<[Meters]>,
    own: usize,
}

impl std::ops::Deref for Metered {
    type Target = Meters;

    fn deref(&self) -> &Meters {
        &self.all[self.own]
    }
}

/// Counts a task for as long as it lives.
pub(crate) struct TaskGauge(pub(crate) Arc<crate::hub::Gauges>);

impl Drop for TaskGauge {
    fn drop(&mut self) {
        self.0.tasks.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The last thing a client hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// Nothing: the transport is gone, or is to go at once.
    None,
    /// A WebSocket close frame with this code; to a polling client the session is gone at once.
    Close(Option<u16>),
    /// The transport's own end: a close frame without a code, `1` to a poll.
    Goodbye,
}

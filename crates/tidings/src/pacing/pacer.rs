//! The pacer: the boards and gates of all channels, the clock that ends their times, and the way from them to the subscribers.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex};
use smallvec::SmallVec;

use super::board::Board;
use super::gate::{Gate, Held};
use super::{Form, Pacing, PacingOf};
use crate::channel::Channel;
use crate::connection::Key;
use crate::error::Result;
use crate::event::{Draft, Event};
use crate::hub::Hub;
use crate::limits::PACED_BYTES_MAX;
use crate::log::Appending;
use crate::server::Server;
use crate::shard::command::{BroadcastKind, Command};

pub(crate) struct Pacer {
    of: PacingOf,
    lanes: Mutex<Lanes>,
    /// There is something to be done sooner than the clock knows.
    changed: Condvar,
}

/// What is paced right now. Under one lock, under which it is sent too, so that what comes later arrives later.
struct Lanes {
    boards: HashMap<Channel, (Board, Duration)>,
    gates: HashMap<GateKey, Gate>,
    due: BTreeSet<(Instant, Lane)>,
    /// What boards, and gates, keep in memory.
    board_bytes: usize,
    held_bytes: usize,
    /// Of the newest value. It begins with the time, so that no version comes again when the server is started again.
    version: u64,
    has_ended: bool,
}

/// Gates are for the events of one key of a channel.
type GateKey = (Channel, Box<str>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Board(Channel),
    Gate(GateKey),
}

/// What is to be sent.
enum Passed {
    /// An event that goes its way.
    Event(Held),
    /// The latest value of something.
    Latest(Arc<Event>),
}

/// Where an event goes that is paced.
struct Paced {
    channel: Channel,
    pacing: Pacing,
    key: Box<str>,
}

impl Pacer {
    pub(crate) fn new(of: PacingOf) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            of,
            lanes: Mutex::new(Lanes {
                boards: HashMap::new(),
                gates: HashMap::new(),
                due: BTreeSet::new(),
                board_bytes: 0,
                held_bytes: 0,
                version: u64::try_from(now.as_micros()).unwrap_or(0),
                has_ended: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Whether the channel keeps the latest values for who subscribes.
    pub(crate) fn is_conflated(&self, channel: &Channel) -> bool {
        // On a shard's thread, which a panic of the application must not end.
        let of = AssertUnwindSafe(|| (self.of)(channel.as_str()));
        match catch_unwind(of) {
            Ok(pacing) => pacing.is_some_and(|pacing| pacing.form == Form::Conflate),
            Err(_) => {
                tracing::error!(?channel, "what tells the pacing of channels panicked");
                false
            }
        }
    }

    /// Publishes an event as the pacing of its channels says. To those that are not paced it goes at once, and the answer is theirs;
    /// there is none where all of it was conflated, held or dropped.
    ///
    /// # Errors
    /// When it has no key for one of the channels, or has one under which it is to be tried again.
    pub(crate) fn publish(&self, hub: &Hub, mut draft: Draft, is_volatile: bool) -> Result<Option<Appending>> {
        let pacings = draft.channels.iter().map(|channel| (self.of)(channel.as_str()));
        let pacings: SmallVec<[Option<Pacing>; 1]> = pacings.collect();
        // Of most events nothing is paced: they pass as they are.
        if pacings.iter().all(Option::is_none) {
            return Ok(send(hub, Passed::Event(Held { draft, is_volatile })));
        }
        let mut paced: SmallVec<[Paced; 1]> = SmallVec::new();
        let mut free: SmallVec<[Channel; 1]> = SmallVec::new();
        for (channel, pacing) in draft.channels.iter().zip(pacings) {
            let Some(pacing) = pacing else {
                free.push(channel.clone());
                continue;
            };
            let key = pacing.key_of(&draft)?;
            let channel = channel.clone();
            paced.push(Paced { channel, pacing, key });
        }
        let mut answer = self.publish_paced(hub, paced, &draft, is_volatile);
        if !free.is_empty() {
            draft.channels = free;
            answer = send(hub, Passed::Event(Held { draft, is_volatile }));
        }
        Ok(answer)
    }

    /// Whether the pacing of its channels lets an event be published.
    ///
    /// # Errors
    /// As [`Pacer::publish`].
    pub(crate) fn check(&self, draft: &Draft) -> Result<()> {
        let mut pacings = draft.channels.iter().filter_map(|channel| (self.of)(channel.as_str()));
        pacings.try_for_each(|pacing| pacing.key_of(draft).map(drop))
    }

    fn publish_paced(
        &self,
        hub: &Hub,
        paced: SmallVec<[Paced; 1]>,
        draft: &Draft,
        is_volatile: bool,
    ) -> Option<Appending> {
        let mut answer = None;
        let mut lanes = self.lanes.lock();
        let first = lanes.next_due();
        for one in paced {
            let draft = Draft {
                channels: SmallVec::from_elem(one.channel.clone(), 1),
                ..draft.clone()
            };
            let mut before = Vec::new();
            let own = lanes.take(one, Held { draft, is_volatile }, Instant::now(), &mut before);
            before.into_iter().for_each(|passed| drop(send(hub, passed)));
            answer = own.and_then(|own| send(hub, Passed::Event(own))).or(answer);
        }
        if lanes.next_due() != first {
            self.changed.notify_one();
        }
        answer
    }

    /// Sends a connection the latest values of a channel that it is subscribed to. As a command, so that they come behind those
    /// that were sent before.
    pub(crate) fn send_latest(&self, hub: &Hub, key: Key, channel: Channel) {
        let lanes = self.lanes.lock();
        let (events, version) = lanes.latest(&channel);
        // Also where there is none: the connection asks for its next channel then.
        let command = Command::Latest {
            key,
            channel,
            events,
            version,
        };
        hub.send(key.shard, command);
    }

    /// The latest values of a channel, in the order in which they came, and the version of the newest; 0 where there is none.
    pub(crate) fn latest(&self, channel: &Channel) -> (Vec<Arc<Event>>, u64) {
        self.lanes.lock().latest(channel)
    }

    /// Lets through what is held, and all that comes from now on.
    pub(crate) fn end(&self, hub: &Hub) {
        let mut lanes = self.lanes.lock();
        lanes.has_ended = true;
        let mut passed = Vec::new();
        lanes.flush(&mut passed);
        passed.into_iter().for_each(|passed| drop(send(hub, passed)));
        self.changed.notify_one();
    }

    /// Lets through what is held, since the paces may be others from now on: no event may come after a later one.
    pub(crate) fn let_go(&self, hub: &Hub) {
        let mut lanes = self.lanes.lock();
        let mut passed = Vec::new();
        lanes.flush(&mut passed);
        lanes.due.retain(|(_, lane)| matches!(lane, Lane::Board(_)));
        passed.into_iter().for_each(|passed| drop(send(hub, passed)));
    }

    /// Ends the times of boards and gates as they come, until the end.
    fn run(&self, hub: &Hub) {
        let mut lanes = self.lanes.lock();
        while !lanes.has_ended {
            let mut passed = Vec::new();
            lanes.tick(Instant::now(), &mut passed);
            passed.into_iter().for_each(|passed| drop(send(hub, passed)));
            match lanes.next_due() {
                Some(due) => drop(self.changed.wait_until(&mut lanes, due)),
                None => self.changed.wait(&mut lanes),
            }
        }
    }
}

/// Starts the thread of the server's pacer, if it has one.
///
/// # Errors
/// Those of the operating system, when it has no thread left.
pub(crate) fn spawn(server: &Arc<Server>) -> std::io::Result<()> {
    if server.pacer.is_none() {
        return Ok(());
    }
    let server = Arc::clone(server);
    let run = move || {
        if let Some(pacer) = &server.pacer {
            pacer.run(&server.hub);
        }
    };
    let thread = std::thread::Builder::new().name("tidings-pacer".to_owned());
    thread.spawn(run).map(drop)
}

fn send(hub: &Hub, passed: Passed) -> Option<Appending> {
    let (event, kind) = match passed {
        Passed::Event(Held {
            draft,
            is_volatile: false,
        }) => return Some(hub.publish(draft)),
        Passed::Event(Held { draft, .. }) => (Arc::new(Event::unlogged(draft)), BroadcastKind::Volatile),
        Passed::Latest(event) => (event, BroadcastKind::Latest),
    };
    hub.send_all(|| Command::Broadcast {
        event: Arc::clone(&event),
        kind: kind.clone(),
    });
    None
}

impl Lanes {
    /// Takes an event, and gives back what goes through at once of it. What is due before is put into `before`, and so are values,
    /// for which nobody gets an id.
    fn take(&mut self, one: Paced, event: Held, now: Instant, before: &mut Vec<Passed>) -> Option<Held> {
        match one.pacing.form {
            Form::Conflate => {
                self.conflate(one, event.draft, now, before);
                None
            }
            _ if self.has_ended => Some(event),
            _ => self.hold(one, event, now, before),
        }
    }

    fn conflate(&mut self, one: Paced, draft: Draft, now: Instant, passed: &mut Vec<Passed>) {
        self.version += 1;
        let Pacing { every, keep, .. } = one.pacing;
        let (board, of) = self.boards.entry_ref(&one.channel).or_default();
        *of = every;
        let before = (board.due(), board.bytes());
        let event = Arc::new(Event::unlogged(draft));
        let mut out = Vec::new();
        board.take(one.key, event, self.version, now, (every, keep), &mut out);
        if self.has_ended {
            board.flush(&mut out);
        }
        let after = (board.due(), board.bytes());
        passed.extend(out.into_iter().map(Passed::Latest));
        self.board_bytes = self.board_bytes + after.1 - before.1;
        self.reschedule(&Lane::Board(one.channel), before.0, after.0);
        if self.board_bytes > PACED_BYTES_MAX {
            self.let_boards_go(passed);
        }
    }

    /// The boards that have not changed for the longest time are no longer kept, until an eighth of the memory is free.
    fn let_boards_go(&mut self, passed: &mut Vec<Passed>) {
        let mut ages: Vec<(u64, Channel)> = self
            .boards
            .iter()
            .map(|(name, (board, _))| (board.version(), name.clone()))
            .collect();
        ages.sort_unstable();
        for (_, channel) in ages {
            if self.board_bytes <= PACED_BYTES_MAX / 8 * 7 {
                return;
            }
            if let Some((mut board, _)) = self.boards.remove(&channel) {
                self.board_bytes -= board.bytes();
                self.reschedule(&Lane::Board(channel), board.due(), None);
                let mut out = Vec::new();
                board.flush(&mut out);
                passed.extend(out.into_iter().map(Passed::Latest));
            }
        }
    }

    fn hold(&mut self, one: Paced, event: Held, now: Instant, before: &mut Vec<Passed>) -> Option<Held> {
        let Pacing { form, every, .. } = one.pacing;
        let key = (one.channel, one.key);
        let mut gate = self.take_out(&key);
        // The clock is late.
        if let Some(late) = gate.take_if(|gate| gate.is_over(now)) {
            gate = late.tick(now).map(|(gate, held)| {
                before.push(Passed::Event(held));
                gate
            });
        }
        let (gate, passed) = match gate {
            Some(gate) => (gate.take(event, now), None),
            None => Gate::new(form, every, event, now),
        };
        if self.held_bytes + bytes_of(&key, &gate) > PACED_BYTES_MAX {
            // Nothing more can be held: what would be goes through.
            return passed.or(gate.into_held());
        }
        self.put_in(key, gate);
        passed
    }

    fn take_out(&mut self, key: &GateKey) -> Option<Gate> {
        let gate = self.gates.remove(key)?;
        self.held_bytes -= bytes_of(key, &gate);
        self.due.remove(&(gate.due(), Lane::Gate(key.clone())));
        Some(gate)
    }

    fn put_in(&mut self, key: GateKey, gate: Gate) {
        self.held_bytes += bytes_of(&key, &gate);
        self.due.insert((gate.due(), Lane::Gate(key.clone())));
        self.gates.insert(key, gate);
    }

    /// Ends all times that have come.
    fn tick(&mut self, now: Instant, passed: &mut Vec<Passed>) {
        while self.next_due().is_some_and(|due| due <= now)
            && let Some((_, lane)) = self.due.pop_first()
        {
            match lane {
                Lane::Board(channel) => {
                    let due = self.tick_board(&channel, now, passed);
                    self.reschedule(&Lane::Board(channel), None, due);
                }
                Lane::Gate(key) => {
                    let ticked = self.take_out(&key).and_then(|gate| gate.tick(now));
                    if let Some((gate, held)) = ticked {
                        passed.push(Passed::Event(held));
                        self.put_in(key, gate);
                    }
                }
            }
        }
    }

    fn tick_board(&mut self, channel: &Channel, now: Instant, passed: &mut Vec<Passed>) -> Option<Instant> {
        let (board, every) = self.boards.get_mut(channel)?;
        let mut out = Vec::new();
        let before = board.bytes();
        board.tick(now, *every, &mut out);
        self.board_bytes = self.board_bytes + board.bytes() - before;
        let due = board.due();
        passed.extend(out.into_iter().map(Passed::Latest));
        if due.is_none() {
            self.boards.remove(channel);
        }
        due
    }

    /// Lets through all that is held.
    fn flush(&mut self, passed: &mut Vec<Passed>) {
        let mut out = Vec::new();
        for (board, _) in self.boards.values_mut() {
            board.flush(&mut out);
        }
        passed.extend(out.into_iter().map(Passed::Latest));
        for (_, gate) in self.gates.drain() {
            passed.extend(gate.into_held().map(Passed::Event));
        }
        self.held_bytes = 0;
    }

    fn reschedule(&mut self, lane: &Lane, before: Option<Instant>, after: Option<Instant>) {
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.due.remove(&(before, lane.clone()));
        }
        if let Some(after) = after {
            self.due.insert((after, lane.clone()));
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    fn latest(&self, channel: &Channel) -> (Vec<Arc<Event>>, u64) {
        match self.boards.get(channel) {
            Some((board, _)) => (board.latest(Instant::now()), board.version()),
            None => (Vec::new(), 0),
        }
    }
}

/// What a gate takes in memory, about: its key stands in two places.
fn bytes_of((channel, key): &GateKey, gate: &Gate) -> usize {
    const ENTRIES: usize = 2 * size_of::<(Instant, Lane)>() + size_of::<Gate>();
    ENTRIES + 2 * key.len() + channel.as_str().len() + gate.held_bytes()
}

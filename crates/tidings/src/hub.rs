//! The hub: the log, the shards that deliver from it, and the counts of what is connected.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, oneshot};

use crate::error::{Code, Error, Result};
use crate::event::Draft;
use crate::id::{Epoch, EventId};
use crate::limits::{Limits, READERS_MAX};
use crate::log::local::{LocalLog, Storage};
use crate::log::memory::MemoryLog;
use crate::log::store::StoreError;
use crate::log::tail::Bounds;
use crate::log::{Appending, Log};
use crate::meters::Meters;
use crate::network;
use crate::occupancy::Rooms;
use crate::random::RandomId;
use crate::refusals::Refusals;
use crate::shard::command::{Command, Queued};
use crate::shard::run::Errand;

pub(crate) struct Hub {
    pub(crate) epoch: Epoch,
    pub(crate) log: Arc<dyn Log>,
    /// The log has a thread of its own, which wakes the shards.
    pub(crate) has_store: bool,
    pub(crate) shards: Arc<[ShardHandle]>,
    pub(crate) limits: Limits,
    pub(crate) gauges: Arc<Gauges>,
    /// One for each shard.
    pub(crate) meters: Arc<[Meters]>,
    pub(crate) refusals: Refusals,
    published: AtomicU64,
    /// How many may read from the store at once.
    readers: Arc<Semaphore>,
    /// Ack ids of all packets that ask for an ack: one for each packet, so that a broadcast encodes once.
    next_ack: AtomicU64,
    draining: AtomicBool,
    broken: AtomicBool,
}

const BROKEN: &str =
    "a thread of the server has ended by a fault: it lets nobody in until its process is started again";

/// The way to a shard, from any thread.
#[derive(Default)]
pub(crate) struct ShardHandle {
    inbox: Mutex<Inbox>,
    awake: AtomicBool,
    /// Its thread has ended: what is sent to it goes nowhere.
    is_stopped: AtomicBool,
    notify: Notify,
}

/// What has come for a shard.
#[derive(Default)]
struct Inbox {
    commands: Vec<Queued>,
    /// What has no place among the events: it does not wait for those that are being kept.
    errands: Vec<Errand>,
}

impl ShardHandle {
    /// Makes the shard look at its inbox and at the log.
    pub(crate) fn wake(&self) {
        if !self.awake.swap(true, Ordering::AcqRel) {
            self.notify.notify_one();
        }
    }

    /// Waits until there may be something to do.
    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }

    /// Says that what was there is being looked at; call it before looking.
    pub(crate) fn begin_turn(&self) {
        self.awake.store(false, Ordering::Release);
    }

    /// Takes nothing more.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        let waiting = std::mem::take(&mut *self.inbox.lock());
        // Not under the lock: what is dropped may have something to send.
        drop(waiting);
    }

    /// Moves what waits into `queue`, and answers what does not have to wait.
    pub(crate) fn take(&self, queue: &mut VecDeque<Queued>) -> Vec<Errand> {
        let mut inbox = self.inbox.lock();
        queue.extend(inbox.commands.drain(..));
        std::mem::take(&mut inbox.errands)
    }
}

impl Hub {
    pub(crate) fn new(limits: Limits, shards: usize, storage: Option<Storage>) -> Result<Self, StoreError> {
        let shards: Arc<[ShardHandle]> = (0..shards).map(|_| ShardHandle::default()).collect();
        let gauges = Arc::new(Gauges::new(shards.len()));
        let meters = shards.iter().map(|_| Meters::default()).collect();
        let bounds = Bounds::of(&limits);
        let has_store = storage.is_some();
        let log: Arc<dyn Log> = match storage {
            None => Arc::new(MemoryLog::new(bounds)),
            Some(storage) => {
                let shards = Arc::clone(&shards);
                let wake = move || shards.iter().for_each(ShardHandle::wake);
                Arc::new(LocalLog::open(storage.options(bounds, wake))?)
            }
        };
        Ok(Self {
            epoch: log.epoch(),
            log,
            has_store,
            shards,
            limits,
            gauges,
            meters,
            refusals: Refusals::default(),
            published: AtomicU64::new(0),
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            next_ack: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        })
    }

    /// Gives the draft its place in the log; the shards deliver it from there.
    pub(crate) fn publish(&self, draft: Draft) -> Appending {
        self.published.fetch_add(1, Ordering::Relaxed);
        let appending = self.log.append(draft);
        // What waits for the disk wakes them when it is kept.
        if matches!(appending, Appending::Done(_)) {
            for shard in &*self.shards {
                shard.wake();
            }
        }
        appending
    }

    /// As [`Hub::publish`], for what only a connection of that shard can be subscribed to.
    pub(crate) fn publish_to_shard(&self, draft: Draft, shard: u16) -> Appending {
        self.published.fetch_add(1, Ordering::Relaxed);
        let appending = self.log.append(draft);
        if matches!(appending, Appending::Done(_)) {
            self.shards[usize::from(shard)].wake();
        }
        appending
    }

    /// How many events were published.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Reads the log on a thread that may wait for the disk. Call it in the application's runtime.
    pub(crate) async fn read<T, F>(&self, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Log) -> Result<T> + Send + 'static,
    {
        let permit = Arc::clone(&self.readers).acquire_owned().await;
        let log = Arc::clone(&self.log);
        let outcome = tokio::task::spawn_blocking(move || {
            let outcome = read(&*log);
            drop(permit);
            outcome
        });
        outcome
            .await
            .unwrap_or_else(|_| Err(Error::coded(Code::Internal, "internal error")))
    }

    /// The id of a position.
    pub(crate) fn id(&self, seq: u64) -> EventId {
        EventId::new(self.epoch, seq)
    }

    /// Sends a command, to be carried out after all events that have a place in the log by now.
    pub(crate) fn send(&self, shard: u16, command: Command) {
        let shard = &self.shards[usize::from(shard)];
        {
            let mut inbox = shard.inbox.lock();
            if shard.is_stopped.load(Ordering::Acquire) {
                return;
            }
            // Read under the lock, so that positions in an inbox never go back.
            let after = self.log.assigned();
            inbox.commands.push(Queued { after, command });
        }
        shard.wake();
    }

    /// Waits until all that has a place in the log by now is kept, or can't be for now.
    pub(crate) async fn settled(&self) {
        let assigned = self.log.assigned();
        if self.log.position() >= assigned {
            return;
        }
        let (done, is_done) = oneshot::channel();
        self.send(0, Command::Settle { done });
        let _ = is_done.await;
    }

    /// Has something of the application's run on a shard's thread, at once.
    pub(crate) fn ask(&self, shard: u16, errand: Errand) {
        let shard = &self.shards[usize::from(shard)];
        {
            let mut inbox = shard.inbox.lock();
            if shard.is_stopped.load(Ordering::Acquire) {
                return;
            }
            inbox.errands.push(errand);
        }
        shard.wake();
    }

    /// Which shard owns the connection of this id.
    pub(crate) fn shard_of(&self, sid: RandomId) -> u16 {
        u16::try_from(sid.shard(self.shards.len())).unwrap_or_default()
    }

    /// Sends a command of its own to every shard.
    pub(crate) fn send_all(&self, mut command: impl FnMut() -> Command) {
        for shard in 0..self.shards.len() {
            self.send(u16::try_from(shard).unwrap_or_default(), command());
        }
    }

    pub(crate) fn next_ack(&self) -> u64 {
        self.next_ack.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// A shard has ended by a fault of its own, and its clients with it.
    pub(crate) fn break_down(&self, number: usize) {
        tracing::error!(shard = number, "{BROKEN}");
        self.broken.store(true, Ordering::Release);
        self.shards[number].stop();
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Why the server can't do its work right now, if so.
    pub(crate) fn failure(&self) -> Option<Error> {
        if self.is_broken() {
            return Some(Error::coded(Code::Internal, BROKEN));
        }
        self.log.failure()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Admits a connection, or says why not.
    pub(crate) fn admit(&self, address: Option<IpAddr>) -> Result<Permit> {
        self.try_admit(address)
            .inspect_err(|error| self.refusals.note(error, address))
    }

    fn try_admit(&self, address: Option<IpAddr>) -> Result<Permit> {
        if self.is_draining() {
            return Err(Error::coded(Code::Draining, "the server is shutting down; come back"));
        }
        if self.is_broken() {
            return Err(Error::coded(Code::Unavailable, BROKEN));
        }
        let limits = &self.limits;
        let gauges = &self.gauges;
        let all = gauges.connections.fetch_add(1, Ordering::AcqRel) + 1;
        let mut permit = Permit {
            gauges: Arc::clone(gauges),
            party: None,
        };
        if limits.connections > 0 && all > limits.connections {
            return Err(Error::coded(
                Code::TooManyConnections,
                "the server has as many connections as its limit `connections` allows",
            ));
        }
        if limits.connections_per_ip > 0
            && let Some(address) = address
        {
            let party = network::party(address);
            let mut by_party = gauges.by_party.lock();
            let count = by_party.entry(party).or_insert(0);
            if *count >= limits.connections_per_ip {
                return Err(Error::coded(
                    Code::TooManyConnections,
                    "this address has as many connections as the limit `connections_per_ip` allows",
                ));
            }
            *count += 1;
            permit.party = Some(party);
        }
        Ok(permit)
    }
}

/// Whether all threads of the process have one core, so that who is woken may keep those from running who are about to give
/// it more.
pub(crate) fn shares_core() -> bool {
    std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1)
}

/// What there is right now.
pub(crate) struct Gauges {
    pub(crate) connections: AtomicUsize,
    pub(crate) sockets: AtomicUsize,
    pub(crate) subscriptions: AtomicUsize,
    pub(crate) rooms: Rooms,
    pub(crate) acks: AtomicUsize,
    pub(crate) tasks: AtomicUsize,
    by_party: Mutex<HashMap<IpAddr, usize>>,
}

impl Gauges {
    fn new(shards: usize) -> Self {
        Self {
            connections: AtomicUsize::new(0),
            sockets: AtomicUsize::new(0),
            subscriptions: AtomicUsize::new(0),
            rooms: Rooms::new(shards),
            acks: AtomicUsize::new(0),
            tasks: AtomicUsize::new(0),
            by_party: Mutex::default(),
        }
    }
}

/// A connection's place within the limits; given back when dropped.
pub(crate) struct Permit {
    gauges: Arc<Gauges>,
    party: Option<IpAddr>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gauges.connections.fetch_sub(1, Ordering::AcqRel);
        if let Some(party) = self.party {
            let mut by_party = self.gauges.by_party.lock();
            if let Some(count) = by_party.get_mut(&party) {
                *count -= 1;
                if *count == 0 {
                    by_party.remove(&party);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use crate::{Tidings, error::Code};

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let limits = crate::Limits {
            connections_per_ip: 2,
            ..Default::default()
        };
        let io = Tidings::builder().shards(1).limits(limits).build();
        let hub = &io.server.hub;
        let admit = |text: &str| hub.admit(Some(text.parse().expect("an address")));
        let one = admit("2001:db8::1");
        let two = admit("2001:db8::2");
        assert!(one.is_ok() && two.is_ok() && admit("2001:db8:0:1::1").is_ok());
        let refused = admit("2001:db8::3").map(drop).unwrap_err();
        assert_eq!(refused.code(), "too_many_connections");
        drop(one);
        assert!(admit("2001:db8::3").is_ok());
        assert!(admit("10.0.0.1").is_ok() && admit("::ffff:10.0.0.1").is_ok());
    }

    #[test]
    fn a_thread_that_ends_by_a_fault_is_told_and_nobody_is_let_in() {
        let io = Tidings::builder().shards(2).build();
        let server = &io.server;
        assert!(io.failure().is_none());
        server.hub.ask(1, Box::new(|| panic!("a fault")));
        let begin = Instant::now();
        while io.failure().is_none() {
            assert!(begin.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(io.failure().unwrap().code(), Code::Internal.as_str());
        assert_eq!(server.hub.admit(None).err().unwrap().code(), Code::Unavailable.as_str());
    }
}

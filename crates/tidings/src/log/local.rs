//! The log of a server with a store on disk.
//!
//! What is appended gets its place at once, under a short lock, and waits in a queue. One thread, the [`Writer`], writes all
//! that waits as one batch; then the events are put in the memory tail, in their order, the position moves, and the
//! publishers get their answers. A batch is what came while the one before was written (and, where there is one core, what publishers had
//! at hand), so there is no timer, and what is published alone is written at once.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::oneshot;

use super::keys::{Claim, Claimed, Keys, fingerprint};
use super::restore::{boot_id, restore};
use super::retention::Retention;
use super::store::{Store, StoreError, StoreLock, Table};
use super::stored::StoredChannels;
use super::tail::{Bounds, TailState, unix_ms};
use super::writer::Writer;
use super::{
    Appending, Counted, Cursor, Durability, From, History, Log, Page, PageLimit, Receipt, Record, Retained, Since,
    Tail, count, read,
};
use crate::channel::Channel;
use crate::error::{Code, Error, Result};
use crate::event::{Draft, Event};
use crate::id::{Epoch, EventId};
use crate::limits::LOG_QUEUE_BYTES_MAX;
use crate::meters::Timer;

/// Tells how much of a channel is kept on disk; none of it without an answer.
pub(crate) type HistoryOf = Arc<dyn Fn(&str) -> Option<Retention> + Send + Sync>;

/// What the application says of the store.
pub(crate) struct Storage {
    pub(crate) path: PathBuf,
    /// What the events of stored channels survive: `Process` or `Power`.
    pub(crate) durability: Durability,
    pub(crate) history: HistoryOf,
}

impl Storage {
    pub(crate) fn options(self, bounds: Bounds, wake: impl Fn() + Send + Sync + 'static) -> Options {
        Options {
            path: self.path,
            durability: self.durability,
            history: self.history,
            bounds,
            wake: Box::new(wake),
            boot: boot_id(),
        }
    }
}

/// How the log is set up.
pub(crate) struct Options {
    pub(crate) path: PathBuf,
    /// What the events of stored channels survive: `Process` or `Power`.
    pub(crate) durability: Durability,
    pub(crate) history: HistoryOf,
    pub(crate) bounds: Bounds,
    /// Called when the position has moved.
    pub(crate) wake: Box<dyn Fn() + Send + Sync>,
    /// Which boot of the machine this is, where that is known.
    pub(crate) boot: Option<String>,
}

pub(crate) struct LocalLog {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the writer and everybody else share.
pub(super) struct Shared {
    pub(super) epoch: Epoch,
    pub(super) durability: Durability,
    pub(super) history: HistoryOf,
    pub(super) wake: Box<dyn Fn() + Send + Sync>,
    /// Cursors up to here are of before a loss of events.
    pub(super) lost: u64,
    pub(super) assigned: AtomicU64,
    pub(super) position: AtomicU64,
    pub(super) queue: Mutex<Queue>,
    /// Something has come into the queue.
    pub(super) came: Condvar,
    /// How long writes took.
    pub(super) commits: Timer,
    pub(super) state: Mutex<State>,
    /// Where to read; none while it is opened again after it failed.
    pub(super) store: RwLock<Option<Arc<Store>>>,
    /// Up to where it holds what was kept; above may lie what a write that failed has left.
    pub(super) readable: AtomicU64,
    /// Held by readers from looking at a trim mark to having opened what comes after it, and by the writer
    /// when it retires what is below a mark.
    pub(super) opening: RwLock<()>,
}

/// What waits to be written.
pub(super) struct Queue {
    pub(super) jobs: VecDeque<Job>,
    pub(super) bytes: usize,
    pub(super) last_time_ms: u64,
    pub(super) keys: Keys,
    pub(super) failure: Option<Failure>,
    pub(super) is_closing: bool,
    pub(super) is_expiring: bool,
}

pub(super) enum Job {
    Append(Box<Append>),
    Put {
        /// Their place, in which there is no event.
        seq: u64,
        records: Vec<Record>,
    },
    Expire,
}

pub(super) struct Append {
    pub(super) seq: u64,
    pub(super) time_ms: u64,
    pub(super) draft: Draft,
    pub(super) claim: Option<Claim>,
    pub(super) reply: oneshot::Sender<Result<Receipt>>,
}

/// What is retained, as it is known in memory.
pub(super) struct State {
    pub(super) tail: TailState,
    pub(super) stored: StoredChannels,
}

/// Why nothing can be kept right now.
#[derive(Debug, Clone, Copy)]
pub(super) enum Failure {
    Full,
    Unwritable,
    /// The writer has ended by a fault of its own.
    Broken,
}

impl Failure {
    pub(super) fn new(error: &StoreError) -> Self {
        if error.is_full() { Self::Full } else { Self::Unwritable }
    }

    pub(super) fn error(self) -> Error {
        match self {
            Self::Full => Error::coded(
                Code::StoreFull,
                "the disk of the store is full; nothing can be published until there is room",
            ),
            Self::Unwritable => Error::coded(Code::Unavailable, "the store can't be written right now; try again"),
            Self::Broken => Error::coded(
                Code::Internal,
                "the log has ended by a fault: nothing can be published until the process is started again",
            ),
        }
    }
}

impl Job {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Append(append) => append.draft.message.bytes() + 256,
            Self::Put { records, .. } => {
                let bytes = |(key, value): &Record| key.len() + value.as_ref().map_or(0, Bytes::len) + 64;
                records.iter().map(bytes).sum()
            }
            Self::Expire => 0,
        }
    }
}

impl LocalLog {
    /// Opens the store and begins to write.
    pub(crate) fn open(options: Options) -> Result<Self, StoreError> {
        let lock = StoreLock::take(&options.path)?;
        lock.probe()?;
        let store = Store::open(&lock)?;
        let restored = restore(&store, &lock, &options)?;
        let position = restored.position;
        let shared = Arc::new(Shared {
            epoch: restored.epoch,
            durability: options.durability,
            history: options.history,
            wake: options.wake,
            lost: restored.lost,
            assigned: AtomicU64::new(position),
            position: AtomicU64::new(position),
            queue: Mutex::new(Queue {
                jobs: VecDeque::new(),
                bytes: 0,
                last_time_ms: restored.last_time_ms,
                keys: restored.keys,
                failure: None,
                is_closing: false,
                is_expiring: false,
            }),
            came: Condvar::new(),
            commits: Timer::default(),
            state: Mutex::new(State {
                tail: restored.tail,
                stored: restored.stored,
            }),
            store: RwLock::new(Some(Arc::new(store))),
            readable: AtomicU64::new(u64::MAX),
            opening: RwLock::new(()),
        });
        let writer = Writer::new(Arc::clone(&shared), lock, restored.reserved);
        let thread = std::thread::Builder::new().name("tidings-log".to_owned());
        let watched = Arc::clone(&shared);
        let run = move || {
            if catch_unwind(AssertUnwindSafe(|| writer.run())).is_err() {
                watched.break_down();
            }
        };
        let thread = thread.spawn(run).map_err(|source| StoreError::Io {
            path: options.path,
            source,
        })?;
        Ok(Self {
            shared,
            writer: Mutex::new(Some(thread)),
        })
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    fn place(&self, draft: Draft) -> Result<Appending> {
        let fingerprint = fingerprint(&draft);
        let shared = &*self.shared;
        let mut queue = shared.queue.lock();
        if let Some(failure) = queue.failure {
            return Err(failure.error());
        }
        if queue.is_closing {
            return Err(Error::coded(Code::Draining, "the server is shutting down; come back"));
        }
        let bytes = draft.message.bytes();
        if queue.bytes + bytes > LOG_QUEUE_BYTES_MAX {
            return Err(Error::coded(
                Code::Unavailable,
                "more is published than the store can take; try again",
            ));
        }
        let seq = shared.assigned.load(Ordering::Relaxed) + 1;
        let time_ms = unix_ms().max(queue.last_time_ms);
        let mut claim = None;
        if let Some(fingerprint) = fingerprint {
            match queue.keys.claim(fingerprint, seq, time_ms)? {
                Claimed::New(new) => claim = Some(new),
                Claimed::Now(receiver) => return Ok(Appending::Waiting(receiver)),
                Claimed::Before(seq) => {
                    drop(queue);
                    return Ok(Appending::Done(Ok(Receipt {
                        id: EventId::new(shared.epoch, seq),
                        duplicate: true,
                        durability: shared.durability_of(&draft),
                    })));
                }
            }
        }
        queue.last_time_ms = time_ms;
        shared.assigned.store(seq, Ordering::Release);
        let (reply, receiver) = oneshot::channel();
        shared.enqueue(
            &mut queue,
            Job::Append(Box::new(Append {
                seq,
                time_ms,
                draft,
                claim,
                reply,
            })),
        );
        Ok(Appending::Waiting(receiver))
    }
}

impl Shared {
    fn enqueue(&self, queue: &mut Queue, job: Job) {
        queue.bytes += job.bytes();
        queue.jobs.push_back(job);
        if queue.jobs.len() == 1 {
            self.came.notify_one();
        }
    }

    /// Nobody writes any more: who waits is told, and who comes. What was kept can be read, and what does not need the
    /// log goes on.
    pub(super) fn break_down(&self) {
        tracing::error!("the log has ended by a fault; nothing can be published until the process is started again");
        let last = {
            let mut queue = self.queue.lock();
            queue.failure = Some(Failure::Broken);
            queue.jobs.clear();
            queue.bytes = 0;
            // Who waits for a key hears of it when it is dropped.
            queue.keys = Keys::new(0, 0);
            self.assigned.load(Ordering::Relaxed)
        };
        self.stop_reading();
        self.pass_over(last);
    }

    /// Readers get what has been kept so far: what comes after it in the store is of a write that failed.
    pub(super) fn stop_reading(&self) {
        let kept = self.position.load(Ordering::Relaxed);
        self.readable.store(kept, Ordering::Release);
    }

    /// In the places up to `last` that are not taken there never will be an event.
    pub(super) fn leave_empty(&self, last: u64) {
        let mut state = self.state.lock();
        state.tail.push_holes(last);
        self.position.store(last, Ordering::Release);
    }

    /// The same, and nobody waits for one any longer.
    pub(super) fn pass_over(&self, last: u64) {
        self.leave_empty(last);
        (self.wake)();
    }

    /// The store to read from, and up to where.
    pub(super) fn store(&self) -> Result<(Arc<Store>, u64)> {
        let store = self.store.read().clone();
        let store =
            store.ok_or_else(|| Error::coded(Code::Unavailable, "the store can't be read right now; try again"))?;
        Ok((store, self.readable.load(Ordering::Acquire)))
    }

    /// What an event survives that is in these channels: where it is gone first counts.
    pub(super) fn durability_of(&self, draft: &Draft) -> Durability {
        let state = self.state.lock();
        let known = |name: &Channel| state.stored.get(name.as_str()).is_some();
        let unknown: Vec<&Channel> = draft.channels.iter().filter(|name| !known(name)).collect();
        drop(state);
        if unknown.iter().all(|name| (self.history)(name.as_str()).is_some()) {
            self.durability
        } else {
            Durability::Memory
        }
    }
}

impl Log for LocalLog {
    fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    fn append(&self, draft: Draft) -> Appending {
        self.place(draft).unwrap_or_else(|error| Appending::Done(Err(error)))
    }

    fn assigned(&self) -> u64 {
        self.shared.assigned.load(Ordering::Acquire)
    }

    fn position(&self) -> u64 {
        self.shared.position.load(Ordering::Acquire)
    }

    fn tail(&self, after: u64, events_max: usize, out: &mut Vec<Arc<Event>>) -> Tail {
        self.shared.state.lock().tail.tail(after, events_max, out)
    }

    fn read_tail(&self, cursors: &[Cursor], until: u64, limit: PageLimit) -> Option<Page> {
        read::page_from_memory(&self.shared, cursors, until.min(self.position()), limit)
    }

    fn read(&self, cursors: &[Cursor], until: u64, limit: PageLimit) -> Result<Page> {
        read::page(&self.shared, cursors, until.min(self.position()), limit)
    }

    fn history(&self, channel: &Channel, from: From, limit: PageLimit) -> Result<History> {
        read::history(&self.shared, channel, from, limit)
    }

    fn count_tail(&self, channel: &Channel, after: u64, not_by: &str) -> Option<Counted> {
        count::from_memory(&self.shared, channel, after, not_by)
    }

    fn count(&self, channel: &Channel, after: u64, not_by: &str) -> Result<Counted> {
        count::count(&self.shared, channel, after, not_by)
    }

    fn last(&self, channel: &Channel) -> u64 {
        read::last(&self.shared, channel)
    }

    fn newest(&self, channel: &Channel) -> u64 {
        let state = self.shared.state.lock();
        let stored = state.stored.get(channel.as_str());
        let stored = stored.map_or(state.stored.forgotten, |stored| stored.record.last);
        stored.max(state.tail.newest(channel.as_str()))
    }

    fn check(&self, id: EventId) -> Since {
        let seq = id.seq();
        let is_lost = self.shared.lost > 0 && seq <= self.shared.lost;
        if id.epoch() == self.shared.epoch && seq <= self.position() && !is_lost {
            Since::Known(seq)
        } else {
            Since::Unknown
        }
    }

    fn durability(&self, channel: &Channel) -> Durability {
        let is_known = self.shared.state.lock().stored.get(channel.as_str()).is_some();
        if is_known || (self.shared.history)(channel.as_str()).is_some() {
            self.shared.durability
        } else {
            Durability::Memory
        }
    }

    fn put_all(&self, records: Vec<Record>) -> bool {
        let mut queue = self.shared.queue.lock();
        // Where nobody writes any more, a place that is taken would hold up all that comes after it.
        let is_broken = matches!(queue.failure, Some(Failure::Broken));
        if queue.is_closing || is_broken {
            return false;
        }
        if !records.is_empty() {
            let seq = self.shared.assigned.load(Ordering::Relaxed) + 1;
            self.shared.assigned.store(seq, Ordering::Release);
            self.shared.enqueue(&mut queue, Job::Put { seq, records });
        }
        true
    }

    fn records(&self, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        let Ok((store, _)) = self.shared.store() else {
            return Vec::new();
        };
        let records = store.prefix(Table::Records, prefix).map_while(|record| match record {
            Ok((key, value)) => Some((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value))),
            Err(error) => {
                tracing::error!(%error, "what was kept of an earlier run can't be read");
                None
            }
        });
        records.collect()
    }

    fn expire(&self) {
        self.shared.state.lock().tail.expire(unix_ms());
        let mut queue = self.shared.queue.lock();
        if !queue.is_expiring && !queue.is_closing {
            queue.is_expiring = true;
            self.shared.enqueue(&mut queue, Job::Expire);
        }
    }

    fn commits(&self) -> Option<&Timer> {
        Some(&self.shared.commits)
    }

    fn retained(&self) -> Retained {
        self.shared.state.lock().tail.retained()
    }

    fn failure(&self) -> Option<Error> {
        self.shared.queue.lock().failure.map(Failure::error)
    }

    fn close(&self) {
        self.shared.queue.lock().is_closing = true;
        self.shared.came.notify_one();
        if let Some(writer) = self.writer.lock().take()
            && writer.join().is_err()
        {
            tracing::error!("the log's thread ended in a panic");
        }
    }
}

impl Drop for LocalLog {
    fn drop(&mut self) {
        self.close();
    }
}

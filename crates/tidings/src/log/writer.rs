//! The one thread that writes the store: takes what waits, keeps it, then lets it be seen and answers.
//!
//! When a write fails, the publishers are told, the places that were given stay empty, and nothing is taken until the
//! store could be opened again. What the failed write may have left there is undone first.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::MutexGuard;

use super::keys::KeyHash;
use super::local::{Append, Failure, Job, Shared};
use super::record::{ChannelRecord, encode_event, event_key, numbers};
use super::restore::{EPOCH, LogRecord, Run};
use super::store::{Change, Store, StoreError, StoreLock, Table};
use super::stored::{self, Stored};
use super::tail::unix_ms;
use super::{Durability, Receipt};
use crate::channel::Channel;
use crate::event::Event;
use crate::hub::shares_core;
use crate::id::EventId;
use crate::limits::{EMPTY_CHANNELS_MAX, LOG_BATCH_BYTES_MAX, LOG_BATCH_EVENTS_MAX, TRIM_CHANNELS_MAX};

/// Seqs are reserved on disk this many at a time; after a crash the next run begins above what was reserved.
pub(super) const BLOCK: u64 = 1 << 20;
/// A store that failed is opened again after this long.
const REOPEN: Duration = Duration::from_secs(2);
/// How long a page of it may be read before that.
const READING: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    shared: Arc<Shared>,
    lock: StoreLock,
    reserved: u64,
    /// The highest seq that has come to be written.
    newest: u64,
    /// The store has failed, and was not opened again.
    has_failed: bool,
    /// What undoes writes that failed and may be there nonetheless.
    repairs: Vec<Change>,
    /// Records that could not be written.
    unsaved: HashMap<Bytes, Option<Bytes>>,
    /// What may vanish from the disk: by channel number, up to this seq.
    retired: HashMap<u32, u64>,
    /// All threads have one core.
    shares_core: bool,
}

/// What one batch is going to change.
#[derive(Default)]
struct Batch {
    /// The last place that is taken; 0 when none is.
    highest: u64,
    changes: Vec<Change>,
    appends: Vec<Append>,
    stored: HashMap<Channel, stored::Change>,
    /// Channels that are not stored, with the seq of their newest event.
    marks: HashMap<Channel, u64>,
    /// Empty channels that are forgotten.
    forgotten: Vec<(Channel, u32)>,
    puts: Vec<(Bytes, Option<Bytes>)>,
    /// It has to be on the disk before it is answered.
    sync: bool,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, lock: StoreLock, reserved: u64) -> Self {
        Self {
            newest: shared.position.load(Ordering::Acquire),
            shared,
            lock,
            reserved,
            has_failed: false,
            repairs: Vec::new(),
            unsaved: HashMap::new(),
            retired: HashMap::new(),
            shares_core: shares_core(),
        }
    }

    /// Writes until the log is closed.
    pub(super) fn run(mut self) {
        let mut retry = Instant::now();
        loop {
            if self.has_failed && Instant::now() >= retry {
                match self.reopen() {
                    Ok(()) => {
                        tracing::info!("the store can be written again");
                        continue;
                    }
                    Err(error) => tracing::warn!(%error, "the store can't be opened again"),
                }
                retry = Instant::now() + REOPEN;
            }
            let (jobs, is_closing) = self.take(self.has_failed.then_some(retry));
            if jobs.is_empty() && is_closing {
                self.end();
                return;
            }
            if !jobs.is_empty() && !self.write(jobs) {
                retry = Instant::now() + REOPEN;
            }
        }
    }

    /// Takes what waits, once something does; nothing when it is time to try the store again.
    fn take(&self, retry: Option<Instant>) -> (Vec<Job>, bool) {
        let mut queue = self.shared.queue.lock();
        while queue.jobs.is_empty() && !queue.is_closing {
            match retry {
                None => self.shared.came.wait(&mut queue),
                Some(retry) => {
                    if self.shared.came.wait_until(&mut queue, retry).timed_out() {
                        break;
                    }
                }
            }
        }
        if self.shares_core {
            // Who publishes may have more, and would get no further than this.
            MutexGuard::unlocked(&mut queue, std::thread::yield_now);
        }
        let mut jobs = Vec::with_capacity(queue.jobs.len().min(LOG_BATCH_EVENTS_MAX));
        let mut bytes = 0;
        while jobs.len() < LOG_BATCH_EVENTS_MAX
            && bytes < LOG_BATCH_BYTES_MAX
            && let Some(job) = queue.jobs.pop_front()
        {
            bytes += job.bytes();
            jobs.push(job);
        }
        queue.bytes -= bytes;
        (jobs, queue.is_closing)
    }

    /// Writes a batch; false when the store has failed.
    fn write(&mut self, jobs: Vec<Job>) -> bool {
        let store = self.shared.store.read().clone().filter(|_| !self.has_failed);
        let mut batch = Batch::default();
        let mut is_expiring = false;
        for job in jobs {
            match job {
                Job::Append(append) => {
                    batch.highest = append.seq;
                    batch.appends.push(*append);
                }
                Job::Put { seq, records } => {
                    batch.highest = seq;
                    batch.puts.extend(records);
                }
                Job::Expire => is_expiring = true,
            }
        }
        if is_expiring {
            self.shared.queue.lock().is_expiring = false;
        }
        let Some(store) = store else {
            // Nothing can have been appended.
            self.unsaved.extend(batch.puts);
            self.shared.pass_over(batch.highest);
            return true;
        };
        let written = self
            .make(&store, &mut batch, is_expiring)
            .and_then(|()| match batch.changes.is_empty() {
                true => Ok(()),
                false => {
                    let begin = Instant::now();
                    let written = store.write(std::mem::take(&mut batch.changes), self.newest, batch.sync);
                    self.shared.commits.took(begin.elapsed());
                    written
                }
            });
        match written {
            Ok(()) => {
                self.apply(&store, batch);
                true
            }
            Err(error) => {
                self.fail(&error, batch);
                false
            }
        }
    }

    /// Finds out all that the batch changes.
    fn make(&mut self, store: &Store, batch: &mut Batch, is_expiring: bool) -> Result<(), StoreError> {
        let now_ms = unix_ms();
        let appends = std::mem::take(&mut batch.appends);
        let outcome = appends.iter().try_for_each(|append| self.add(batch, append));
        batch.appends = appends;
        self.newest = self.newest.max(batch.highest);
        outcome?;
        if is_expiring {
            let due = self.shared.state.lock().stored.take_due(now_ms, TRIM_CHANNELS_MAX);
            for name in due {
                self.stored(batch, &name);
            }
        }
        for change in batch.stored.values_mut() {
            change.trim(store, now_ms)?;
            let Stored { number, record, .. } = &change.stored;
            batch
                .changes
                .push(Change::put(Table::Channels, &number.to_be_bytes(), record.encode()));
        }
        self.forget(batch);
        for (name, last) in &batch.marks {
            batch
                .changes
                .push(Change::put(Table::Marks, name.as_str().as_bytes(), numbers(&[*last])));
        }
        for (key, value) in &batch.puts {
            batch.changes.push(Change {
                table: Table::Records,
                key: key.to_vec(),
                value: value.as_ref().map(|value| value.to_vec()),
            });
        }
        if batch.changes.is_empty() {
            return Ok(());
        }
        if batch.highest > self.reserved {
            // No id is seen before it is known on the disk that it was given.
            self.reserved = batch.highest + BLOCK;
            batch.sync = true;
        }
        let log = self.log_record(batch);
        batch.changes.push(log.change());
        Ok(())
    }

    /// Adds an event.
    fn add(&self, batch: &mut Batch, append: &Append) -> Result<(), StoreError> {
        let mut value = None;
        for name in &append.draft.channels {
            let is_stored = !batch.marks.contains_key(name.as_str()) && self.stored(batch, name);
            let Some(change) = batch.stored.get_mut(name.as_str()).filter(|_| is_stored) else {
                batch.marks.insert(name.clone(), append.seq);
                continue;
            };
            if change.stored.record.last == append.seq {
                continue; // the same channel named twice
            }
            let value = value.get_or_insert_with(|| encode_event(&append.draft, append.time_ms));
            change.add(append.seq, append.time_ms, value.len() as u64);
            batch.changes.push(Change::put(
                Table::Events,
                &event_key(change.stored.number, append.seq),
                value.clone(),
            ));
        }
        if value.is_none() {
            return Ok(());
        }
        batch.sync |= self.shared.durability == Durability::Power;
        if let Some(claim) = &append.claim {
            for hash in &claim.hashes {
                let key = key_key(claim.generation, *hash);
                batch
                    .changes
                    .push(Change::put(Table::Keys, &key, numbers(&[append.seq, claim.content])));
            }
        }
        Ok(())
    }

    /// Whether the channel is stored; then it is among the batch's afterwards.
    fn stored(&self, batch: &mut Batch, name: &Channel) -> bool {
        if batch.stored.contains_key(name.as_str()) {
            return true;
        }
        let taken = self.shared.state.lock().stored.take(name.as_str());
        let change = match taken {
            Some(stored) => stored::Change::new(stored, false),
            None => {
                let Some(retention) = (self.shared.history)(name.as_str()) else {
                    return false;
                };
                let state = self.shared.state.lock();
                let added = batch.stored.values().filter(|change| change.before.is_none()).count();
                let number = state.stored.next_number + u32::try_from(added).unwrap_or(u32::MAX);
                // What was published before it was stored is gone, or will be.
                let known = state.tail.known(name.as_str());
                let trimmed = known.map_or(state.stored.forgotten, |known| known.last);
                drop(state);
                if known.is_some() {
                    batch
                        .changes
                        .push(Change::remove(Table::Marks, name.as_str().as_bytes()));
                }
                let key = number.to_be_bytes();
                let value = name.as_str().as_bytes().to_vec();
                batch.changes.push(Change::put(Table::Names, &key, value));
                let record = ChannelRecord {
                    last: trimmed,
                    trimmed,
                    ..ChannelRecord::default()
                };
                stored::Change::new(Stored::new(number, record, retention), true)
            }
        };
        batch.stored.insert(name.clone(), change);
        true
    }

    /// Lets go of what is known of channels that have long been empty, where there are very many.
    fn forget(&self, batch: &mut Batch) {
        let mut state = self.shared.state.lock();
        for name in state.tail.take_dropped() {
            if state.stored.get(name.as_str()).is_none() && !batch.marks.contains_key(name.as_str()) {
                batch
                    .changes
                    .push(Change::remove(Table::Marks, name.as_str().as_bytes()));
            }
        }
        while state.stored.emptied.len() > EMPTY_CHANNELS_MAX
            && let Some((name, trimmed)) = state.stored.emptied.pop_front()
        {
            if let Some(stored) = state.stored.get(name.as_str())
                && stored.record.count == 0
                && stored.record.trimmed == trimmed
                && !batch.stored.contains_key(name.as_str())
            {
                let key = stored.number.to_be_bytes();
                batch.changes.push(Change::remove(Table::Names, &key));
                batch.changes.push(Change::remove(Table::Channels, &key));
                batch.forgotten.push((name, stored.number));
            }
        }
    }

    /// What is to be said of the whole log once the batch is kept.
    fn log_record(&self, batch: &Batch) -> LogRecord {
        let (generation, last_time_ms) = {
            let queue = self.shared.queue.lock();
            (queue.keys.generation(), queue.last_time_ms)
        };
        let state = self.shared.state.lock();
        let numbers = batch.stored.values().map(|change| u64::from(change.stored.number) + 1);
        let forgotten = batch
            .forgotten
            .iter()
            .filter_map(|(name, _)| state.stored.get(name.as_str()));
        LogRecord {
            last_time_ms,
            reserved: self.reserved,
            forgotten: state.tail.forgotten(),
            stored_forgotten: forgotten
                .map(|stored| stored.record.trimmed)
                .fold(state.stored.forgotten, u64::max),
            lost: self.shared.lost,
            next_number: numbers.fold(u64::from(state.stored.next_number), u64::max),
            generation: generation.0,
            generation_began_ms: generation.1,
        }
    }

    /// The batch is kept: lets it be seen, and answers.
    fn apply(&mut self, store: &Store, batch: Batch) {
        let shared = &*self.shared;
        let mut answers = Vec::with_capacity(batch.appends.len());
        let mut state = shared.state.lock();
        for append in batch.appends {
            let is_stored = append
                .draft
                .channels
                .iter()
                .all(|name| batch.stored.contains_key(name.as_str()));
            let durability = if is_stored {
                shared.durability
            } else {
                Durability::Memory
            };
            let receipt = Receipt {
                id: EventId::new(shared.epoch, append.seq),
                duplicate: false,
                durability,
            };
            answers.push((append.reply, append.claim, receipt));
            let event = Event {
                seq: append.seq,
                time_ms: append.time_ms,
                draft: append.draft,
            };
            // What is put beside the events has its place too.
            state.tail.push_holes(event.seq - 1);
            state.tail.push(Arc::new(event), |name| {
                let change = batch.stored.get(name.as_str())?;
                Some(change.before.map_or(change.stored.record.trimmed, |before| before.last))
            });
        }
        for (name, change) in batch.stored {
            let Stored { number, record, .. } = &change.stored;
            if change.before.is_none_or(|before| before.trimmed < record.trimmed) {
                self.retired.insert(*number, record.trimmed);
            }
            state.stored.insert(&name, change.stored);
        }
        for (name, number) in batch.forgotten {
            state.stored.remove(name.as_str());
            self.retired.insert(number, u64::MAX);
        }
        state.tail.push_holes(batch.highest);
        let has_moved = batch.highest > 0;
        if has_moved {
            shared.position.store(batch.highest, Ordering::Release);
        }
        drop(state);
        // Nobody who has looked at the old marks may find less than they say.
        if !self.retired.is_empty()
            && let Some(_opening) = shared.opening.try_write()
        {
            for (number, seq) in self.retired.drain() {
                store.retired.retire(number, seq);
            }
        }
        if answers.iter().any(|(_, claim, _)| claim.is_some()) {
            let mut queue = shared.queue.lock();
            store
                .retired
                .retire_generations(queue.keys.generation().0.saturating_sub(1));
            for (_, claim, receipt) in &answers {
                for waiting in claim.iter().flat_map(|claim| queue.keys.kept(claim)) {
                    let _ = waiting.send(Ok(Receipt {
                        duplicate: true,
                        ..*receipt
                    }));
                }
            }
        }
        for (reply, _, receipt) in answers {
            // Nobody may have waited for it.
            let _ = reply.send(Ok(receipt));
        }
        // Who is woken finds the answers there.
        if has_moved {
            (shared.wake)();
        }
    }

    /// The batch could not be kept: nothing of it, nor of what waits, is.
    fn fail(&mut self, error: &StoreError, batch: Batch) {
        tracing::error!(%error, "the store can't be written; publishes are refused until it can");
        let failure = Failure::new(error);
        self.undo(&batch);
        let Batch {
            mut appends,
            stored,
            puts,
            ..
        } = batch;
        self.unsaved.extend(puts);
        let mut replies = Vec::new();
        let last = {
            let mut queue = self.shared.queue.lock();
            queue.failure = Some(failure);
            queue.bytes = 0;
            for job in std::mem::take(&mut queue.jobs) {
                match job {
                    Job::Append(append) => appends.push(*append),
                    Job::Put { records, .. } => self.unsaved.extend(records),
                    Job::Expire => queue.is_expiring = false,
                }
            }
            for append in appends {
                replies.extend(append.claim.iter().flat_map(|claim| queue.keys.failed(claim)));
                replies.push(append.reply);
            }
            self.shared.assigned.load(Ordering::Relaxed)
        };
        self.has_failed = true;
        self.newest = last;
        let mut state = self.shared.state.lock();
        for name in stored.keys() {
            state.stored.keep(name);
        }
        drop(state);
        self.shared.stop_reading();
        self.shared.leave_empty(last);
        for reply in replies {
            let _ = reply.send(Err(failure.error()));
        }
        (self.shared.wake)();
    }

    /// Notes how to undo a batch that failed, since it may be in the store nonetheless.
    fn undo(&mut self, batch: &Batch) {
        let state = self.shared.state.lock();
        for append in &batch.appends {
            let channels = append.draft.channels.iter();
            for change in channels.filter_map(|name| batch.stored.get(name.as_str())) {
                let key = event_key(change.stored.number, append.seq);
                self.repairs.push(Change::remove(Table::Events, &key));
            }
            if let Some(claim) = &append.claim {
                for hash in &claim.hashes {
                    let key = key_key(claim.generation, *hash);
                    self.repairs.push(Change::remove(Table::Keys, &key));
                }
            }
        }
        for change in batch.stored.values() {
            let key = change.stored.number.to_be_bytes();
            match &change.before {
                Some(before) => self.repairs.push(Change::put(Table::Channels, &key, before.encode())),
                None => {
                    self.repairs.push(Change::remove(Table::Channels, &key));
                    self.repairs.push(Change::remove(Table::Names, &key));
                }
            }
        }
        for (name, number) in &batch.forgotten {
            if let Some(stored) = state.stored.get(name.as_str()) {
                let key = number.to_be_bytes();
                self.repairs
                    .push(Change::put(Table::Names, &key, name.as_str().as_bytes().to_vec()));
                self.repairs
                    .push(Change::put(Table::Channels, &key, stored.record.encode()));
            }
        }
        for name in batch.marks.keys().chain(batch.stored.keys()) {
            if state.stored.get(name.as_str()).is_some() {
                continue;
            }
            let key = name.as_str().as_bytes();
            self.repairs.push(match state.tail.known(name.as_str()) {
                Some(known) => Change::put(Table::Marks, key, numbers(&[known.last])),
                None => Change::remove(Table::Marks, key),
            });
        }
    }

    /// Opens the store again after it failed, and puts it in order.
    fn reopen(&mut self) -> Result<(), StoreError> {
        // As long as nothing can be written, the one that failed is there to be read.
        self.lock.probe()?;
        let failed = self.shared.store.write().take();
        if let Some(failed) = failed {
            // It can't be opened twice, and somebody may just be reading a page.
            let begin = Instant::now();
            while Arc::strong_count(&failed) > 1 {
                if begin.elapsed() > READING {
                    *self.shared.store.write() = Some(failed);
                    return Err(self.lock.damaged("it is still being read"));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let store = Store::open(&self.lock)?;
        let epoch = store.get(Table::Meta, EPOCH)?;
        if epoch.as_deref() != Some(self.shared.epoch.as_str().as_bytes()) {
            return Err(self.lock.damaged("it is another one than before"));
        }
        if store.lost()?.is_some() {
            return Err(self
                .lock
                .damaged("it lacks events that it had; start again to go on without them"));
        }
        let mut changes = self.repairs.clone();
        for (key, value) in &self.unsaved {
            changes.push(Change {
                table: Table::Records,
                key: key.to_vec(),
                value: value.as_ref().map(|value| value.to_vec()),
            });
        }
        // A reservation may have failed too.
        self.reserved = self.reserved.max(self.shared.assigned.load(Ordering::Acquire) + BLOCK);
        changes.push(self.log_record(&Batch::default()).change());
        store.write(changes, self.newest, true)?;
        self.repairs.clear();
        self.unsaved.clear();
        self.retired.clear();
        store.retired.set(self.shared.state.lock().stored.retired());
        *self.shared.store.write() = Some(Arc::new(store));
        self.shared.readable.store(u64::MAX, Ordering::Release);
        self.has_failed = false;
        self.shared.queue.lock().failure = None;
        Ok(())
    }

    /// Leaves the store so that the next run can go on where this one ends.
    fn end(mut self) {
        if self.has_failed
            && let Err(error) = self.reopen()
        {
            tracing::error!(%error, "the store can't be written; what could not be kept is lost");
            return;
        }
        let Some(store) = self.shared.store.write().take() else {
            return;
        };
        self.reserved = self.shared.assigned.load(Ordering::Acquire);
        let run = Run {
            boot: None,
            durability: self.shared.durability,
            is_closed: true,
        };
        let changes = vec![self.log_record(&Batch::default()).change(), run.change()];
        if let Err(error) = store.write(changes, self.newest, true).and_then(|()| store.sync()) {
            tracing::error!(%error, "the store could not be closed in order");
        }
    }
}

fn key_key(generation: u64, hash: KeyHash) -> [u8; 24] {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&generation.to_be_bytes());
    key[8..].copy_from_slice(&hash.0);
    key
}

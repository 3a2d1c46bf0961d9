//! The store: ordered tables of keys and values on disk, written in batches that are kept whole or not at all.
//!
//! A batch is in the operating system's hands when [`Store::write`] returns: fjall's `WriteBatch::commit` writes its journal
//! and flushes the journal's buffer with `PersistMode::Buffer` before it touches a table, so that `kill -9` loses nothing
//! that was answered. With `sync` it is on the disk (`fdatasync`).
//!
//! In the folder that was set lies `store/`: `format` says which version wrote it, `lock` is held while a process has it
//! open, `db/` is fjall's, `written` is the [`Witness`], `cut` what was cut off a journal that made no sense.

mod error;
mod lock;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fjall::compaction::filter::{CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict};
use fjall::config::FilterPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Slice};
use parking_lot::{Mutex, RwLock};

use self::error::{is_damage, not_writable};
use self::lock::{PROBE_BYTES, patiently};
use super::journal;
use super::record::{event_key, split_event_key};
use super::witness::Witness;

pub use self::error::StoreError;
pub(super) use self::lock::StoreLock;

/// What the journals of the tables may take before tables are written out, in bytes; it bounds what is read again after a crash.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;
/// What is held in memory of the events, and of each other table, before it is written out.
const EVENTS_MEMORY_BYTES: u64 = 16 << 20;
const TABLE_MEMORY_BYTES: u64 = 2 << 20;
/// So much more may wait in memory for being written out, and on disk for being merged, before writes wait for it.
const UNWRITTEN_MAX: usize = 2;
const UNMERGED_MAX: usize = 19;
/// Blocks that were read and are held in memory.
const CACHE_BYTES: u64 = 32 << 20;
/// In each table: the newest seq of the batch that changed it last. No table's own keys look like it.
const NEWEST: &[u8] = b"\xffnewest";

/// The fault of a write that fails after it got through.
#[cfg(test)]
pub(super) const WRITTEN: io::ErrorKind = io::ErrorKind::ConnectionReset;

/// The tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// What holds for the whole log.
    Meta,
    /// Channel number and seq → an event.
    Events,
    /// Channel number → name.
    Names,
    /// Channel number → what is known of it.
    Channels,
    /// Name of a channel that is not stored → the seq of its newest event.
    Marks,
    /// Generation and hash of a publish key → seq and hash of the content.
    Keys,
    /// What the application's side keeps beside the sequence.
    Records,
}

const TABLES: [(Table, &str); 7] = [
    (Table::Meta, "meta"),
    (Table::Events, "events"),
    (Table::Names, "names"),
    (Table::Channels, "channels"),
    (Table::Marks, "marks"),
    (Table::Keys, "keys"),
    (Table::Records, "records"),
];

/// One change of a batch; no value removes the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) table: Table,
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
}

impl Change {
    pub(super) fn put(table: Table, key: &[u8], value: Vec<u8>) -> Self {
        let key = key.to_vec();
        let value = Some(value);
        Self { table, key, value }
    }

    pub(super) fn remove(table: Table, key: &[u8]) -> Self {
        let key = key.to_vec();
        let value = None;
        Self { table, key, value }
    }
}

/// What is to vanish from the disk. Nothing reads it any more; it goes when its part of the disk is written anew anyway.
#[derive(Default)]
pub(super) struct Retired {
    /// By channel number: events up to this seq. Numbers beyond the end keep all.
    channels: RwLock<Vec<u64>>,
    /// Publish keys of generations below this.
    generations: RwLock<u64>,
}

impl Retired {
    /// Sets all marks at once; numbers beyond the end keep all.
    pub(super) fn set(&self, channels: Vec<u64>) {
        *self.channels.write() = channels;
    }

    /// Events of the channel up to `seq` may go.
    pub(super) fn retire(&self, number: u32, seq: u64) {
        let number = number as usize;
        let mut channels = self.channels.write();
        if channels.len() <= number {
            channels.resize(number + 1, 0);
        }
        channels[number] = channels[number].max(seq);
    }

    /// Publish keys of generations below this may go.
    pub(super) fn retire_generations(&self, below: u64) {
        *self.generations.write() = below;
    }

    fn has_event(&self, key: &[u8]) -> bool {
        split_event_key(key).is_some_and(|(number, seq)| {
            let channels = self.channels.read();
            channels.get(number as usize).is_some_and(|retired| seq <= *retired)
        })
    }

    fn has_key(&self, key: &[u8]) -> bool {
        key.first_chunk()
            .is_some_and(|generation| u64::from_be_bytes(*generation) < *self.generations.read())
    }
}

/// Leaves out what is retired when tables are merged.
struct Sieve {
    retired: AssertUnwindSafe<Arc<Retired>>,
    is_retired: fn(&Retired, &[u8]) -> bool,
}

impl Factory for Sieve {
    fn name(&self) -> &str {
        "retention"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Self {
            retired: AssertUnwindSafe(Arc::clone(&self.retired)),
            is_retired: self.is_retired,
        })
    }
}

impl CompactionFilter for Sieve {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        // Both tables write each key once, so there is no older value that could come back.
        Ok(if (self.is_retired)(&self.retired, item.key()) {
            Verdict::Destroy
        } else {
            Verdict::Keep
        })
    }
}

pub(super) struct Store {
    database: Database,
    tables: [Keyspace; TABLES.len()],
    path: PathBuf,
    folder: PathBuf,
    witness: Mutex<Witness<{ TABLES.len() }>>,
    pub(super) retired: Arc<Retired>,
    /// What the next write is made to fail with.
    #[cfg(test)]
    pub(super) fault: Mutex<Option<io::ErrorKind>>,
    /// Called when a write is on the disk, before anybody is told.
    #[cfg(test)]
    pub(super) synced: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl Store {
    /// Opens the store, or makes a new one. Whether anything can be written is for [`StoreLock::probe`] to say first.
    pub(super) fn open(lock: &StoreLock) -> Result<Self, StoreError> {
        let folder = lock.folder.join("db");
        if lock.is_new() && folder.exists() {
            // A process ended while it made the tables.
            std::fs::remove_dir_all(&folder).map_err(|source| not_writable(&lock.path, source))?;
        } else if !lock.is_new() && !folder.join("version").exists() {
            return Err(lock.damaged("store/db/version is missing"));
        }
        if folder.exists() {
            let mended = journal::mend(&folder, &lock.folder.join("cut"));
            mended.map_err(|source| not_writable(&lock.path, source))?;
        }
        let retired = Arc::new(Retired::default());
        // It panics on some of what a damaged file can make it meet.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            patiently(
                || open_tables(&folder, &retired),
                |error| matches!(error, fjall::Error::Locked),
            )
        }))
        .map_err(|_| lock.damaged("its tables can't be read"))?;
        let (database, tables) = opened.map_err(|error| match error {
            fjall::Error::Locked => StoreError::InUse {
                path: lock.path.clone(),
            },
            fjall::Error::Io(source) if is_damage(&source) => lock.damaged(&source.to_string()),
            fjall::Error::Storage(fjall::LsmError::Io(source)) if is_damage(&source) => {
                lock.damaged(&source.to_string())
            }
            fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => {
                not_writable(&lock.path, source)
            }
            other => lock.damaged(&other.to_string()),
        })?;
        let written = lock.folder.join("written");
        let witness = Witness::open(&written).map_err(|source| not_writable(&lock.path, source))?;
        Ok(Self {
            database,
            tables,
            path: lock.path.clone(),
            folder,
            witness: Mutex::new(witness),
            retired,
            #[cfg(test)]
            fault: Mutex::new(None),
            #[cfg(test)]
            synced: Mutex::new(None),
        })
    }

    /// Up to which seq events were written some of which the store no longer has, if that is so.
    pub(super) fn lost(&self) -> Result<Option<u64>, StoreError> {
        let written = *self.witness.lock().seqs();
        let mut lost = None;
        for ((table, _), written) in TABLES.into_iter().zip(written) {
            let newest = self.get(table, NEWEST)?;
            let newest = newest.and_then(|newest| Some(u64::from_be_bytes(newest.as_ref().try_into().ok()?)));
            if newest.unwrap_or(0) < written {
                lost = lost.max(Some(written));
            }
        }
        Ok(lost)
    }

    /// The highest number of a channel of which there are events.
    pub(super) fn highest_number(&self) -> Result<Option<u32>, StoreError> {
        let newest = self.prefix(Table::Events, &[]).next_back().transpose()?;
        Ok(newest
            .and_then(|(key, _)| split_event_key(&key))
            .map(|(number, _)| number))
    }

    /// Writes all changes or none; `newest` is the highest seq that was given when this is written.
    ///
    /// When this returns they survive the end of the process; with `sync`, a loss of power. After an error the store takes
    /// nothing more, and may or may not have the changes when it is opened again.
    pub(super) fn write(&self, changes: Vec<Change>, newest: u64, sync: bool) -> Result<(), StoreError> {
        #[cfg(test)]
        let fault = *self.fault.lock();
        #[cfg(test)]
        if let Some(kind) = fault.filter(|kind| *kind != WRITTEN) {
            return Err(not_writable(&self.path, kind.into()));
        }
        let mut is_changed = [false; TABLES.len()];
        let committed = catch_unwind(AssertUnwindSafe(|| {
            self.wait_for_room()?;
            let mode = if sync {
                PersistMode::SyncData
            } else {
                PersistMode::Buffer
            };
            let mut batch = self.database.batch().durability(Some(mode));
            for change in changes {
                is_changed[change.table as usize] = true;
                let table = self.table(change.table);
                match change.value {
                    Some(value) => batch.insert(table, change.key, value),
                    None => batch.remove(table, change.key),
                }
            }
            for (table, _) in self.tables.iter().zip(is_changed).filter(|(_, is_changed)| *is_changed) {
                batch.insert(table, NEWEST, newest.to_be_bytes());
            }
            batch.commit()
        }));
        #[cfg(test)]
        if let Some(kind) = fault {
            return Err(not_writable(&self.path, kind.into()));
        }
        #[cfg(test)]
        if sync && let Some(synced) = &*self.synced.lock() {
            synced();
        }
        match committed {
            Ok(Ok(())) => self
                .witness
                .lock()
                .advance(newest, is_changed)
                .map_err(|source| not_writable(&self.path, source)),
            Ok(Err(error)) => Err(self.why(error)),
            Err(_) => Err(self.why(fjall::Error::Poisoned)),
        }
    }

    /// Waits while fjall's own threads are behind. It would do so itself, in steps of 100 ms, and for ever once they have
    /// given up on a disk that is full.
    fn wait_for_room(&self) -> fjall::Result<()> {
        for table in &self.tables {
            while table.sealed_memtable_count() >= UNWRITTEN_MAX || table.l0_table_count() >= UNMERGED_MAX {
                // An error when they have.
                self.database.persist(PersistMode::Buffer)?;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// On the disk is all that was written.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.database
            .persist(PersistMode::SyncAll)
            .map_err(|error| self.why(error))?;
        let synced = self.witness.lock().sync();
        synced.map_err(|source| not_writable(&self.path, source))
    }

    pub(super) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Slice>, StoreError> {
        self.table(table).get(key).map_err(|error| self.why(error))
    }

    /// A channel's events from `first` to `last`, both included, in order, read as they are asked for. What is retired
    /// later stays among them.
    pub(super) fn events(&self, number: u32, first: u64, last: u64) -> Entries {
        let range = event_key(number, first)..=event_key(number, last);
        Entries {
            entries: (first <= last).then(|| self.table(Table::Events).range(range)),
            path: self.path.clone(),
        }
    }

    /// The entries whose keys begin with `prefix`.
    pub(super) fn prefix(&self, table: Table, prefix: &[u8]) -> Entries {
        Entries {
            entries: Some(self.table(table).prefix(prefix)),
            path: self.path.clone(),
        }
    }

    fn table(&self, table: Table) -> &Keyspace {
        &self.tables[table as usize]
    }

    fn why(&self, error: fjall::Error) -> StoreError {
        match error {
            fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => {
                not_writable(&self.path, source)
            }
            // Something failed on one of fjall's own threads. If the disk is full, that was it.
            fjall::Error::Poisoned => {
                let probe = self.folder.join("probe");
                let written = std::fs::write(&probe, vec![0x55; PROBE_BYTES]);
                let _ = std::fs::remove_file(&probe);
                let source = match written {
                    Ok(()) => io::Error::other("an earlier write failed"),
                    Err(source) => source,
                };
                not_writable(&self.path, source)
            }
            other => StoreError::Damaged {
                path: self.path.clone(),
                detail: other.to_string(),
            },
        }
    }
}

/// The entries of a part of a table.
pub(super) struct Entries {
    entries: Option<fjall::Iter>,
    path: PathBuf,
}

impl Entries {
    /// The error for something that makes no sense.
    pub(super) fn damaged(&self, detail: &str) -> StoreError {
        StoreError::Damaged {
            path: self.path.clone(),
            detail: detail.to_owned(),
        }
    }

    /// None for what is not the table's own.
    fn read(&self, guard: fjall::Guard) -> Option<Result<(Slice, Slice), StoreError>> {
        match guard.into_inner() {
            Ok((key, _)) if key == NEWEST => None,
            Ok(entry) => Some(Ok(entry)),
            Err(error) => Some(Err(StoreError::Damaged {
                path: self.path.clone(),
                detail: error.to_string(),
            })),
        }
    }
}

impl Iterator for Entries {
    type Item = Result<(Slice, Slice), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let guard = self.entries.as_mut()?.next()?;
            if let Some(entry) = self.read(guard) {
                return Some(entry);
            }
        }
    }
}

impl DoubleEndedIterator for Entries {
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            let guard = self.entries.as_mut()?.next_back()?;
            if let Some(entry) = self.read(guard) {
                return Some(entry);
            }
        }
    }
}

fn open_tables(folder: &Path, retired: &Arc<Retired>) -> fjall::Result<(Database, [Keyspace; TABLES.len()])> {
    let sieves = Arc::clone(retired);
    let database = Database::builder(folder)
        .cache_size(CACHE_BYTES)
        .max_journaling_size(JOURNAL_BYTES_MAX)
        // One writes out what is in memory, the other merges. (The first spins meanwhile; but with one alone there would be a single
        // merge for each table that is written out, and too many would wait.)
        .worker_threads(2)
        .with_compaction_filter_factories(Arc::new(move |name| {
            let is_retired = match name {
                "events" => Retired::has_event,
                "keys" => Retired::has_key,
                _ => return None,
            };
            let retired = AssertUnwindSafe(Arc::clone(&sieves));
            Some(Arc::new(Sieve { retired, is_retired }) as Arc<dyn Factory>)
        }))
        .open()?;
    let mut tables = Vec::with_capacity(TABLES.len());
    for (table, name) in TABLES {
        let memory = match table {
            Table::Events => EVENTS_MEMORY_BYTES,
            _ => TABLE_MEMORY_BYTES,
        };
        let options = || {
            let options = KeyspaceCreateOptions::default().max_memtable_size(memory);
            match table {
                // Looked for one by one only when it is opened.
                Table::Events => options.filter_policy(FilterPolicy::disabled()),
                _ => options,
            }
        };
        tables.push(database.keyspace(name, options)?);
    }
    let tables = tables.try_into().map_err(|_| fjall::Error::Unrecoverable)?;
    Ok((database, tables))
}

//! What an earlier run left in the store, and how the next one begins.
//!
//! Ids go on above those that were reserved. What the earlier run can't have lost is known again; what it may have lost is
//! a gap: memory-only channels by their marks, everything not synced after a loss of power, and what the store itself
//! lacks.

use std::sync::Arc;

use super::Durability;
use super::keys::{KeyHash, Keys};
use super::local::Options;
use super::record::{ChannelRecord, numbers, parse_numbers};
use super::store::{Change, Store, StoreError, StoreLock, Table};
use super::stored::{Stored, StoredChannels};
use super::tail::{TailState, unix_ms};
use super::writer::BLOCK;
use crate::channel::Channel;
use crate::id::{Epoch, EventId};

pub(super) const EPOCH: &[u8] = b"epoch";
const RUN: &[u8] = b"run";
const STATE: &[u8] = b"state";

/// What the store says of the whole log, in each batch.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LogRecord {
    pub(super) last_time_ms: u64,
    /// No seq above this was given.
    pub(super) reserved: u64,
    /// What holds for channels of which nothing is known, not stored and stored.
    pub(super) forgotten: u64,
    pub(super) stored_forgotten: u64,
    /// Cursors up to here are of before a loss of events.
    pub(super) lost: u64,
    pub(super) next_number: u64,
    pub(super) generation: u64,
    pub(super) generation_began_ms: u64,
}

impl LogRecord {
    pub(super) fn change(&self) -> Change {
        let value = numbers(&[
            self.last_time_ms,
            self.reserved,
            self.forgotten,
            self.stored_forgotten,
            self.lost,
            self.next_number,
            self.generation,
            self.generation_began_ms,
        ]);
        Change::put(Table::Meta, STATE, value)
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let [
            last_time_ms,
            reserved,
            forgotten,
            stored_forgotten,
            lost,
            next_number,
            generation,
            generation_began_ms,
        ] = parse_numbers(value)?;
        Some(Self {
            last_time_ms,
            reserved,
            forgotten,
            stored_forgotten,
            lost,
            next_number,
            generation,
            generation_began_ms,
        })
    }
}

/// What the log begins with.
pub(super) struct Restored {
    pub(super) epoch: Epoch,
    pub(super) position: u64,
    pub(super) reserved: u64,
    pub(super) lost: u64,
    pub(super) last_time_ms: u64,
    pub(super) keys: Keys,
    pub(super) tail: TailState,
    pub(super) stored: StoredChannels,
}

/// Reads what an earlier run left, and begins a new one.
pub(super) fn restore(store: &Store, lock: &StoreLock, options: &Options) -> Result<Restored, StoreError> {
    let damaged = |detail: &str| lock.damaged(detail);
    let boot = options.boot.clone();
    let mut changes = Vec::new();
    let mut epoch = Epoch::random();
    let mut log = LogRecord {
        generation: 1,
        generation_began_ms: unix_ms(),
        ..LogRecord::default()
    };
    let mut position = 0;
    let mut has_lost_memory = false;
    if let Some(text) = store.get(Table::Meta, EPOCH)? {
        let id = std::str::from_utf8(&text)
            .ok()
            .and_then(|text| format!("{text}-0").parse::<EventId>().ok());
        epoch = id.ok_or_else(|| damaged("its epoch makes no sense"))?.epoch();
        let state = store.get(Table::Meta, STATE)?;
        log = state
            .and_then(|state| LogRecord::decode(&state))
            .ok_or_else(|| damaged("its state makes no sense"))?;
        position = log.reserved;
        let run = store
            .get(Table::Meta, RUN)?
            .ok_or_else(|| damaged("its last run is missing"))?;
        let run = Run::parse(&run).ok_or_else(|| damaged("its last run makes no sense"))?;
        let lost = store.lost()?;
        if let Some(seq) = lost {
            tracing::error!(
                "the store lacks events that it had: a file in it was cut short or changed, or it is a copy of files of \
                 different moments; clients that were behind are told that something is missing"
            );
            log.reserved = log.reserved.max(seq);
            // No channel gets the events of one whose name is lost.
            let numbers = store.highest_number()?.map_or(0, |number| u64::from(number) + 1);
            log.next_number = log.next_number.max(numbers);
        }
        let has_lost_power = !run.is_closed && (boot.is_none() || run.boot != boot);
        if has_lost_power || lost.is_some() {
            // What was not synced may be gone. The first seq is left out, since a client may have the one before it as
            // its cursor.
            position = log.reserved + 1;
            has_lost_memory = true;
            if lost.is_some() || run.durability != Durability::Power {
                log.lost = log.reserved;
            }
        }
    } else if !lock.is_new() {
        return Err(damaged("its epoch is missing"));
    }
    changes.push(Change::put(Table::Meta, EPOCH, epoch.as_str().as_bytes().to_vec()));
    let run = Run {
        boot,
        durability: options.durability,
        is_closed: false,
    };
    changes.push(run.change());

    let mut tail = TailState::new(options.bounds, position);
    if has_lost_memory {
        log.forgotten = log.forgotten.max(log.reserved);
        for entry in store.prefix(Table::Marks, &[]) {
            changes.push(Change::remove(Table::Marks, &entry?.0));
        }
    }
    tail.set_forgotten(log.forgotten);
    let mut marks = Vec::new();
    if !has_lost_memory {
        for entry in store.prefix(Table::Marks, &[]) {
            let (name, value) = entry?;
            let [last] = parse_numbers(&value).ok_or_else(|| damaged("a mark makes no sense"))?;
            marks.push((
                last,
                channel(&name).ok_or_else(|| damaged("a channel's name makes no sense"))?,
            ));
        }
    }

    let mut stored = StoredChannels::new(u32::try_from(log.next_number).unwrap_or(u32::MAX), log.stored_forgotten);
    let mut names = store.prefix(Table::Names, &[]);
    for entry in store.prefix(Table::Channels, &[]) {
        let (key, value) = entry?;
        let number = key.as_ref().try_into().map(u32::from_be_bytes);
        let number = number.map_err(|_| damaged("a channel's number makes no sense"))?;
        let record = ChannelRecord::decode(&value).ok_or_else(|| damaged("a channel makes no sense"))?;
        let name = names.next().transpose()?.filter(|(other, _)| *other == key);
        let name = name.and_then(|(_, name)| channel(&name));
        let name = name.ok_or_else(|| damaged("a channel's name is missing"))?;
        if record.last > log.reserved {
            return Err(damaged("a channel has events above the reserved ids"));
        }
        match (options.history)(name.as_str()) {
            Some(retention) => stored.insert(&name, Stored::new(number, record, retention)),
            // It is no longer to be kept. Who comes back to it has a gap.
            None => {
                changes.push(Change::remove(Table::Names, &key));
                changes.push(Change::remove(Table::Channels, &key));
                changes.push(Change::put(
                    Table::Marks,
                    name.as_str().as_bytes(),
                    numbers(&[record.last]),
                ));
                marks.push((record.last, name));
            }
        }
    }
    marks.sort();
    for (last, name) in marks {
        if stored.get(name.as_str()).is_none() {
            tail.set_mark(name, last);
        }
    }
    tail.collect_dropped();

    let mut keys = Keys::new(log.generation, log.generation_began_ms);
    for generation in [log.generation.saturating_sub(1), log.generation] {
        for entry in store.prefix(Table::Keys, &generation.to_be_bytes()) {
            let (key, value) = entry?;
            let hash = key.get(8..).and_then(|hash| hash.try_into().ok());
            let hash = hash.ok_or_else(|| damaged("a publish key makes no sense"))?;
            let [seq, content] = parse_numbers(&value).ok_or_else(|| damaged("a publish key makes no sense"))?;
            keys.restore(generation, KeyHash(hash), seq, content);
        }
    }

    log.reserved = position + BLOCK;
    changes.push(log.change());
    store.write(changes, position, true)?;
    store.sync()?;
    store.retired.set(stored.retired());
    store.retired.retire_generations(log.generation.saturating_sub(1));
    if lock.is_new() {
        lock.begin()?;
    }
    Ok(Restored {
        epoch,
        position,
        reserved: log.reserved,
        lost: log.lost,
        last_time_ms: log.last_time_ms,
        keys,
        tail,
        stored,
    })
}

/// Who wrote the store last.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Which boot of the machine it was.
    pub(super) boot: Option<String>,
    pub(super) durability: Durability,
    /// It ended in order: all is on the disk.
    pub(super) is_closed: bool,
}

impl Run {
    pub(super) fn change(&self) -> Change {
        let text = format!(
            "{} {} {}",
            if self.is_closed { "closed" } else { "open" },
            if self.durability == Durability::Power {
                "power"
            } else {
                "process"
            },
            self.boot.as_deref().unwrap_or_default()
        );
        Change::put(Table::Meta, RUN, text.into_bytes())
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(text).ok()?.split(' ');
        Some(Self {
            is_closed: words.next()? == "closed",
            durability: match words.next()? {
                "power" => Durability::Power,
                _ => Durability::Process,
            },
            boot: words.next().filter(|boot| !boot.is_empty()).map(str::to_owned),
        })
    }
}

/// Tells one boot of the machine from another; none where the operating system doesn't say.
pub(super) fn boot_id() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(boot.trim().to_owned())
}

fn channel(name: &[u8]) -> Option<Channel> {
    std::str::from_utf8(name)
        .ok()
        .map(|name| Channel::stored(Arc::from(name)))
}

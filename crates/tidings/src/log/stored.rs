//! The channels that the store keeps, as they are known in memory.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use hashbrown::HashMap;

use super::record::{ChannelRecord, event_time, split_event_key};
use super::retention::Retention;
use super::store::{Store, StoreError};
use super::tail::milliseconds;
use crate::channel::Channel;
use crate::limits::{TRIM_EVENTS_MAX, TRIM_WINDOWS_MAX};

/// How many of a channel's oldest events are looked up at once when some have to go.
const WINDOW_EVENTS: usize = 128;

/// All stored channels.
pub(super) struct StoredChannels {
    entries: HashMap<Channel, Stored>,
    /// The number that the next new channel gets.
    pub(super) next_number: u32,
    /// The highest trim mark among stored channels that are no longer remembered.
    pub(super) forgotten: u64,
    /// Channels that have become empty, the longest so first, with the trim mark they had then.
    pub(super) emptied: VecDeque<(Channel, u64)>,
    /// When which channel may have something to let go of.
    due: BinaryHeap<Reverse<(u64, Channel)>>,
    /// Channels with a window, the one that has had it longest first.
    windowed: VecDeque<Channel>,
}

/// A stored channel.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) number: u32,
    pub(super) record: ChannelRecord,
    pub(super) retention: Retention,
    window: Window,
    /// It has an entry in `due`.
    is_due: bool,
    /// It has an entry in `windowed`.
    is_windowed: bool,
}

/// A channel's oldest events, looked up ahead.
#[derive(Clone, Default)]
struct Window {
    oldest: VecDeque<Item>,
    /// These are all that the channel retains.
    is_complete: bool,
}

/// What has to be known of an event to let it go.
#[derive(Clone, Copy)]
struct Item {
    seq: u64,
    time_ms: u64,
    bytes: u64,
}

impl StoredChannels {
    pub(super) fn new(next_number: u32, forgotten: u64) -> Self {
        Self {
            entries: HashMap::new(),
            next_number,
            forgotten,
            emptied: VecDeque::new(),
            due: BinaryHeap::new(),
            windowed: VecDeque::new(),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Stored> {
        self.entries.get(name)
    }

    /// By channel number, up to where what is in the store is no longer retained.
    pub(super) fn retired(&self) -> Vec<u64> {
        let mut retired = vec![u64::MAX; self.next_number as usize];
        for stored in self.entries.values() {
            retired[stored.number as usize] = stored.record.trimmed;
        }
        retired
    }

    /// Puts in a channel that has changed, or is new.
    pub(super) fn insert(&mut self, name: &Channel, mut stored: Stored) {
        let next_number = stored.number.saturating_add(1);
        self.next_number = self.next_number.max(next_number);
        let mut was_empty = false;
        if let Some(now) = self.entries.get(name.as_str()) {
            was_empty = now.record.count == 0;
            stored.is_due = now.is_due;
            stored.is_windowed = now.is_windowed;
        }
        if stored.record.count == 0 && !was_empty {
            self.emptied.push_back((name.clone(), stored.record.trimmed));
        }
        if let Some(due_ms) = stored.due_ms()
            && !stored.is_due
        {
            stored.is_due = true;
            self.due.push(Reverse((due_ms, name.clone())));
        }
        if !stored.window.oldest.is_empty() && !stored.is_windowed {
            stored.is_windowed = true;
            self.windowed.push_back(name.clone());
        }
        self.entries.insert(name.clone(), stored);
        while self.windowed.len() > TRIM_WINDOWS_MAX {
            let longest = self.windowed.pop_front();
            if let Some(stored) = longest.and_then(|name| self.entries.get_mut(name.as_str())) {
                stored.is_windowed = false;
                stored.window = Window::default();
            }
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some(stored) = self.entries.remove(name) {
            self.forgotten = self.forgotten.max(stored.record.trimmed);
        }
    }

    /// Takes a channel out to change it, with what was looked up ahead. It stays as it was until it is put in again.
    pub(super) fn take(&mut self, name: &str) -> Option<Stored> {
        let stored = self.entries.get_mut(name)?;
        let window = std::mem::take(&mut stored.window);
        Some(Stored {
            window,
            ..stored.clone()
        })
    }

    /// A channel that was taken out could not be changed.
    pub(super) fn keep(&mut self, name: &Channel) {
        if let Some(stored) = self.entries.get(name.as_str()) {
            let stored = stored.clone();
            self.insert(name, stored);
        }
    }

    /// Channels that may have something to let go of by now; they have to be put in again.
    pub(super) fn take_due(&mut self, now_ms: u64, channels_max: usize) -> Vec<Channel> {
        let mut names = Vec::new();
        while names.len() < channels_max
            && let Some(Reverse((due_ms, _))) = self.due.peek()
            && *due_ms <= now_ms
            && let Some(Reverse((_, name))) = self.due.pop()
        {
            if let Some(stored) = self.entries.get_mut(name.as_str()) {
                stored.is_due = false;
                names.push(name);
            }
        }
        names
    }
}

impl Stored {
    pub(super) fn new(number: u32, record: ChannelRecord, retention: Retention) -> Self {
        Self {
            number,
            record,
            retention,
            window: Window {
                oldest: VecDeque::new(),
                is_complete: record.count == 0,
            },
            is_due: false,
            is_windowed: false,
        }
    }

    /// What was published before this is over its time.
    pub(super) fn cutoff_ms(&self, now_ms: u64) -> Option<u64> {
        self.retention
            .time
            .map(|time| now_ms.saturating_sub(milliseconds(time)))
    }

    /// When something has to go, if nothing is published until then.
    fn due_ms(&self) -> Option<u64> {
        if self.record.count == 0 {
            return None;
        }
        if self.is_over() {
            return Some(0);
        }
        let time = self.retention.time?;
        Some(
            self.record
                .oldest_time_ms
                .saturating_add(milliseconds(time))
                .saturating_add(1),
        )
    }

    /// It is over a limit that does not depend on the time.
    fn is_over(&self) -> bool {
        let Retention { keep, bytes, .. } = self.retention;
        keep.is_some_and(|keep| self.record.count > keep)
            || bytes.is_some_and(|bytes| self.record.bytes > bytes && self.record.count > 1)
    }
}

/// A stored channel as it will be when the batch that is being made is kept.
pub(super) struct Change {
    pub(super) stored: Stored,
    /// How it is now; none for a new one.
    pub(super) before: Option<ChannelRecord>,
    /// What this batch adds and the window does not hold.
    fresh: VecDeque<Item>,
}

impl Change {
    pub(super) fn new(stored: Stored, is_new: bool) -> Self {
        let before = (!is_new).then_some(stored.record);
        Self {
            stored,
            before,
            fresh: VecDeque::new(),
        }
    }

    /// Adds an event.
    pub(super) fn add(&mut self, seq: u64, time_ms: u64, bytes: u64) {
        let Stored { record, window, .. } = &mut self.stored;
        if record.count == 0 {
            record.oldest_time_ms = time_ms;
        }
        record.count += 1;
        record.bytes += bytes;
        record.last = seq;
        record.last_time_ms = time_ms;
        let item = Item { seq, time_ms, bytes };
        window.is_complete &= window.oldest.len() < WINDOW_EVENTS;
        if window.is_complete {
            window.oldest.push_back(item);
        } else {
            self.fresh.push_back(item);
        }
    }

    /// Lets go of what is over the limits; of very much not all at once.
    pub(super) fn trim(&mut self, store: &Store, now_ms: u64) -> Result<(), StoreError> {
        let cutoff_ms = self.stored.cutoff_ms(now_ms).unwrap_or(0);
        for _ in 0..TRIM_EVENTS_MAX {
            let record = &self.stored.record;
            let is_over = self.stored.is_over();
            if record.count == 0 || !is_over && record.oldest_time_ms >= cutoff_ms {
                break;
            }
            if self.stored.window.oldest.is_empty() {
                self.look_up(store)?;
            }
            let Stored { record, window, .. } = &mut self.stored;
            let Some(oldest) = window.oldest.front().copied() else {
                // The store has less than was counted; all that is left is the counts.
                record.count = 0;
                record.bytes = 0;
                record.trimmed = record.last;
                break;
            };
            record.oldest_time_ms = oldest.time_ms;
            if !is_over && oldest.time_ms >= cutoff_ms {
                break;
            }
            window.oldest.pop_front();
            record.count -= 1;
            record.bytes = record.bytes.saturating_sub(oldest.bytes);
            record.trimmed = oldest.seq;
            if let Some(next) = window.oldest.front() {
                record.oldest_time_ms = next.time_ms;
            }
        }
        Ok(())
    }

    /// Looks up the oldest events that are retained.
    fn look_up(&mut self, store: &Store) -> Result<(), StoreError> {
        let Stored {
            number, record, window, ..
        } = &mut self.stored;
        let last = self.before.map_or(0, |before| before.last);
        if record.trimmed < last {
            for entry in store.events(*number, record.trimmed + 1, last).take(WINDOW_EVENTS) {
                let (key, value) = entry?;
                if let (Some((_, seq)), Some(time_ms)) = (split_event_key(&key), event_time(&value)) {
                    let bytes = value.len() as u64;
                    window.oldest.push_back(Item { seq, time_ms, bytes });
                }
            }
        }
        if window.oldest.len() < WINDOW_EVENTS {
            window.oldest.append(&mut self.fresh);
            window.is_complete = true;
        }
        Ok(())
    }
}

//! The memory tail: the latest events of all channels, retained for two minutes, bounded in bytes per channel and in all.
//!
//! Over the bound in all, the channel that holds most gives way first, so that a noisy channel does not
//! take the others' two minutes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hashbrown::HashMap;

use super::count::Tally;
use super::{Cursor, From, History, Page, PageLimit, Retained, Tail};
use crate::channel::Channel;
use crate::event::Event;
use crate::limits::{EMPTY_CHANNELS_MAX, Limits};

/// So many places without an event stay at the beginning.
const EMPTY_SLOTS: usize = 1_024;

/// How much is retained.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) time: Duration,
    pub(crate) channel_bytes: usize,
    pub(crate) bytes: usize,
}

impl Bounds {
    pub(crate) fn of(limits: &Limits) -> Self {
        Self {
            time: limits.tail_time,
            channel_bytes: limits.tail_channel_bytes,
            bytes: limits.tail_bytes,
        }
    }
}

pub(super) struct TailState {
    bounds: Bounds,
    /// The seq of `slots[0]`.
    first_seq: u64,
    slots: VecDeque<Slot>,
    channels: HashMap<Channel, ChannelEvents>,
    /// Channels by the size class they last grew into; entries go stale and are then skipped.
    largest: BinaryHeap<(u32, Channel)>,
    /// Channels that have become empty, the longest so first, with the trim mark they had then.
    emptied: VecDeque<(Channel, u64)>,
    /// The highest trim mark among channels that are no longer remembered, but for those that the store keeps.
    forgotten: u64,
    /// Channels that were forgotten since this was last taken, when someone asked for them.
    dropped: Option<Vec<Channel>>,
    bytes: usize,
    events: usize,
}

struct Slot {
    event: Option<Arc<Event>>,
    /// How many channels still hold it.
    holders: usize,
    /// No event was ever kept here, so nobody can miss it.
    is_hole: bool,
}

/// What one channel holds.
#[derive(Default)]
struct ChannelEvents {
    seqs: VecDeque<u64>,
    bytes: usize,
    /// The highest seq of this channel that is no longer retained here.
    trimmed: u64,
    /// The size class of its entry in `largest`.
    class: u32,
    /// The store has its events too.
    is_stored: bool,
}

/// A channel as the tail knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    /// The highest seq of this channel that is no longer in memory.
    pub(super) trimmed: u64,
    /// The seq of its newest event, in memory or gone.
    pub(super) last: u64,
}

impl TailState {
    pub(super) fn new(bounds: Bounds, position: u64) -> Self {
        Self {
            bounds,
            first_seq: position + 1,
            slots: VecDeque::new(),
            channels: HashMap::new(),
            largest: BinaryHeap::new(),
            emptied: VecDeque::new(),
            forgotten: 0,
            dropped: None,
            bytes: 0,
            events: 0,
        }
    }

    /// The seq that comes next.
    pub(super) fn next_seq(&self) -> u64 {
        self.first_seq + self.slots.len() as u64
    }

    /// The mark below which nothing is known of channels that are not remembered.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Remembers what was forgotten before this log was opened.
    pub(super) fn set_forgotten(&mut self, forgotten: u64) {
        self.forgotten = self.forgotten.max(forgotten);
    }

    /// Remembers that the events of a channel up to this one are gone. The marks of several are to be given in their order.
    pub(super) fn set_mark(&mut self, name: Channel, last: u64) {
        let channel = self.channels.entry(name.clone()).or_default();
        channel.trimmed = channel.trimmed.max(last);
        self.emptied.push_back((name, last));
    }

    /// From now on, collects the names of channels that are forgotten.
    pub(super) fn collect_dropped(&mut self) {
        self.dropped.get_or_insert_default();
    }

    pub(super) fn take_dropped(&mut self) -> Vec<Channel> {
        self.dropped.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn known(&self, name: &str) -> Option<Known> {
        self.channels.get(name).map(|channel| Known {
            trimmed: channel.trimmed,
            last: channel.seqs.back().copied().unwrap_or(channel.trimmed),
        })
    }

    /// The seq of the newest event that is retained; 0 when there is none.
    pub(super) fn last(&self, name: &str) -> u64 {
        let channel = self.channels.get(name);
        channel.and_then(|channel| channel.seqs.back().copied()).unwrap_or(0)
    }

    /// The seq of the newest event that was ever published, or a higher one.
    pub(super) fn newest(&self, name: &str) -> u64 {
        self.known(name).map_or(self.forgotten, |known| known.last)
    }

    /// The next places up to `last` stay empty: an event could not be kept, or it was none.
    pub(super) fn push_holes(&mut self, last: u64) {
        while self.next_seq() <= last {
            self.slots.push_back(Slot {
                event: None,
                holders: 0,
                is_hole: true,
            });
        }
    }

    /// Puts the event in the next place, which has to be its own. `stored` tells of a channel that the store keeps too
    /// up to where it did so before.
    pub(super) fn push(&mut self, event: Arc<Event>, stored: impl Fn(&Channel) -> Option<u64>) {
        let bytes = event.bytes();
        let time_ms = event.time_ms;
        let mut holders = 0;
        for name in &event.draft.channels {
            let channel = self.channels.entry(name.clone()).or_insert_with(|| {
                // What was before is not here, be it in the store, forgotten, or nothing.
                let stored = stored(name);
                ChannelEvents {
                    trimmed: stored.unwrap_or(self.forgotten),
                    is_stored: stored.is_some(),
                    ..ChannelEvents::default()
                }
            });
            if channel.seqs.back() == Some(&event.seq) {
                continue; // the same channel named twice
            }
            holders += 1;
            channel.seqs.push_back(event.seq);
            channel.bytes += bytes;
            let class = channel.bytes.ilog2();
            if class > channel.class {
                channel.class = class;
                self.largest.push((class, name.clone()));
            }
        }
        self.bytes += bytes;
        self.events += 1;
        self.slots.push_back(Slot {
            event: Some(Arc::clone(&event)),
            holders,
            is_hole: false,
        });
        self.enforce(&event.draft.channels, time_ms);
    }

    /// The events after `after`, in order.
    pub(super) fn tail(&self, after: u64, events_max: usize, out: &mut Vec<Arc<Event>>) -> Tail {
        let mut tail = Tail {
            position: after,
            missed: after + 1 < self.first_seq,
        };
        if tail.missed {
            tail.position = self.first_seq - 1;
        }
        let skip = usize::try_from(tail.position + 1 - self.first_seq).unwrap_or(usize::MAX);
        for slot in self.slots.range(skip.min(self.slots.len())..).take(events_max) {
            match &slot.event {
                Some(event) => out.push(Arc::clone(event)),
                None => tail.missed |= !slot.is_hole,
            }
            tail.position += 1;
        }
        tail
    }

    /// A page of what memory holds for these cursors, without its gaps.
    pub(super) fn page(&self, cursors: &[Cursor], until: u64, limit: PageLimit) -> Page {
        let mut page = Page {
            events: Vec::new(),
            next: until,
            gaps: Vec::new(),
        };
        // The next event of each channel; equal seqs come out together, the first-named channel first.
        let mut heads = BinaryHeap::new();
        for (index, cursor) in cursors.iter().enumerate() {
            let Some(channel) = self.channels.get(cursor.channel.as_str()) else {
                continue;
            };
            let at = channel.seqs.partition_point(|seq| *seq <= cursor.after);
            if let Some(seq) = channel.seqs.get(at) {
                heads.push(Reverse((*seq, index, at)));
            }
        }
        let mut bytes = 0;
        let mut last = 0;
        while let Some(Reverse((seq, index, at))) = heads.pop() {
            if seq > until {
                break;
            }
            if let Some(channel) = self.channels.get(cursors[index].channel.as_str())
                && let Some(next) = channel.seqs.get(at + 1)
            {
                heads.push(Reverse((*next, index, at + 1)));
            }
            if seq == last {
                continue;
            }
            let Some(event) = self.get(seq) else { continue };
            if !page.events.is_empty() && (page.events.len() >= limit.events || bytes + event.bytes() > limit.bytes) {
                page.next = last;
                break;
            }
            bytes += event.bytes();
            last = seq;
            page.events.push((index, Arc::clone(event)));
        }
        page
    }

    /// What one channel holds after `after` and up to `until`, at most `events_max`.
    pub(super) fn events(&self, name: &str, after: u64, until: u64, events_max: usize) -> Vec<Arc<Event>> {
        let Some(channel) = self.channels.get(name) else {
            return Vec::new();
        };
        let from = channel.seqs.partition_point(|seq| *seq <= after);
        let seqs = channel.seqs.range(from..).take_while(|seq| **seq <= until);
        seqs.take(events_max)
            .filter_map(|seq| self.get(*seq).cloned())
            .collect()
    }

    /// Counts what one channel holds after `after` that is not from before `cutoff_ms`.
    pub(super) fn count(&self, name: &str, after: u64, cutoff_ms: u64, tally: &mut Tally<'_>) {
        let Some(channel) = self.channels.get(name) else { return };
        let from = channel.seqs.partition_point(|seq| *seq <= after);
        for event in channel.seqs.range(from..).filter_map(|seq| self.get(*seq)) {
            let is_own = event.draft.user.as_deref() == Some(tally.not_by);
            if event.time_ms >= cutoff_ms && !tally.take(is_own) {
                return;
            }
        }
    }

    pub(super) fn history(&self, name: &str, from: From, limit: PageLimit) -> History {
        let mut history = History {
            events: Vec::new(),
            more: false,
        };
        let Some(seqs) = self.channels.get(name).map(|channel| &channel.seqs) else {
            return history;
        };
        let forward = matches!(from, From::After(_));
        let range = match from {
            From::Newest => 0..seqs.len(),
            From::Before(seq) => 0..seqs.partition_point(|other| *other < seq),
            From::After(seq) => seqs.partition_point(|other| *other <= seq)..seqs.len(),
        };
        let mut seqs = seqs.range(range);
        let mut bytes = 0;
        while let Some(seq) = if forward { seqs.next() } else { seqs.next_back() } {
            let Some(event) = self.get(*seq) else { continue };
            bytes += event.bytes();
            let is_full = history.events.len() >= limit.events || bytes > limit.bytes;
            if is_full && !history.events.is_empty() {
                history.more = true;
                break;
            }
            history.events.push(Arc::clone(event));
        }
        if !forward {
            history.events.reverse();
        }
        history
    }

    pub(super) fn retained(&self) -> Retained {
        Retained {
            events: self.events,
            bytes: self.bytes,
            channels: self.channels.len(),
        }
    }

    fn get(&self, seq: u64) -> Option<&Arc<Event>> {
        let index = usize::try_from(seq.checked_sub(self.first_seq)?).ok()?;
        self.slots.get(index)?.event.as_ref()
    }

    fn enforce(&mut self, channels: &[Channel], now_ms: u64) {
        for name in channels {
            while self
                .channels
                .get(name.as_str())
                .is_some_and(|channel| channel.bytes > self.bounds.channel_bytes && channel.seqs.len() > 1)
            {
                self.trim_oldest(name);
            }
        }
        while self.bytes > self.bounds.bytes && self.events > 1 && self.trim_largest() {}
        self.expire(now_ms);
    }

    pub(super) fn expire(&mut self, now_ms: u64) {
        let oldest_ms = now_ms.saturating_sub(milliseconds(self.bounds.time));
        while let Some(slot) = self.slots.front() {
            match &slot.event {
                Some(event) if event.time_ms >= oldest_ms => break,
                Some(event) => {
                    let event = Arc::clone(event);
                    for name in &event.draft.channels {
                        if self
                            .channels
                            .get(name.as_str())
                            .is_some_and(|channel| channel.seqs.front() == Some(&event.seq))
                        {
                            self.trim_oldest(name);
                        }
                    }
                }
                // Who reads the tail is not behind for what was no event.
                None if self.slots.len() <= EMPTY_SLOTS => break,
                None => {}
            }
            self.slots.pop_front();
            self.first_seq += 1;
        }
        while self.emptied.len() > EMPTY_CHANNELS_MAX {
            self.forget_emptied();
        }
    }

    /// The channel lets go of its oldest event.
    fn trim_oldest(&mut self, name: &Channel) {
        let Some(channel) = self.channels.get_mut(name.as_str()) else {
            return;
        };
        let Some(seq) = channel.seqs.pop_front() else { return };
        channel.trimmed = seq;
        let index = usize::try_from(seq - self.first_seq).unwrap_or(usize::MAX);
        let slot = &mut self.slots[index];
        let bytes = slot.event.as_ref().map_or(0, |event| event.bytes());
        channel.bytes -= bytes;
        if channel.seqs.is_empty() {
            channel.class = 0;
            channel.seqs = VecDeque::new();
            self.emptied.push_back((name.clone(), seq));
        }
        slot.holders -= 1;
        if slot.holders == 0 {
            slot.event = None;
            self.bytes -= bytes;
            self.events -= 1;
        }
    }

    /// The channel that holds most lets go of its oldest event; false when no channel holds any.
    fn trim_largest(&mut self) -> bool {
        while let Some((class, name)) = self.largest.pop() {
            let Some(channel) = self.channels.get_mut(name.as_str()) else {
                continue;
            };
            if channel.class != class || channel.seqs.is_empty() {
                continue;
            }
            let now = channel.bytes.ilog2();
            if now < class {
                channel.class = now;
                self.largest.push((now, name));
                continue;
            }
            self.largest.push((class, name.clone()));
            self.trim_oldest(&name);
            return true;
        }
        false
    }

    /// Forgets the channel that has been empty longest, unless it has got events since.
    fn forget_emptied(&mut self) {
        let Some((name, trimmed)) = self.emptied.pop_front() else {
            return;
        };
        if let Some(channel) = self.channels.get(name.as_str())
            && channel.seqs.is_empty()
            && channel.trimmed == trimmed
        {
            if !channel.is_stored {
                self.forgotten = self.forgotten.max(trimmed);
            }
            self.channels.remove(name.as_str());
            if let Some(dropped) = &mut self.dropped {
                dropped.push(name);
            }
        }
    }

    /// The bytes of all events it holds, counted anew.
    #[cfg(test)]
    pub(super) fn count_bytes(&self) -> usize {
        let events = self.slots.iter().filter_map(|slot| slot.event.as_ref());
        events.map(|event| event.bytes()).sum()
    }
}

pub(super) fn unix_ms() -> u64 {
    milliseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::log::conformance::draft;

    const ROOMY: Bounds = Bounds {
        time: Duration::from_secs(120),
        channel_bytes: 1 << 20,
        bytes: 1 << 22,
    };

    fn push(tail: &mut TailState, channels: &[&str], bytes: usize, time_ms: u64) -> u64 {
        let seq = tail.next_seq();
        let draft = draft(channels, &"1".repeat(bytes));
        tail.push(Arc::new(Event { seq, time_ms, draft }), |_| None);
        seq
    }

    #[test]
    fn the_largest_channel_gives_way_first() {
        let mut tail = TailState::new(Bounds { bytes: 40_000, ..ROOMY }, 0);
        push(&mut tail, &["quiet"], 100, 1);
        for _ in 0..50 {
            push(&mut tail, &["noisy"], 1_000, 1);
        }
        assert_eq!((tail.last("quiet"), tail.known("quiet").unwrap().trimmed), (1, 0));
        assert!(tail.known("noisy").unwrap().trimmed > 1);
        assert!(tail.retained().bytes <= 40_000);
    }

    #[test]
    fn a_channel_is_bounded_and_one_event_always_fits() {
        let bounds = Bounds {
            channel_bytes: 10_000,
            ..ROOMY
        };
        let mut tail = TailState::new(bounds, 0);
        push(&mut tail, &["a"], 50_000, 1);
        assert_eq!(tail.retained().events, 1);
        push(&mut tail, &["a"], 1, 1);
        assert_eq!(tail.retained().events, 1);
        let mut out = Vec::new();
        let (position, missed) = (2, true);
        assert_eq!(tail.tail(0, 10, &mut out), Tail { position, missed });
        assert_eq!(out.len(), 1);
        let missed = false;
        assert_eq!(tail.tail(1, 10, &mut out), Tail { position, missed });
    }

    #[test]
    fn what_is_over_its_time_goes() {
        let mut tail = TailState::new(ROOMY, 0);
        push(&mut tail, &["a"], 1, 1_000);
        tail.expire(121_000);
        assert_eq!(tail.retained().events, 1);
        tail.expire(121_001);
        assert_eq!(tail.retained().events, 0);
        assert_eq!(tail.known("a"), Some(Known { trimmed: 1, last: 1 }));
    }

    #[test]
    fn a_hole_is_nothing_that_is_missed() {
        let mut tail = TailState::new(ROOMY, 0);
        push(&mut tail, &["a"], 1, 1);
        tail.push_holes(tail.next_seq());
        push(&mut tail, &["a"], 1, 1);
        let mut out = Vec::new();
        let (position, missed) = (3, false);
        assert_eq!(tail.tail(0, 10, &mut out), Tail { position, missed });
        assert_eq!(out.len(), 2);
    }

    #[test]
    fn of_very_many_empty_channels_the_oldest_are_forgotten_but_their_losses_are_not() {
        let bounds = Bounds {
            bytes: usize::MAX,
            ..ROOMY
        };
        let mut tail = TailState::new(bounds, 0);
        tail.collect_dropped();
        for number in 0..EMPTY_CHANNELS_MAX + 10 {
            push(&mut tail, &[&number.to_string()], 1, 1);
        }
        tail.expire(1_000_000);
        assert_eq!(tail.retained().channels, EMPTY_CHANNELS_MAX);
        assert_eq!((tail.known("9"), tail.forgotten()), (None, 10));
        assert_eq!(tail.take_dropped().len(), 10);
        // Published to again, it still lacks what it had.
        push(&mut tail, &["9"], 1, 1_000_000);
        assert_eq!(tail.known("9").unwrap().trimmed, 10);
    }

    proptest! {
        #[test]
        fn bytes_are_counted_right(
            sizes in prop::collection::vec((0_usize..4, 0_usize..4, 1_usize..3_000, 0_u64..60_000), 1..200),
            channel_bytes in 2_000_usize..20_000,
            bytes in 2_000_usize..40_000,
        ) {
            let names = ["a", "b", "c", "d"];
            let mut tail = TailState::new(Bounds { channel_bytes, bytes, ..ROOMY }, 7);
            let mut now_ms = 1;
            for (first, second, size, passed_ms) in sizes {
                now_ms += passed_ms;
                push(&mut tail, &[names[first], names[second]], size, now_ms);
                prop_assert_eq!(tail.retained().bytes, tail.count_bytes());
                prop_assert!(tail.retained().bytes <= bytes || tail.retained().events == 1);
            }
        }
    }
}

//! The log in memory: everything is retained for two minutes, bounded in bytes per channel and in all.
//!
//! Over the bound in all, the channel that holds most gives way first, so that a noisy channel does not
//! take the others' two minutes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::Mutex;

use super::{Appending, Cursor, Durability, From, History, Log, Page, PageLimit, Receipt, Retained, Since, Tail};
use crate::channel::Channel;
use crate::error::{Error, Result};
use crate::event::{Draft, Event};
use crate::id::{Epoch, EventId};

/// How much is retained.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    pub(crate) time: Duration,
    pub(crate) channel_bytes: usize,
    pub(crate) bytes: usize,
}

/// Channels without events whose trim mark is remembered.
const EMPTY_CHANNELS_MAX: usize = 16_384;

pub(crate) struct MemoryLog {
    epoch: Epoch,
    retention: Retention,
    position: AtomicU64,
    state: Mutex<State>,
}

struct State {
    /// The seq of `slots[0]`.
    first_seq: u64,
    slots: VecDeque<Slot>,
    channels: HashMap<Channel, ChannelEvents>,
    /// Channels by the size class they last grew into; entries go stale and are then skipped.
    largest: BinaryHeap<(u32, Channel)>,
    /// Channels that have become empty, the longest so first, with the trim mark they had then.
    emptied: VecDeque<(Channel, u64)>,
    /// The highest trim mark among channels that are no longer remembered.
    forgotten: u64,
    bytes: usize,
    events: usize,
    last_time_ms: u64,
}

struct Slot {
    event: Option<Arc<Event>>,
    /// How many channels still hold it.
    holders: usize,
}

/// What one channel holds.
#[derive(Default)]
struct ChannelEvents {
    seqs: VecDeque<u64>,
    bytes: usize,
    /// The highest seq of this channel that is no longer retained.
    trimmed: u64,
    /// The size class of its entry in `largest`.
    class: u32,
}

impl MemoryLog {
    pub(crate) fn new(retention: Retention) -> Self {
        Self {
            epoch: Epoch::random(),
            retention,
            position: AtomicU64::new(0),
            state: Mutex::new(State {
                first_seq: 1,
                slots: VecDeque::new(),
                channels: HashMap::new(),
                largest: BinaryHeap::new(),
                emptied: VecDeque::new(),
                forgotten: 0,
                bytes: 0,
                events: 0,
                last_time_ms: 0,
            }),
        }
    }
}

impl Log for MemoryLog {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn append(&self, draft: Draft) -> Appending {
        let mut state = self.state.lock();
        let now_ms = unix_ms().max(state.last_time_ms);
        state.last_time_ms = now_ms;
        let seq = state.first_seq + state.slots.len() as u64;
        let event = Arc::new(Event {
            seq,
            time_ms: now_ms,
            draft,
        });
        state.insert(Arc::clone(&event));
        state.enforce(&self.retention, &event.draft.channels, now_ms);
        self.position.store(seq, Ordering::Release);
        Appending::Done(Ok(Receipt {
            id: EventId::new(self.epoch, seq),
            duplicate: false,
            durability: Durability::Memory,
        }))
    }

    fn assigned(&self) -> u64 {
        self.position()
    }

    fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    fn tail(&self, after: u64, events_max: usize, out: &mut Vec<Arc<Event>>) -> Tail {
        let state = self.state.lock();
        let mut tail = Tail {
            position: after,
            missed: after + 1 < state.first_seq,
        };
        if tail.missed {
            tail.position = state.first_seq - 1;
        }
        let skip = usize::try_from(tail.position + 1 - state.first_seq).unwrap_or(usize::MAX);
        for slot in state.slots.range(skip.min(state.slots.len())..).take(events_max) {
            match &slot.event {
                Some(event) => out.push(Arc::clone(event)),
                None => tail.missed = true,
            }
            tail.position += 1;
        }
        tail
    }

    fn read_tail(&self, cursors: &[Cursor], until: u64, limit: PageLimit) -> Option<Page> {
        let state = self.state.lock();
        let mut page = Page {
            events: Vec::new(),
            next: until,
            gaps: Vec::new(),
        };
        // The next event of each channel; equal seqs come out together, the first-named channel first.
        let mut heads = BinaryHeap::new();
        for (index, cursor) in cursors.iter().enumerate() {
            let Some(channel) = state.channels.get(cursor.channel.as_str()) else {
                continue;
            };
            if channel.trimmed > cursor.after {
                page.gaps.push(index);
            }
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
            if let Some(channel) = state.channels.get(cursors[index].channel.as_str())
                && let Some(next) = channel.seqs.get(at + 1)
            {
                heads.push(Reverse((*next, index, at + 1)));
            }
            if seq == last {
                continue;
            }
            let Some(event) = state.get(seq) else { continue };
            if !page.events.is_empty() && (page.events.len() >= limit.events || bytes + event.bytes() > limit.bytes) {
                page.next = last;
                break;
            }
            bytes += event.bytes();
            last = seq;
            page.events.push((index, Arc::clone(event)));
        }
        Some(page)
    }

    fn read(&self, cursors: &[Cursor], until: u64, limit: PageLimit) -> Result<Page> {
        Ok(self.read_tail(cursors, until, limit).unwrap_or(Page {
            events: Vec::new(),
            next: until,
            gaps: Vec::new(),
        }))
    }

    fn history(&self, channel: &Channel, from: From, limit: PageLimit) -> Result<History> {
        let state = self.state.lock();
        let mut history = History {
            events: Vec::new(),
            more: false,
        };
        let Some(seqs) = state.channels.get(channel.as_str()).map(|channel| &channel.seqs) else {
            return Ok(history);
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
            let Some(event) = state.get(*seq) else { continue };
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
        Ok(history)
    }

    fn last(&self, channel: &Channel) -> u64 {
        let state = self.state.lock();
        let channel = state.channels.get(channel.as_str());
        channel.and_then(|channel| channel.seqs.back().copied()).unwrap_or(0)
    }

    fn check(&self, id: EventId) -> Since {
        if id.epoch() == self.epoch && id.seq() <= self.position() {
            Since::Known(id.seq())
        } else {
            Since::Unknown
        }
    }

    fn durability(&self, _: &Channel) -> Durability {
        Durability::Memory
    }

    fn put(&self, _: Bytes, _: Option<Bytes>) {}

    fn records(&self, _: &[u8]) -> Vec<(Bytes, Bytes)> {
        Vec::new()
    }

    fn expire(&self) {
        self.state.lock().expire(&self.retention, unix_ms());
    }

    fn retained(&self) -> Retained {
        let state = self.state.lock();
        Retained {
            events: state.events,
            bytes: state.bytes,
            channels: state.channels.len(),
        }
    }

    fn failure(&self) -> Option<Error> {
        None
    }

    fn close(&self) {}
}

impl State {
    fn get(&self, seq: u64) -> Option<&Arc<Event>> {
        let index = usize::try_from(seq.checked_sub(self.first_seq)?).ok()?;
        self.slots.get(index)?.event.as_ref()
    }

    fn insert(&mut self, event: Arc<Event>) {
        let bytes = event.bytes();
        let mut holders = 0;
        for name in &event.draft.channels {
            let channel = self.channels.entry(name.clone()).or_default();
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
            event: Some(event),
            holders,
        });
    }

    fn enforce(&mut self, retention: &Retention, channels: &[Channel], now_ms: u64) {
        for name in channels {
            while self
                .channels
                .get(name.as_str())
                .is_some_and(|channel| channel.bytes > retention.channel_bytes && channel.seqs.len() > 1)
            {
                self.trim_oldest(name);
            }
        }
        while self.bytes > retention.bytes && self.events > 1 && self.trim_largest() {}
        self.expire(retention, now_ms);
    }

    fn expire(&mut self, retention: &Retention, now_ms: u64) {
        let oldest_ms = now_ms.saturating_sub(u64::try_from(retention.time.as_millis()).unwrap_or(u64::MAX));
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
            self.channels.remove(name.as_str());
            self.forgotten = self.forgotten.max(trimmed);
        }
    }
}

fn unix_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smallvec::smallvec;

    use super::*;
    use crate::event::Message;

    const ROOMY: Retention = Retention {
        time: Duration::from_secs(120),
        channel_bytes: 1 << 20,
        bytes: 1 << 22,
    };
    const ALL: PageLimit = PageLimit {
        events: usize::MAX,
        bytes: usize::MAX,
    };

    fn append(log: &MemoryLog, draft: Draft) -> u64 {
        match log.append(draft) {
            Appending::Done(Ok(receipt)) => receipt.id.seq(),
            other => panic!("{other:?}"),
        }
    }

    fn draft(channels: &[&str], bytes: usize) -> Draft {
        Draft {
            channels: channels.iter().map(|name| Channel::room("/", name).unwrap()).collect(),
            except: smallvec![],
            message: Message {
                name: Arc::from("e"),
                arguments: Bytes::from(vec![b'1'; bytes]),
                attachments: Vec::new(),
            },
            user: None,
            key: None,
        }
    }

    fn cursors(channels: &[(&str, u64)]) -> Vec<Cursor> {
        channels
            .iter()
            .map(|(name, after)| Cursor {
                channel: Channel::room("/", name).unwrap(),
                after: *after,
            })
            .collect()
    }

    fn seqs(page: &Page) -> Vec<u64> {
        page.events.iter().map(|(_, event)| event.seq).collect()
    }

    #[test]
    fn a_page_has_each_event_once_in_order_and_ends_at_its_limit() {
        let log = MemoryLog::new(ROOMY);
        for channels in [&["a"][..], &["b"], &["a", "b"], &["c"], &["b"]] {
            append(&log, draft(channels, 1));
        }
        let page = log.read(&cursors(&[("a", 0), ("b", 0)]), 5, ALL).unwrap();
        assert_eq!((seqs(&page), page.next, page.gaps.len()), (vec![1, 2, 3, 5], 5, 0));
        let page = log
            .read(&cursors(&[("a", 0), ("b", 2)]), 4, PageLimit { events: 1, bytes: 1 })
            .unwrap();
        assert_eq!((seqs(&page), page.next), (vec![1], 1));
        let page = log.read(&cursors(&[("nobody", 0)]), 5, ALL).unwrap();
        assert_eq!((seqs(&page), page.next), (vec![], 5));
    }

    #[test]
    fn the_largest_channel_gives_way_first_and_only_its_readers_have_a_gap() {
        let log = MemoryLog::new(Retention { bytes: 40_000, ..ROOMY });
        append(&log, draft(&["quiet"], 100));
        for _ in 0..50 {
            append(&log, draft(&["noisy"], 1_000));
        }
        let page = log.read(&cursors(&[("quiet", 0), ("noisy", 0)]), 51, ALL).unwrap();
        assert_eq!(page.gaps, [1]);
        assert_eq!(page.events[0].1.seq, 1, "the quiet channel's event is retained");
        assert!(log.retained().bytes <= 40_000);
        // Whoever already had what was trimmed misses nothing.
        let first = page.events[1].1.seq;
        assert!(
            log.read(&cursors(&[("noisy", first - 1)]), 51, ALL)
                .unwrap()
                .gaps
                .is_empty()
        );
    }

    #[test]
    fn a_channel_is_bounded_and_one_event_always_fits() {
        let log = MemoryLog::new(Retention {
            channel_bytes: 10_000,
            ..ROOMY
        });
        append(&log, draft(&["a"], 50_000));
        assert_eq!(log.retained().events, 1);
        append(&log, draft(&["a"], 1));
        assert_eq!(log.retained().events, 1);
        let mut out = Vec::new();
        assert_eq!(
            log.tail(0, 10, &mut out),
            Tail {
                position: 2,
                missed: true
            }
        );
        assert_eq!(out.len(), 1);
        out.clear();
        assert_eq!(
            log.tail(1, 10, &mut out),
            Tail {
                position: 2,
                missed: false
            }
        );
    }

    #[test]
    fn what_is_over_its_time_goes_and_is_a_gap_only_for_who_missed_it() {
        let log = MemoryLog::new(Retention {
            time: Duration::ZERO,
            ..ROOMY
        });
        let seq = append(&log, draft(&["a"], 1));
        log.state.lock().expire(&log.retention, unix_ms() + 10);
        assert_eq!(log.retained().events, 0);
        assert_eq!(log.read(&cursors(&[("a", seq - 1)]), seq, ALL).unwrap().gaps, [0]);
        assert!(log.read(&cursors(&[("a", seq)]), seq, ALL).unwrap().gaps.is_empty());
        assert!(log.read(&cursors(&[("b", 0)]), seq, ALL).unwrap().gaps.is_empty());
    }

    proptest! {
        /// Whatever the limits: bytes are counted right, and a reader gets all that is retained and a gap for what is not.
        #[test]
        fn nothing_is_lost_silently(
            sizes in prop::collection::vec((0_usize..4, 0_usize..4, 1_usize..3_000), 1..200),
            channel_bytes in 2_000_usize..20_000,
            bytes in 2_000_usize..40_000,
            page_events in 1_usize..10,
        ) {
            let names = ["a", "b", "c", "d"];
            let log = MemoryLog::new(Retention { channel_bytes, bytes, ..ROOMY });
            let mut published: Vec<Vec<u64>> = vec![Vec::new(); 4];
            for (first, second, size) in &sizes {
                let event = append(&log, draft(&[names[*first], names[*second]], *size));
                published[*first].push(event);
                if first != second {
                    published[*second].push(event);
                }
            }
            let position = log.position();
            for (index, name) in names.iter().enumerate() {
                let mut read = Vec::new();
                let mut after = 0;
                let mut gap = false;
                loop {
                    let page = log.read(&cursors(&[(name, after)]), position, PageLimit { events: page_events, bytes: usize::MAX }).unwrap();
                    read.extend(seqs(&page));
                    gap |= after == 0 && !page.gaps.is_empty();
                    prop_assert!(page.next > after || page.next == position);
                    after = page.next;
                    if after == position { break; }
                }
                prop_assert!(published[index].ends_with(&read));
                prop_assert_eq!(gap, read.len() < published[index].len());
            }
            let state = log.state.lock();
            let held: usize = state.slots.iter().filter_map(|slot| slot.event.as_ref()).map(|event| event.bytes()).sum();
            prop_assert_eq!(state.bytes, held);
            prop_assert!(state.bytes <= bytes || state.events == 1);
        }
    }
}

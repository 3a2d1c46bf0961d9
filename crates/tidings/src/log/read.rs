//! Reading a log that has a store: from memory where it has all, else from the store; ranges and single look-ups, never scans.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::local::{Shared, State};
use super::record::{decode_event, event_time, split_event_key};
use super::store::{Entries, Store, StoreError};
use super::tail::unix_ms;
use super::{Cursor, From, History, Page, PageLimit};
use crate::channel::Channel;
use crate::error::{Code, Error, Result};
use crate::event::Event;

/// Where to get what one cursor still has to get.
enum Source {
    /// There is nothing.
    Nothing,
    /// Memory has as much of it as there is.
    Memory,
    /// The store has, after `after`.
    Store {
        number: u32,
        after: u64,
        cutoff_ms: Option<u64>,
    },
    /// Nobody has published there, as far as is known.
    Unknown,
}

/// Where to read for a cursor, and whether something is gone that it should have had.
fn source(state: &State, cursor: &Cursor, now_ms: u64) -> (Source, bool) {
    let name = cursor.channel.as_str();
    let after = cursor.after;
    let known = state.tail.known(name);
    let Some(stored) = state.stored.get(name) else {
        return match known {
            Some(known) => (Source::Memory, after < known.trimmed),
            None => (Source::Unknown, false),
        };
    };
    let record = &stored.record;
    match known {
        Some(known) if known.trimmed <= after => (Source::Memory, false),
        _ if record.last <= after => (Source::Nothing, false),
        // Memory may hold more than a channel is to keep.
        Some(known) if known.trimmed < record.trimmed => (Source::Memory, true),
        _ => {
            let source = Source::Store {
                number: stored.number,
                after: after.max(record.trimmed),
                cutoff_ms: stored.cutoff_ms(now_ms),
            };
            (source, after < record.trimmed)
        }
    }
}

/// Whether something is gone in a channel of which nothing is known.
fn is_unknown_gap(shared: &Shared, cursor: &Cursor, tail: u64, stored: u64) -> bool {
    // The application is asked only where it matters.
    if cursor.after >= tail.max(stored) {
        return false;
    }
    let is_stored = (shared.history)(cursor.channel.as_str()).is_some();
    cursor.after < if is_stored { stored } else { tail }
}

pub(super) fn page_from_memory(shared: &Shared, cursors: &[Cursor], until: u64, limit: PageLimit) -> Option<Page> {
    let now_ms = unix_ms();
    let mut unknown = Vec::new();
    let mut gaps = Vec::new();
    let state = shared.state.lock();
    for (index, cursor) in cursors.iter().enumerate() {
        match source(&state, cursor, now_ms) {
            (Source::Store { .. }, _) => return None,
            (_, true) => gaps.push(index),
            (Source::Unknown, _) => unknown.push(index),
            _ => {}
        }
    }
    let mut page = state.tail.page(cursors, until, limit);
    let forgotten = (state.tail.forgotten(), state.stored.forgotten);
    drop(state);
    unknown.retain(|index| is_unknown_gap(shared, &cursors[*index], forgotten.0, forgotten.1));
    gaps.append(&mut unknown);
    gaps.sort_unstable();
    page.gaps = gaps;
    Some(page)
}

pub(super) fn page(shared: &Shared, cursors: &[Cursor], until: u64, limit: PageLimit) -> Result<Page> {
    let now_ms = unix_ms();
    let mut gaps = Vec::new();
    let mut heads: Vec<Head> = Vec::with_capacity(cursors.len());
    // As long as this is held, nothing vanishes from the store that the marks say is there.
    let opening = shared.opening.read();
    let state = shared.state.lock();
    let mut unknown = Vec::new();
    let mut sources = Vec::new();
    for (index, cursor) in cursors.iter().enumerate() {
        let (source, is_gap) = source(&state, cursor, now_ms);
        if is_gap {
            gaps.push(index);
        }
        match source {
            Source::Memory => {
                // Of what would not fit in the page, one tells that there is more.
                let most = limit.events.saturating_add(1);
                let events = state.tail.events(cursor.channel.as_str(), cursor.after, until, most);
                heads.push(Head::memory(index, events));
            }
            Source::Unknown => unknown.push(index),
            Source::Store { .. } => sources.push((index, source)),
            Source::Nothing => {}
        }
    }
    let forgotten = (state.tail.forgotten(), state.stored.forgotten);
    drop(state);
    if !sources.is_empty() {
        let (store, readable) = shared.store()?;
        let until = until.min(readable);
        for (index, source) in sources {
            if let Source::Store {
                number,
                after,
                cutoff_ms,
            } = source
            {
                let channel = &cursors[index].channel;
                let (entries, is_gap) = open(&store, number, after, until, cutoff_ms).map_err(unreadable)?;
                if is_gap {
                    gaps.push(index);
                }
                heads.push(Head::stored(index, channel, entries).map_err(unreadable)?);
            }
        }
    }
    drop(opening);
    unknown.retain(|index| is_unknown_gap(shared, &cursors[*index], forgotten.0, forgotten.1));
    gaps.append(&mut unknown);
    gaps.sort_unstable();
    gaps.dedup();
    let mut page = merge(heads, until, limit).map_err(unreadable)?;
    page.gaps = gaps;
    Ok(page)
}

/// What a channel retains after `after`, and whether some of it is over its time.
pub(super) fn open(
    store: &Store,
    number: u32,
    after: u64,
    until: u64,
    cutoff_ms: Option<u64>,
) -> Result<(Entries, bool), StoreError> {
    let Some(cutoff_ms) = cutoff_ms else {
        return Ok((store.events(number, after + 1, until), false));
    };
    // The first event from `from` on, by its seq, and whether it is over its time.
    let probe = |from: u64| -> Result<Option<(u64, bool)>, StoreError> {
        let Some(entry) = store.events(number, from, until).next() else {
            return Ok(None);
        };
        let (key, value) = entry?;
        let seq = split_event_key(&key).map_or(u64::MAX, |(_, seq)| seq);
        Ok(Some((
            seq,
            event_time(&value).is_some_and(|time_ms| time_ms < cutoff_ms),
        )))
    };
    let mut first = after + 1;
    let mut is_gap = false;
    if let Some((seq, true)) = probe(first)? {
        // Times never go back, so the first that is not over its time can be searched for.
        is_gap = true;
        first = seq + 1;
        let mut end = until + 1;
        while first < end {
            let middle = first + (end - first) / 2;
            match probe(middle)? {
                Some((seq, true)) => first = seq + 1,
                _ => end = middle,
            }
        }
    }
    Ok((store.events(number, first, until), is_gap))
}

/// What is left to read for one cursor, and the next of it.
struct Head {
    index: usize,
    rest: Rest,
    next: Option<Arc<Event>>,
}

enum Rest {
    Memory(std::vec::IntoIter<Arc<Event>>),
    Store { channel: Channel, entries: Entries },
}

impl Head {
    fn memory(index: usize, events: Vec<Arc<Event>>) -> Self {
        let mut events = events.into_iter();
        let next = events.next();
        let rest = Rest::Memory(events);
        Self { index, rest, next }
    }

    fn stored(index: usize, channel: &Channel, entries: Entries) -> Result<Self, StoreError> {
        let channel = channel.clone();
        let mut head = Self {
            index,
            rest: Rest::Store { channel, entries },
            next: None,
        };
        head.advance()?;
        Ok(head)
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        self.next = match &mut self.rest {
            Rest::Memory(events) => events.next(),
            Rest::Store { channel, entries } => match entries.next() {
                Some(entry) => Some(entries.event(channel, entry?)?),
                None => None,
            },
        };
        Ok(())
    }
}

impl Entries {
    fn event(&self, channel: &Channel, (key, value): (fjall::Slice, fjall::Slice)) -> Result<Arc<Event>, StoreError> {
        let event = split_event_key(&key).and_then(|(_, seq)| decode_event(channel, seq, &value));
        event
            .map(Arc::new)
            .ok_or_else(|| self.damaged("an event can't be decoded"))
    }
}

/// A page of all heads, in order and each event once.
fn merge(mut heads: Vec<Head>, until: u64, limit: PageLimit) -> Result<Page, StoreError> {
    let mut page = Page {
        events: Vec::new(),
        next: until,
        gaps: Vec::new(),
    };
    // Equal seqs come out together, the first-named channel first.
    let mut order = BinaryHeap::new();
    for (at, head) in heads.iter().enumerate() {
        if let Some(event) = &head.next {
            order.push(Reverse((event.seq, head.index, at)));
        }
    }
    let mut bytes = 0;
    let mut last = 0;
    while let Some(Reverse((seq, index, at))) = order.pop() {
        let head = &mut heads[at];
        let Some(event) = head.next.take() else { continue };
        if seq != last {
            let is_full = page.events.len() >= limit.events || bytes + event.bytes() > limit.bytes;
            if is_full && !page.events.is_empty() {
                page.next = last;
                break;
            }
            bytes += event.bytes();
            last = seq;
            page.events.push((index, event));
        }
        head.advance()?;
        if let Some(event) = &head.next {
            order.push(Reverse((event.seq, index, at)));
        }
    }
    Ok(page)
}

pub(super) fn history(shared: &Shared, channel: &Channel, from: From, limit: PageLimit) -> Result<History> {
    let until = shared.position.load(std::sync::atomic::Ordering::Acquire);
    let opening = shared.opening.read();
    let state = shared.state.lock();
    let Some(stored) = state.stored.get(channel.as_str()) else {
        return Ok(state.tail.history(channel.as_str(), from, limit));
    };
    let number = stored.number;
    let trimmed = stored.record.trimmed;
    let cutoff_ms = stored.cutoff_ms(unix_ms());
    drop(state);
    let (store, readable) = shared.store()?;
    let until = until.min(readable);
    let forward = matches!(from, From::After(_));
    let (after, last) = match from {
        From::Newest => (trimmed, until),
        From::Before(seq) => (trimmed, until.min(seq.saturating_sub(1))),
        From::After(seq) => (trimmed.max(seq), until),
    };
    let mut history = History {
        events: Vec::new(),
        more: false,
    };
    if after >= last {
        return Ok(history);
    }
    let mut entries = if forward {
        open(&store, number, after, last, cutoff_ms).map_err(unreadable)?.0
    } else {
        store.events(number, after + 1, last)
    };
    drop(opening);
    let mut bytes = 0;
    while let Some(entry) = if forward { entries.next() } else { entries.next_back() } {
        let event = entry
            .and_then(|entry| entries.event(channel, entry))
            .map_err(unreadable)?;
        if cutoff_ms.is_some_and(|cutoff_ms| event.time_ms < cutoff_ms) {
            break; // and so are all that are older
        }
        bytes += event.bytes();
        let is_full = history.events.len() >= limit.events || bytes > limit.bytes;
        if is_full && !history.events.is_empty() {
            history.more = true;
            break;
        }
        history.events.push(event);
    }
    if !forward {
        history.events.reverse();
    }
    Ok(history)
}

pub(super) fn last(shared: &Shared, channel: &Channel) -> u64 {
    let now_ms = unix_ms();
    let state = shared.state.lock();
    match state.stored.get(channel.as_str()) {
        Some(stored) if stored.record.count > 0 => {
            let is_over = |cutoff_ms| stored.record.last_time_ms < cutoff_ms;
            if stored.cutoff_ms(now_ms).is_none_or(|cutoff_ms| !is_over(cutoff_ms)) {
                return stored.record.last;
            }
        }
        _ => {}
    }
    state.tail.last(channel.as_str())
}

pub(super) fn unreadable(error: StoreError) -> Error {
    tracing::error!(%error, "the store can't be read");
    Error::coded(Code::Unavailable, "the store can't be read right now; try again")
}

//! Counting what a channel retains: from memory where it has all of it, else by a range of the store, in which no event is decoded.

use std::sync::atomic::Ordering;

use super::Counted;
use super::local::{Shared, State};
use super::read::{open, unreadable};
use super::record::is_published_by;
use super::tail::unix_ms;
use crate::channel::Channel;
use crate::error::Result;
use crate::limits::{COUNTED_MAX, LOOKED_AT_MAX};

/// Counts the events that somebody else published, until that is enough.
pub(super) struct Tally<'a> {
    pub(super) not_by: &'a str,
    counted: usize,
    looked_at: usize,
    is_cut: bool,
}

impl<'a> Tally<'a> {
    pub(super) fn new(not_by: &'a str) -> Self {
        Self {
            not_by,
            counted: 0,
            looked_at: 0,
            is_cut: false,
        }
    }

    /// Takes the next event; false when it is not looked at any further.
    pub(super) fn take(&mut self, is_own: bool) -> bool {
        self.looked_at += 1;
        self.is_cut = self.looked_at > LOOKED_AT_MAX || self.counted == COUNTED_MAX && !is_own;
        if !self.is_cut && !is_own {
            self.counted += 1;
        }
        !self.is_cut
    }

    pub(super) fn counted(&self) -> Counted {
        Counted {
            events: self.counted,
            more: self.is_cut,
        }
    }
}

/// What only the store can tell.
struct InStore {
    number: u32,
    after: u64,
    cutoff_ms: Option<u64>,
}

/// Counts what memory has, where that is all there is; else says where in the store to count.
fn count_in_memory(state: &State, channel: &Channel, after: u64, tally: &mut Tally<'_>) -> Option<InStore> {
    let name = channel.as_str();
    let Some(stored) = state.stored.get(name) else {
        state.tail.count(name, after, 0, tally);
        return None;
    };
    // As history has it: memory may hold more than the channel is to keep.
    let after = after.max(stored.record.trimmed);
    if stored.record.last <= after {
        return None;
    }
    let cutoff_ms = stored.cutoff_ms(unix_ms());
    match state.tail.known(name) {
        Some(known) if known.trimmed <= after => {
            state.tail.count(name, after, cutoff_ms.unwrap_or(0), tally);
            None
        }
        _ => Some(InStore {
            number: stored.number,
            after,
            cutoff_ms,
        }),
    }
}

pub(super) fn from_memory(shared: &Shared, channel: &Channel, after: u64, not_by: &str) -> Option<Counted> {
    let mut tally = Tally::new(not_by);
    let in_store = count_in_memory(&shared.state.lock(), channel, after, &mut tally);
    in_store.is_none().then(|| tally.counted())
}

pub(super) fn count(shared: &Shared, channel: &Channel, after: u64, not_by: &str) -> Result<Counted> {
    let mut tally = Tally::new(not_by);
    let position = shared.position.load(Ordering::Acquire);
    // As long as this is held, nothing vanishes from the store that the marks say is there.
    let opening = shared.opening.read();
    let in_store = count_in_memory(&shared.state.lock(), channel, after, &mut tally);
    let Some(InStore {
        number,
        after,
        cutoff_ms,
    }) = in_store
    else {
        return Ok(tally.counted());
    };
    let (store, readable) = shared.store()?;
    let (mut entries, _) = open(&store, number, after, position.min(readable), cutoff_ms).map_err(unreadable)?;
    drop(opening);
    while let Some(entry) = entries.next() {
        let (_, value) = entry.map_err(unreadable)?;
        let is_own =
            is_published_by(&value, not_by).ok_or_else(|| unreadable(entries.damaged("an event can't be decoded")))?;
        if !tally.take(is_own) {
            break;
        }
    }
    Ok(tally.counted())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(events: impl Iterator<Item = bool>) -> (usize, bool, usize) {
        let mut tally = Tally::new("ann");
        let mut taken = 0;
        for is_own in events {
            taken += 1;
            if !tally.take(is_own) {
                break;
            }
        }
        (tally.counted().events, tally.counted().more, taken)
    }

    #[test]
    fn it_is_exact_up_to_the_maximum_and_says_so_above_it() {
        let others = |count| std::iter::repeat_n(false, count);
        let own = |count| std::iter::repeat_n(true, count);
        assert_eq!(counted(others(0)), (0, false, 0));
        assert_eq!(counted(others(COUNTED_MAX)), (COUNTED_MAX, false, COUNTED_MAX));
        assert_eq!(counted(others(COUNTED_MAX + 5)), (COUNTED_MAX, true, COUNTED_MAX + 1));
        let more_of_ones_own = others(COUNTED_MAX).chain(own(5));
        assert_eq!(counted(more_of_ones_own), (COUNTED_MAX, false, COUNTED_MAX + 5));
        // Who has published very much is not looked through to the end.
        assert_eq!(counted(own(LOOKED_AT_MAX)), (0, false, LOOKED_AT_MAX));
        let behind_too_many = own(LOOKED_AT_MAX).chain(others(3));
        assert_eq!(counted(behind_too_many), (0, true, LOOKED_AT_MAX + 1));
    }
}

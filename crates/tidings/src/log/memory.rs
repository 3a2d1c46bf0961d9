//! The log of a server without a store: the memory tail is all there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::count::Tally;
use super::keys::{Claimed, Keys, fingerprint};
use super::tail::{Bounds, TailState, unix_ms};
use super::{
    Appending, Counted, Cursor, Durability, From, History, Log, Page, PageLimit, Receipt, Record, Retained, Since, Tail,
};
use crate::channel::Channel;
use crate::error::{Error, Result};
use crate::event::{Draft, Event};
use crate::id::{Epoch, EventId};

pub(crate) struct MemoryLog {
    epoch: Epoch,
    position: AtomicU64,
    state: Mutex<State>,
}

struct State {
    tail: TailState,
    keys: Keys,
    last_time_ms: u64,
}

impl MemoryLog {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            epoch: Epoch::random(),
            position: AtomicU64::new(0),
            state: Mutex::new(State {
                tail: TailState::new(bounds, 0),
                keys: Keys::new(1, unix_ms()),
                last_time_ms: 0,
            }),
        }
    }

    fn append_now(&self, draft: Draft) -> Result<Receipt> {
        let fingerprint = fingerprint(&draft);
        let mut state = self.state.lock();
        let state = &mut *state;
        let mut receipt = Receipt {
            id: EventId::new(self.epoch, state.tail.next_seq()),
            duplicate: false,
            durability: Durability::Memory,
        };
        let now_ms = unix_ms().max(state.last_time_ms);
        if let Some(fingerprint) = fingerprint {
            match state.keys.claim(fingerprint, receipt.id.seq(), now_ms)? {
                // Nothing is ever being written: what is appended is kept.
                Claimed::New(claim) => drop(state.keys.kept(&claim)),
                Claimed::Now(_) => {}
                Claimed::Before(seq) => {
                    receipt.id = EventId::new(self.epoch, seq);
                    receipt.duplicate = true;
                    return Ok(receipt);
                }
            }
        }
        state.last_time_ms = now_ms;
        let event = Event {
            seq: receipt.id.seq(),
            time_ms: now_ms,
            draft,
        };
        state.tail.push(Arc::new(event), |_| None);
        self.position.store(receipt.id.seq(), Ordering::Release);
        Ok(receipt)
    }
}

impl Log for MemoryLog {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn append(&self, draft: Draft) -> Appending {
        Appending::Done(self.append_now(draft))
    }

    fn assigned(&self) -> u64 {
        self.position()
    }

    fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    fn tail(&self, after: u64, events_max: usize, out: &mut Vec<Arc<Event>>) -> Tail {
        self.state.lock().tail.tail(after, events_max, out)
    }

    fn read_tail(&self, cursors: &[Cursor], until: u64, limit: PageLimit) -> Option<Page> {
        let state = self.state.lock();
        let mut page = state.tail.page(cursors, until, limit);
        let forgotten = state.tail.forgotten();
        page.gaps = (0..cursors.len())
            .filter(|index| {
                let cursor = &cursors[*index];
                let known = state.tail.known(cursor.channel.as_str());
                cursor.after < known.map_or(forgotten, |known| known.trimmed)
            })
            .collect();
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
        Ok(self.state.lock().tail.history(channel.as_str(), from, limit))
    }

    fn count_tail(&self, channel: &Channel, after: u64, not_by: &str) -> Option<Counted> {
        let mut tally = Tally::new(not_by);
        self.state.lock().tail.count(channel.as_str(), after, 0, &mut tally);
        Some(tally.counted())
    }

    fn count(&self, channel: &Channel, after: u64, not_by: &str) -> Result<Counted> {
        let counted = self.count_tail(channel, after, not_by);
        Ok(counted.unwrap_or_else(|| Tally::new(not_by).counted()))
    }

    fn last(&self, channel: &Channel) -> u64 {
        self.state.lock().tail.last(channel.as_str())
    }

    fn newest(&self, channel: &Channel) -> u64 {
        self.state.lock().tail.newest(channel.as_str())
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

    fn put_all(&self, _: Vec<Record>) -> bool {
        true
    }

    fn records(&self, _: &[u8]) -> Vec<(Bytes, Bytes)> {
        Vec::new()
    }

    fn expire(&self) {
        self.state.lock().tail.expire(unix_ms());
    }

    fn retained(&self) -> Retained {
        self.state.lock().tail.retained()
    }

    fn failure(&self) -> Option<Error> {
        None
    }

    fn close(&self) {}
}

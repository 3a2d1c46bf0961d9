//! The log: gives every event its place in one sequence, and keeps it for those who come late.
//!
//! *Delivery has one source*: shards read events from the log's tail, in the order of their ids, and a
//! connection that fell behind reads pages of its channels from the same log.

pub(crate) mod memory;

use std::sync::Arc;

use crate::channel::Channel;
use crate::event::{Draft, Event};

/// Orders and keeps events. `seq` counts from 1; a position is the seq of the last event that is in.
pub(crate) trait Log: Send + Sync {
    /// Gives the draft the next place. When this returns, [`Log::position`] has reached it.
    fn append(&self, draft: Draft) -> Arc<Event>;

    /// The seq of the last event.
    fn position(&self) -> u64;

    /// Appends to `out` the retained events after `after`, in order, at most `events_max`.
    fn tail(&self, after: u64, events_max: usize, out: &mut Vec<Arc<Event>>) -> Tail;

    /// A page of what `cursors` still have to get, in order and each event once.
    fn read(&self, cursors: &[Cursor], until: u64, limit: PageLimit) -> Page;

    /// Lets go of what retention no longer covers.
    fn expire(&self);

    /// What it holds, for metrics and tests.
    fn retained(&self) -> Retained;
}

/// How far [`Log::tail`] got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// All up to here was returned or is no longer retained.
    pub(crate) position: u64,
    /// Some of it is no longer retained.
    pub(crate) missed: bool,
}

/// Where a reader stands in one channel.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    pub(crate) channel: Channel,
    /// The reader has, or must not get, what is up to here.
    pub(crate) after: u64,
}

/// Where a page ends at the latest. One event always fits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageLimit {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

/// Part of what a reader still has to get.
#[derive(Debug)]
pub(crate) struct Page {
    /// Each with the index of the first cursor whose channel it is in.
    pub(crate) events: Vec<(usize, Arc<Event>)>,
    /// The next page begins after this; `until` when this was the last one.
    pub(crate) next: u64,
    /// Indices of the cursors whose channels had events after the cursor that are no longer retained.
    pub(crate) gaps: Vec<usize>,
}

/// What a log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retained {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
    pub(crate) channels: usize,
}

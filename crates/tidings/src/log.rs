//! The log: gives every event its place in one sequence, and keeps it for those who come late.
//!
//! *Delivery has one source*: shards read events from the log's tail, in the order of their ids, and whoever fell
//! behind, or comes back, reads pages of its channels from the same log. What is appended may have to wait for the
//! disk: it has its place at once ([`Log::assigned`]), and is delivered and answered when it is kept
//! ([`Log::position`]).

#[cfg(test)]
pub(crate) mod conformance;
mod count;
mod journal;
mod keys;
#[cfg(test)]
mod kill_tests;
pub(crate) mod local;
#[cfg(test)]
mod local_tests;
pub(crate) mod memory;
mod read;
mod record;
mod restore;
pub(crate) mod retention;
pub(crate) mod store;
mod stored;
pub(crate) mod tail;
mod witness;
mod writer;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::channel::Channel;
use crate::error::{Code, Error, Result};
use crate::event::{Draft, Event};
use crate::id::{Epoch, EventId};
use crate::meters::Timer;

/// Orders and keeps events. `seq` counts from 1; a position is the seq of the last event that is in.
pub(crate) trait Log: Send + Sync {
    /// Which sequence it is.
    fn epoch(&self) -> Epoch;

    /// Gives the draft the next place. It is delivered and answered when it is kept.
    fn append(&self, draft: Draft) -> Appending;

    /// The seq that was given last: all that was appended before now is at or below it.
    fn assigned(&self) -> u64;

    /// All up to this seq is kept and can be read; what is delivered never passes it.
    fn position(&self) -> u64;

    /// Appends to `out` the retained events after `after`, in order, at most `events_max`, up to the position.
    fn tail(&self, after: u64, events_max: usize, out: &mut Vec<Arc<Event>>) -> Tail;

    /// A page of what `cursors` still have to get, in order and each event once, if memory has all of it.
    fn read_tail(&self, cursors: &[Cursor], until: u64, limit: PageLimit) -> Option<Page>;

    /// As [`Log::read_tail`], from wherever the events are kept. May wait for the disk.
    ///
    /// # Errors
    /// `unavailable` when the store can't be read.
    fn read(&self, cursors: &[Cursor], until: u64, limit: PageLimit) -> Result<Page>;

    /// A page of one channel's retained events, oldest first. May wait for the disk.
    ///
    /// # Errors
    /// `unavailable` when the store can't be read.
    fn history(&self, channel: &Channel, from: From, limit: PageLimit) -> Result<History>;

    /// How many of a channel's retained events after `after` others than `not_by` published, if memory can tell. Its time is bounded, and
    /// so is what it counts ([`Counted`]).
    fn count_tail(&self, channel: &Channel, after: u64, not_by: &str) -> Option<Counted>;

    /// As [`Log::count_tail`], from wherever the events are kept. May wait for the disk.
    ///
    /// # Errors
    /// `unavailable` when the store can't be read.
    fn count(&self, channel: &Channel, after: u64, not_by: &str) -> Result<Counted>;

    /// The seq of the newest retained event of a channel; 0 when there is none.
    fn last(&self, channel: &Channel) -> u64;

    /// No event of the channel up to the position has a seq above this. It may be higher than need be.
    fn newest(&self, _channel: &Channel) -> u64 {
        self.position()
    }

    /// What a client's cursor is worth.
    fn check(&self, id: EventId) -> Since;

    /// What an event of this channel survives once it is answered.
    #[allow(
        dead_code,
        reason = "receipts tell it; what asks before publishing comes with the server API"
    )]
    fn durability(&self, channel: &Channel) -> Durability;

    /// Keeps records beside the events, or with `None` removes them: all of them or none. They take a place in the sequence that
    /// stays empty for readers: the position passes it when they are kept, or can't be for now. What is sent after that is
    /// not carried out before. False when it takes nothing any more.
    fn put_all(&self, records: Vec<Record>) -> bool;

    /// As [`Log::put_all`], for one.
    fn put(&self, key: Bytes, value: Option<Bytes>) {
        self.put_all(vec![(key, value)]);
    }

    /// The records whose keys begin with `prefix`, as they were when the log was opened.
    fn records(&self, prefix: &[u8]) -> Vec<(Bytes, Bytes)>;

    /// Lets go of what retention no longer covers.
    fn expire(&self);

    /// How long writes to a store took.
    fn commits(&self) -> Option<&Timer> {
        None
    }

    /// What it holds, for metrics and tests.
    fn retained(&self) -> Retained;

    /// Why nothing can be appended right now, if so.
    fn failure(&self) -> Option<Error>;

    /// Ends it, with all that was appended kept. Waits for the disk.
    fn close(&self);
}

/// A record outside the sequence; without a value it is to go.
pub(crate) type Record = (Bytes, Option<Bytes>);

/// What a publish is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The event's id; of a duplicate, the id that the first one got.
    pub id: EventId,
    /// The same content had been published under the same key.
    pub duplicate: bool,
    /// What the event survives.
    pub durability: Durability,
}

/// What an event survives once its publish was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Nothing: it is in this process's memory.
    Memory,
    /// The end of the process, also by `kill -9`.
    #[default]
    Process,
    /// A loss of power too.
    Power,
}

/// The answer to an append, at once or when the event is kept.
pub(crate) enum Appending {
    Done(Result<Receipt>),
    Waiting(oneshot::Receiver<Result<Receipt>>),
}

const ENDED: &str = "the log has ended; try again";

impl Appending {
    /// The answer, where it is there.
    pub(crate) fn try_take(&mut self) -> Option<Result<Receipt>> {
        match self {
            Appending::Done(outcome) => {
                let asked_twice = Error::coded(Code::Internal, "a publish was asked twice for its answer");
                Some(std::mem::replace(outcome, Err(asked_twice)))
            }
            Appending::Waiting(receiver) => match receiver.try_recv() {
                Ok(outcome) => Some(outcome),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Closed) => Some(Err(Error::coded(Code::Unavailable, ENDED))),
            },
        }
    }
}

impl Future for Appending {
    type Output = Result<Receipt>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Appending::Done(_) => self.try_take().map_or(Poll::Pending, Poll::Ready),
            Appending::Waiting(receiver) => Pin::new(receiver)
                .poll(cx)
                .map(|answer| answer.unwrap_or_else(|_| Err(Error::coded(Code::Unavailable, ENDED)))),
        }
    }
}

impl fmt::Debug for Appending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Appending::Done(outcome) => f.debug_tuple("Done").field(outcome).finish(),
            Appending::Waiting(_) => f.write_str("Waiting"),
        }
    }
}

/// How far [`Log::tail`] got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// All up to here was returned or is no longer retained.
    pub(crate) position: u64,
    /// Some of it is no longer retained in memory.
    pub(crate) missed: bool,
}

/// Where a reader stands in one channel.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    pub(crate) channel: Channel,
    /// The reader has, or must not get, what is up to here.
    pub(crate) after: u64,
}

/// What a client's cursor is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// A position in this sequence.
    Known(u64),
    /// Of another sequence, from the future, or of before a loss: what came after it can't be told.
    Unknown,
}

/// Where a page of history begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// The newest events.
    Newest,
    /// The newest events below this seq.
    Before(u64),
    /// The oldest events above this seq.
    After(u64),
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

impl Page {
    /// The channel by which a reader gets an event: of those that the event is in, the first that it reads there.
    pub(crate) fn channel<'a>(cursors: &'a [Cursor], cursor: usize, event: &Event) -> &'a Channel {
        let reads = |name: &Channel| {
            cursors
                .iter()
                .find(|cursor| cursor.channel == *name && cursor.after < event.seq)
        };
        let found = match &event.draft.channels[..] {
            [_] => None,
            several => several.iter().find_map(reads),
        };
        &found.unwrap_or(&cursors[cursor]).channel
    }
}

/// Part of what a channel retains.
#[derive(Debug)]
pub(crate) struct History {
    /// Oldest first.
    pub(crate) events: Vec<Arc<Event>>,
    /// There is more in the direction of the request.
    pub(crate) more: bool,
}

/// How many events of a channel there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted {
    /// At most [`COUNTED_MAX`](crate::limits::COUNTED_MAX).
    pub(crate) events: usize,
    /// And there are more, or may be.
    pub(crate) more: bool,
}

/// What a log holds in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retained {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
    pub(crate) channels: usize,
}

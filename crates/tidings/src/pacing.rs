//! Pacing: channels where the latest event matters and not each of them: cursors, tickers, who is typing.
//!
//! An event of such a channel is passed on at once, or held until its time: a *board* ([`board`]) keeps the latest value of
//! each key and passes on what changed; a *gate* ([`gate`]) lets one event through at a time. Both only decide;
//! the [`pacer`] has the clock, and sends.

mod board;
mod gate;
mod pacer;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tidings_protocol::json;

pub(crate) use pacer::{Pacer, spawn};

use crate::error::{Code, Error, Result};
use crate::event::Draft;

/// Finds the pacing of a channel.
pub(crate) type PacingOf = Arc<dyn Fn(&str) -> Option<Pacing> + Send + Sync>;

type KeyOf = Arc<dyn Fn(&Paced<'_>) -> Result<String> + Send + Sync>;

/// How often what is published in a channel is passed on; see [`Builder::pacing`](crate::Builder::pacing).
///
/// ```
/// # use std::time::Duration;
/// # use tidings::{Edge, Pacing};
/// // Where everybody points, twenty times a second at the most:
/// let cursors = Pacing::conflate(Duration::from_millis(50)).by(|event| Ok(event.user.unwrap_or_default().to_owned()));
/// // A count that may be published as often as it changes:
/// let count = Pacing::throttle(Duration::from_secs(1)).edge(Edge::Both);
/// // "Saved", once nobody has typed for a while:
/// let saved = Pacing::debounce(Duration::from_millis(200));
/// ```
#[derive(Clone)]
pub struct Pacing {
    pub(crate) form: Form,
    pub(crate) every: Duration,
    pub(crate) keep: Duration,
    by: Option<KeyOf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Conflate,
    Throttle(Edge),
    Debounce,
}

/// Which event of a throttled channel goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Edge {
    /// The first; what follows within the time is dropped.
    Leading,
    /// The last, at the end of the time.
    Trailing,
    /// The first at once, and if others follow within the time, the last of them at its end.
    #[default]
    Both,
}

/// An event for which a key is wanted: see [`Pacing::by`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Paced<'a> {
    /// The event's name.
    pub event: &'a str,
    /// The user who published it, if one did.
    pub user: Option<&'a str>,
    /// Its data as JSON.
    pub data: &'a str,
}

/// How long a conflated value is kept for those who subscribe late, unless said otherwise.
const KEEP: Duration = Duration::from_secs(120);

/// Less than the clock can tell.
const SHORTEST: Duration = Duration::from_millis(1);

/// For good, as long as a clock can tell.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3_600);

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 255;

impl Pacing {
    /// Only the latest value of each key matters. What comes after a quiet time is passed on at once, and from then on what has
    /// changed at most once in `every`. The latest values are kept, in memory, for those who subscribe later and for clients that
    /// were too slow for one. Such events are not logged: they have no id, move no cursor, and can't be missed, since
    /// the next one replaces them.
    pub fn conflate(every: Duration) -> Self {
        Self::new(Form::Conflate, every)
    }

    /// At most one event in `every` goes through, at both edges unless [`Pacing::edge`] says another. The others are dropped.
    pub fn throttle(every: Duration) -> Self {
        Self::new(Form::Throttle(Edge::Both), every)
    }

    /// An event goes through when no other has come for `quiet`; of several that come sooner one after another, the last.
    pub fn debounce(quiet: Duration) -> Self {
        Self::new(Form::Debounce, quiet)
    }

    fn new(form: Form, every: Duration) -> Self {
        Self {
            form,
            every: every.clamp(SHORTEST, LONGEST),
            keep: KEEP,
            by: None,
        }
    }

    /// Which events replace which: those of one key. Without it all of a channel do. An error of `key` is what the publisher
    /// is told, and nothing is published then.
    pub fn by(mut self, key: impl Fn(&Paced<'_>) -> Result<String> + Send + Sync + 'static) -> Self {
        self.by = Some(Arc::new(key));
        self
    }

    /// Which event of a throttled channel goes through.
    pub fn edge(mut self, edge: Edge) -> Self {
        if let Form::Throttle(of) = &mut self.form {
            *of = edge;
        }
        self
    }

    /// How long a conflated value is kept after its last change. Default 2 minutes.
    pub fn keep(mut self, time: Duration) -> Self {
        self.keep = time.clamp(SHORTEST, LONGEST);
        self
    }

    /// The key of an event; empty where all have one.
    ///
    /// # Errors
    /// `bad_request` when it has none, or is to be tried again under another.
    pub(crate) fn key_of(&self, draft: &Draft) -> Result<Box<str>> {
        if draft.key.is_some() {
            return Err(Error::coded(
                Code::BadRequest,
                "where only the latest event matters, an older one can't be published again under a key; leave it out",
            ));
        }
        let Some(by) = &self.by else { return Ok("".into()) };
        let message = &draft.message;
        let data = json::data_from_arguments(message.arguments(), &message.attachments);
        let paced = Paced {
            event: &message.name,
            user: draft.user.as_deref(),
            data: &data,
        };
        let key = by(&paced)?;
        if key.len() > KEY_BYTES_MAX {
            let problem = format!("what this channel goes by has {KEY_BYTES_MAX} bytes at the most");
            return Err(Error::coded(Code::BadRequest, problem));
        }
        Ok(key.into_boxed_str())
    }
}

impl fmt::Debug for Pacing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pacing")
            .field("form", &self.form)
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}

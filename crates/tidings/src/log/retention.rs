//! How much of a channel is kept on disk.

use std::time::Duration;

/// How much of a channel's history is kept in the store: what is over any of the limits goes, the oldest first. Without
/// limits, all of it is.
///
/// ```
/// # use std::time::Duration;
/// # use tidings::Retention;
/// let thirty_days = Retention::new().keep(1_000).time(Duration::from_secs(30 * 24 * 60 * 60));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    pub(crate) keep: Option<u64>,
    pub(crate) time: Option<Duration>,
    pub(crate) bytes: Option<u64>,
}

impl Retention {
    /// All of it is kept.
    pub fn new() -> Self {
        Self::default()
    }

    /// At most so many events, but one at least.
    #[must_use]
    pub fn keep(mut self, events: u64) -> Self {
        self.keep = Some(events.max(1));
        self
    }

    /// No event for longer than this.
    #[must_use]
    pub fn time(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// At most so many bytes of events as they are stored, but one event at least.
    #[must_use]
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }
}

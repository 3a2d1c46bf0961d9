//! What a channel retains beyond what every channel does.

use std::time::Duration;

/// The `history` of a rule: what is over any of the bounds that are set goes, oldest first. One is set at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct History {
    /// How many events a channel keeps at the most.
    pub(crate) keep: Option<u64>,
    /// For how long an event is kept.
    pub(crate) time: Option<Duration>,
    /// How much the events of a channel may take, in bytes.
    pub(crate) bytes: Option<u64>,
}

impl History {
    /// The newest `events` of a channel, however old.
    pub(crate) fn keep(events: u64) -> Self {
        Self {
            keep: Some(events),
            ..Self::default()
        }
    }
}

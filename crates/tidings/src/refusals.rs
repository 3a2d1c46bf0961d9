//! Who was not let in, and why: counted for metrics, the latest kept for whoever looks after the server.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::Serialize;

use crate::error::{Code, Error};
use crate::limits::REFUSALS_KEPT;
use crate::socketio::io::Io;

/// What refusals are counted under whose code is none of Tidings' own.
const OTHER: &str = "other";

#[derive(Debug)]
pub(crate) struct Refusals {
    counts: Vec<AtomicU64>,
    other: AtomicU64,
    latest: Mutex<VecDeque<Refused>>,
}

/// A client that was not let in.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Refused {
    /// When, Unix milliseconds.
    pub time: u64,
    /// What it was told.
    pub code: String,
    /// What it was told.
    pub message: String,
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            counts: Code::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            other: AtomicU64::new(0),
            latest: Mutex::default(),
        }
    }
}

impl Refusals {
    pub(crate) fn note(&self, error: &Error, address: Option<IpAddr>) {
        tracing::debug!(%error, ?address, "a client is not let in");
        let known = Code::ALL.iter().position(|code| code.as_str() == error.code());
        let count = known.map_or(&self.other, |at| &self.counts[at]);
        count.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut latest = self.latest.lock();
        if latest.len() == REFUSALS_KEPT {
            latest.pop_front();
        }
        latest.push_back(Refused {
            time: u64::try_from(now.as_millis()).unwrap_or(0),
            code: error.code().to_owned(),
            message: error.message().to_owned(),
        });
    }

    /// Those that there were, by code.
    pub(crate) fn counts(&self) -> Vec<(String, u64)> {
        let known = Code::ALL.iter().map(|code| code.as_str()).zip(&self.counts);
        known
            .chain([(OTHER, &self.other)])
            .map(|(code, count)| (code.to_owned(), count.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

impl Io {
    /// The latest clients that were not let in, the newest last; a hundred at the most.
    pub fn refusals(&self) -> Vec<Refused> {
        self.server.hub.refusals.latest.lock().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_code_and_the_latest_are_kept() {
        let refusals = Refusals::default();
        for at in 0..REFUSALS_KEPT + 5 {
            refusals.note(&Error::coded(Code::Forbidden, format!("{at}")), None);
        }
        refusals.note(&Error::with_code("app", "no"), None);
        let count = u64::try_from(REFUSALS_KEPT + 5).unwrap();
        assert_eq!(
            refusals.counts(),
            [("forbidden".to_owned(), count), (OTHER.to_owned(), 1)]
        );
        let latest = refusals.latest.lock();
        assert_eq!((latest.len(), &*latest[0].message), (REFUSALS_KEPT, "6"));
    }
}

//! `GET /console/api/overview`: what there is and what has been done, at a glance. Charts are the page's own, from what lies between
//! two glances.
//!
//! A glance looks at each connection. However many consoles are open, there is one in a second, which all of them get. One in five
//! seconds is kept for ten minutes, so that who opens a console sees what was before: `GET /console/api/recent`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Weak;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use serde::Serialize;
use tidings::{EventId, Histogram, Io, Metrics};

use crate::metrics;
use crate::process::Process;

/// How long a glance is good for.
const FRESH: Duration = Duration::from_secs(1);

/// How often one is kept, and how many are.
const KEPT_EVERY: Duration = Duration::from_secs(5);
const KEPT_MAX: usize = 120;

/// One glance for all who ask within a second.
pub(super) struct Glances {
    io: Io,
    started: Instant,
    latest: Mutex<Option<(Instant, Glance)>>,
    /// The oldest first.
    kept: Mutex<VecDeque<Bytes>>,
}

/// Who asks first has it made, the others wait for the same.
type Glance = Shared<BoxFuture<'static, Bytes>>;

impl Glances {
    pub(super) fn new(io: &Io) -> Self {
        Self {
            io: io.clone(),
            started: Instant::now(),
            latest: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    /// Keeps one now and then, for as long as anybody could ask for it.
    pub(super) async fn keep(glances: Weak<Self>) {
        while let Some(glances) = glances.upgrade() {
            let glance = glances.latest().await;
            glances.add(glance);
            drop(glances);
            tokio::time::sleep(KEPT_EVERY).await;
        }
    }

    fn add(&self, glance: Bytes) {
        let mut kept = self.kept.lock();
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(glance);
    }

    /// Those that were kept, the oldest first, as a list in JSON.
    pub(super) fn recent(&self) -> Vec<u8> {
        let kept: Vec<Bytes> = self.kept.lock().iter().cloned().collect();
        [&b"["[..], &kept.join(&b','), b"]"].concat()
    }

    /// The latest one, as JSON.
    pub(super) fn latest(&self) -> Glance {
        let now = Instant::now();
        let mut latest = self.latest.lock();
        match &*latest {
            Some((since, glance)) if now.duration_since(*since) < FRESH => glance.clone(),
            _ => {
                let glance = look(self.io.clone(), self.started).boxed().shared();
                *latest = Some((now, glance.clone()));
                glance
            }
        }
    }
}

#[derive(Serialize)]
struct Overview<'a> {
    /// When this was, Unix milliseconds.
    time: u64,
    version: &'static str,
    uptime_ms: u64,
    /// `ready`, `draining` or `failing`.
    state: &'static str,
    /// Why nothing can be published.
    failure: Option<String>,
    connections: BTreeMap<&'static str, usize>,
    lagging: usize,
    outbox_bytes: usize,
    sockets: usize,
    channels: usize,
    subscriptions: usize,
    sessions_away: usize,
    log: Log<'a>,
    totals: Totals,
    /// From an event's time to when it was written.
    delay: &'a Histogram,
    /// Connections that ended, by reason.
    ended: BTreeMap<&'static str, u64>,
    /// Clients that were not let in, by code.
    refused: &'a [(String, u64)],
    process: Option<Usage>,
}

#[derive(Serialize)]
struct Log<'a> {
    /// The newest event.
    cursor: EventId,
    /// Whether there is a store.
    on_disk: bool,
    /// What one write to the store took.
    commits: Option<&'a Histogram>,
    retained_events: usize,
    retained_bytes: usize,
}

/// Since the server began.
#[derive(Serialize)]
struct Totals {
    opened: u64,
    published: u64,
    received: u64,
    delivered: u64,
    writes: u64,
    written_bytes: u64,
    rate_limited: u64,
    volatile_dropped: u64,
    lagged: u64,
    stalled: u64,
    replays: u64,
    gaps: u64,
    sessions_recovered: u64,
    sessions_lost: u64,
}

#[derive(Serialize)]
struct Usage {
    cpu_seconds: f64,
    resident_bytes: u64,
    open_files: u64,
}

async fn look(io: Io, started: Instant) -> Bytes {
    let metrics = io.metrics().await;
    let overview = overview(&io, started, &metrics);
    let json =
        serde_json::to_vec(&overview).inspect_err(|error| tracing::error!(%error, "an overview can't be written"));
    json.unwrap_or_default().into()
}

fn overview<'a>(io: &Io, started: Instant, metrics: &'a Metrics) -> Overview<'a> {
    let failure = io.failure();
    let counts = &metrics.counts;
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Overview {
        time: ms(time),
        version: env!("CARGO_PKG_VERSION"),
        uptime_ms: ms(started.elapsed()),
        state: match &failure {
            Some(_) => "failing",
            None if io.is_closing() => "draining",
            None => "ready",
        },
        failure: failure.map(|failure| failure.message().to_owned()),
        connections: metrics
            .connections
            .iter()
            .map(|(kind, count)| (metrics::name(*kind), *count))
            .collect(),
        lagging: metrics.lagging,
        outbox_bytes: metrics.outbox_bytes,
        sockets: counts.sockets,
        channels: counts.channels,
        subscriptions: counts.subscriptions,
        sessions_away: counts.sessions,
        log: Log {
            cursor: io.cursor(),
            on_disk: metrics.commits.is_some(),
            commits: metrics.commits.as_ref(),
            retained_events: counts.retained_events,
            retained_bytes: counts.retained_bytes,
        },
        totals: Totals {
            opened: metrics.opened,
            published: metrics.published,
            received: metrics.received,
            delivered: metrics.delivered,
            writes: metrics.writes,
            written_bytes: metrics.written_bytes,
            rate_limited: metrics.rate_limited,
            volatile_dropped: metrics.volatile_dropped,
            lagged: metrics.lagged,
            stalled: metrics.stalled,
            replays: metrics.replays,
            gaps: metrics.gaps,
            sessions_recovered: metrics.sessions_recovered,
            sessions_lost: metrics.sessions_lost,
        },
        delay: &metrics.delay,
        ended: metrics
            .ended
            .iter()
            .map(|(reason, count)| (reason.as_str(), *count))
            .collect(),
        refused: &metrics.refused,
        process: Process::read().map(|process| Usage {
            cpu_seconds: process.cpu_seconds,
            resident_bytes: process.resident_bytes,
            open_files: process.open_files,
        }),
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn so_many_are_kept_and_no_more() {
        let glances = Arc::new(Glances::new(&tidings::Tidings::builder().shards(1).build()));
        assert_eq!(glances.recent(), b"[]");
        for at in 0..KEPT_MAX + 2 {
            glances.add(at.to_string().into());
        }
        let recent: Vec<usize> = serde_json::from_slice(&glances.recent()).unwrap();
        assert_eq!((recent.len(), recent[0]), (KEPT_MAX, 2));
        // It ends when nobody could ask.
        let weak = Arc::downgrade(&glances);
        drop(glances);
        Glances::keep(weak).await;
    }

    #[tokio::test]
    async fn those_who_ask_within_a_second_get_the_same() {
        let io = tidings::Tidings::builder().shards(1).build();
        let glances = Glances::new(&io);
        let (one, other) = tokio::join!(glances.latest(), glances.latest());
        assert_eq!(one.as_ptr(), other.as_ptr());
        io.to("room").emit("hello", 1).await.unwrap();
        assert_eq!(glances.latest().await, one);
        if let Some((since, _)) = &mut *glances.latest.lock() {
            *since -= FRESH;
        }
        let json: serde_json::Value = serde_json::from_slice(&glances.latest().await).unwrap();
        assert_eq!(
            (&json["totals"]["published"], &json["state"]),
            (&1.into(), &"ready".into())
        );
    }
}

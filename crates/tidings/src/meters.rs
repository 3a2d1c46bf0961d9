//! Meters: what has happened since the server began, for metrics. Each shard counts for itself, without a lock and without an
//! instruction that locks the bus; who asks adds up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;

use crate::connections::ConnectionKind;
use crate::server::Counts;
use crate::shard::Shard;
use crate::shard::command::Command;
use crate::socketio::io::Io;
use crate::socketio::reason::Reason;

/// A count that one thread changes and any reads.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Only the thread that counts here may.
    pub(crate) fn add(&self, count: u64) {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before.wrapping_add(count), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The upper bounds of a histogram's buckets, in microseconds; one more is for what is above.
const BOUNDS_US: [u64; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000,
];

/// How long something took, counted by one thread.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    buckets: [Counter; BOUNDS_US.len() + 1],
    sum_us: Counter,
}

impl Timer {
    pub(crate) fn took(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].add(1);
        self.sum_us.add(us);
    }

    fn read(&self) -> Histogram {
        let mut histogram = Histogram::default();
        histogram.add(self);
        histogram
    }
}

/// What one shard has done. On cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Meters {
    pub(crate) opened: Counter,
    ended: [Counter; Reason::ALL.len()],
    /// Messages that clients sent.
    pub(crate) received: Counter,
    pub(crate) rate_limited: Counter,
    /// Events that were handed to a connection.
    pub(crate) delivered: Counter,
    /// Calls of the operating system that wrote, and what they wrote.
    pub(crate) writes: Counter,
    pub(crate) written_bytes: Counter,
    pub(crate) volatile_dropped: Counter,
    /// Events that were dropped for slow clients, and slow clients that were closed, where a channel says so.
    pub(crate) slow_dropped: Counter,
    pub(crate) slow_closed: Counter,
    /// Connections that fell behind.
    pub(crate) lagged: Counter,
    /// Connections that accepted no byte for too long.
    pub(crate) stalled: Counter,
    /// Connections that were set back, to get what they had missed.
    pub(crate) replays: Counter,
    pub(crate) gaps: Counter,
    /// From an event's time to when it was written to those who could take it.
    pub(crate) delay: Timer,
}

impl Meters {
    pub(crate) fn end(&self, reason: Reason) {
        self.ended[reason as usize].add(1);
    }
}

/// What has happened, and what there is, at one moment: see [`Io::metrics`]. Totals are since the server began.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// What there is.
    pub counts: Counts,
    /// Connections by what they speak.
    pub connections: Vec<(ConnectionKind, usize)>,
    /// Connections that are behind, and read on from the log when they drain.
    pub lagging: usize,
    /// Bytes that wait to be written, over all connections.
    pub outbox_bytes: usize,
    /// The position of the log.
    pub log_position: u64,
    /// Connections that were let in.
    pub opened: u64,
    /// Connections that ended, by reason.
    pub ended: Vec<(Reason, u64)>,
    /// Clients that were not let in, by the code they were told.
    pub refused: Vec<(String, u64)>,
    /// Events that were published and logged, duplicates among them.
    pub published: u64,
    /// Messages that clients sent.
    pub received: u64,
    /// Messages that were refused since their client sent too many.
    pub rate_limited: u64,
    /// Events handed to connections, live or as what they had missed.
    pub delivered: u64,
    /// Calls of the operating system that wrote to clients. `delivered` in relation to it says how many events share one.
    pub writes: u64,
    /// Bytes that these wrote, before TLS.
    pub written_bytes: u64,
    /// Volatile events that a client could not take.
    pub volatile_dropped: u64,
    /// Events that a slow client did not get, in channels of [`Slow::Drop`](crate::Slow::Drop).
    pub slow_dropped: u64,
    /// Connections that were closed since they were too slow.
    pub slow_closed: u64,
    /// How often a connection fell behind.
    pub lagged: u64,
    /// Connections that were closed since they accepted no byte for 30 s.
    pub stalled: u64,
    /// How often a client was given what it had missed, from its last id on.
    pub replays: u64,
    /// How often a client was told of a gap.
    pub gaps: u64,
    /// Socket.IO sessions that their clients came back to, and those that could not be restored.
    pub sessions_recovered: u64,
    /// See [`Metrics::sessions_recovered`].
    pub sessions_lost: u64,
    /// From an event's time to when it was written to those who could take it.
    pub delay: Histogram,
    /// What one write to the store took; none without a store.
    pub commits: Option<Histogram>,
}

/// How long something took, in buckets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Histogram {
    /// How often it took up to so many microseconds and more than the bucket before; the last bucket, of `u64::MAX`, has the rest.
    pub buckets: Vec<(u64, u64)>,
    /// All together, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    fn add(&mut self, timer: &Timer) {
        let bounds = BOUNDS_US.into_iter().chain([u64::MAX]);
        if self.buckets.is_empty() {
            self.buckets = bounds.map(|bound| (bound, 0)).collect();
        }
        for ((_, sum), count) in self.buckets.iter_mut().zip(&timer.buckets) {
            *sum += count.get();
        }
        self.sum_us += timer.sum_us.get();
    }

    /// How often in all.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }
}

/// What a shard has right now.
#[derive(Debug, Default)]
pub(crate) struct Census {
    kinds: Vec<(ConnectionKind, usize)>,
    lagging: usize,
    outbox_bytes: usize,
}

impl Io {
    /// What has happened and what there is, over all namespaces. Each connection is looked at: ask every few seconds, not for each
    /// request.
    ///
    /// ```no_run
    /// # async fn run(io: tidings::Io) {
    /// let metrics = io.metrics().await;
    /// println!("{} events in {} writes", metrics.delivered, metrics.writes);
    /// # }
    /// ```
    pub async fn metrics(&self) -> Metrics {
        let hub = &self.server.hub;
        let (reply, mut replies) = mpsc::unbounded_channel();
        hub.send_all(|| Command::Census(reply.clone()));
        drop(reply);
        // First, since a shard answers when it has done what came before.
        let mut census = Census::default();
        while let Some(part) = replies.recv().await {
            census.lagging += part.lagging;
            census.outbox_bytes += part.outbox_bytes;
            for (kind, count) in part.kinds {
                add_to(&mut census.kinds, kind, count);
            }
        }
        let mut metrics = Metrics {
            counts: self.counts(),
            connections: census.kinds,
            lagging: census.lagging,
            outbox_bytes: census.outbox_bytes,
            log_position: hub.log.position(),
            published: hub.published(),
            refused: hub.refusals.counts(),
            ended: Reason::ALL.iter().map(|reason| (*reason, 0)).collect(),
            commits: hub.log.commits().map(Timer::read),
            ..Metrics::default()
        };
        if let Some(sessions) = &self.server.sessions {
            (metrics.sessions_recovered, metrics.sessions_lost) = sessions.outcomes();
        }
        for meters in &*hub.meters {
            metrics.add(meters);
        }
        metrics
    }
}

impl Metrics {
    fn add(&mut self, meters: &Meters) {
        for (sum, counter) in [
            (&mut self.opened, &meters.opened),
            (&mut self.received, &meters.received),
            (&mut self.rate_limited, &meters.rate_limited),
            (&mut self.delivered, &meters.delivered),
            (&mut self.writes, &meters.writes),
            (&mut self.written_bytes, &meters.written_bytes),
            (&mut self.volatile_dropped, &meters.volatile_dropped),
            (&mut self.slow_dropped, &meters.slow_dropped),
            (&mut self.slow_closed, &meters.slow_closed),
            (&mut self.lagged, &meters.lagged),
            (&mut self.stalled, &meters.stalled),
            (&mut self.replays, &meters.replays),
            (&mut self.gaps, &meters.gaps),
        ] {
            *sum += counter.get();
        }
        for (reason, sum) in &mut self.ended {
            *sum += meters.ended[*reason as usize].get();
        }
        self.delay.add(&meters.delay);
    }
}

impl Shard {
    pub(crate) fn census(&mut self) -> Census {
        let mut census = Census::default();
        for connection in self.connections.iter_mut() {
            add_to(&mut census.kinds, connection.kind(), 1);
            census.lagging += usize::from(!connection.is_live());
            census.outbox_bytes += connection.outbox.bytes();
        }
        census
    }
}

fn add_to(kinds: &mut Vec<(ConnectionKind, usize)>, kind: ConnectionKind, count: usize) {
    match kinds.iter_mut().find(|(known, _)| *known == kind) {
        Some((_, sum)) => *sum += count,
        None => kinds.push((kind, count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_first_bucket_that_holds_it() {
        let timer = Timer::default();
        for us in [0, 100, 101, 250, 10_000_000, 10_000_001] {
            timer.took(Duration::from_micros(us));
        }
        let histogram = timer.read();
        let counts: Vec<u64> = histogram.buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((histogram.count(), histogram.sum_us), (6, 20_000_452));
    }
}

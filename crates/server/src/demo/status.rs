//! What the status panel polls: the server's numbers, published now and then in [`CHANNEL`].

use std::time::{Duration, Instant};

use serde::Serialize;
use tidings::Io;

/// Where they are published.
pub(super) const CHANNEL: &str = "demo:status";

/// How often. It is longer than the page's polls are apart, so that some of those find nothing new.
const EVERY: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Status {
    connections: usize,
    /// Channels with at least one subscriber.
    channels: usize,
    /// Events in memory.
    retained: usize,
    /// How long the server has been running.
    uptime_s: u64,
}

/// Publishes until the server ends.
pub(crate) async fn publish_status(io: Io) {
    let begin = Instant::now();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if io.is_closing() {
            return;
        }
        let counts = io.counts();
        let status = Status {
            connections: counts.connections,
            channels: counts.channels,
            retained: counts.retained_events,
            uptime_s: begin.elapsed().as_secs(),
        };
        // What can't be kept now has been logged, and the next one may be.
        let _ = io.to(CHANNEL).emit("status", &status).await;
    }
}

//! The figures of one round, and what many rounds of the same come to.

use std::time::Duration;

use crate::kernel::Usage;
use crate::latency::Latencies;
use crate::rooms::Tally;
use crate::sequence::Faults;
use crate::storm::Storm;

/// A round is dropped when other processes had more than this share of the server's core, or kept the generator from
/// running for more than this share of the time.
pub(crate) const FOREIGN_MAX: f64 = 0.05;

/// One server under one workload, once.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) figures: Figures,
    /// Share of a core that the server used.
    pub(crate) server_share: f64,
    /// Share of a core that the generator used.
    pub(crate) load_share: f64,
    pub(crate) server_core_foreign: f64,
    pub(crate) load_delay: f64,
    pub(crate) faults: Faults,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Figures {
    /// The measured window of a fan-out, or of round trips.
    Delivery(Delivery),
    /// Fan-out while some don't read.
    Stalled(Stalled),
    /// Connections that were made.
    Connects(Connects),
    /// KiB of the server's resident memory per idle connection.
    IdleKib(f64),
    /// The measured window of a fan-out, and what its connections had cost.
    Growth(Growth),
    /// How often the server allocates.
    Allocations(Allocations),
    /// The measured window of publishes that are kept.
    Publishes(Publishes),
    /// A resume storm.
    Return(Return),
}

/// What the measured window of a fan-out gave; of round trips, where an answer is a delivery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    pub(crate) per_cpu_second: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Events that a client got with one read: how well a server coalesces.
    pub(crate) events_per_read: f64,
}

/// What a fan-out gave those that read, before and after some stopped to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stalled {
    pub(crate) p99_before_ms: f64,
    pub(crate) p99_ms: f64,
    /// The server's resident memory, in MiB, before they stopped and at its most after it.
    pub(crate) before_mib: f64,
    pub(crate) peak_mib: f64,
}

/// What a crowd costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    pub(crate) delivery: Delivery,
    /// CPU time of the server to let one in, in microseconds.
    pub(crate) connect_us: f64,
    /// KiB of the server's resident memory for each.
    pub(crate) kib: f64,
}

/// How often a server allocates, and how many bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allocations {
    /// For a connection.
    pub(crate) connect: f64,
    pub(crate) connect_bytes: f64,
    /// For an event, with all its deliveries.
    pub(crate) event: f64,
    pub(crate) event_bytes: f64,
    /// For a question that is answered.
    pub(crate) answer: f64,
    pub(crate) answer_bytes: f64,
}

/// What connecting gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connects {
    /// CPU time of the server for each, in microseconds.
    pub(crate) cpu_us: f64,
    pub(crate) per_second: f64,
    /// From a connection's begin to when its client is in its room.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// What the measured window of publishes that are kept gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publishes {
    pub(crate) per_second: f64,
    pub(crate) per_cpu_second: f64,
    /// From a publish to its answer.
    pub(crate) answer_p50_ms: f64,
    pub(crate) answer_p99_ms: f64,
    /// From a publish to when a subscriber read it.
    pub(crate) delivery_p50_ms: f64,
    pub(crate) delivery_p99_ms: f64,
    pub(crate) events_per_read: f64,
    /// What one sync of the disk took just before.
    pub(crate) sync_ms: f64,
}

/// What a resume storm gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Return {
    /// From the first connection's begin to when the last client had all.
    pub(crate) seconds: f64,
    /// The same for one client.
    pub(crate) client_p50_ms: f64,
    pub(crate) client_p99_ms: f64,
    /// Thousands of missed events a second, over all clients.
    pub(crate) per_second: f64,
    /// CPU time of the server.
    pub(crate) cpu_seconds: f64,
    /// The server's resident memory, in MiB, before the storm and at its most.
    pub(crate) before_mib: f64,
    pub(crate) peak_mib: f64,
}

impl Delivery {
    pub(crate) fn new(tally: &Tally, usage: &Usage) -> Self {
        let deliveries = tally.deliveries as f64;
        Self {
            per_cpu_second: deliveries / usage.server.as_secs_f64(),
            per_second: deliveries / usage.wall.as_secs_f64(),
            p50_ms: tally.latencies.quantile_ms(0.5).unwrap_or(f64::NAN),
            p99_ms: tally.latencies.quantile_ms(0.99).unwrap_or(f64::NAN),
            events_per_read: deliveries / tally.reads as f64,
        }
    }
}

impl Stalled {
    pub(crate) fn new(before: &Latencies, after: &Latencies, before_kib: u64, peak_kib: u64) -> Self {
        Self {
            p99_before_ms: before.quantile_ms(0.99).unwrap_or(f64::NAN),
            p99_ms: after.quantile_ms(0.99).unwrap_or(f64::NAN),
            before_mib: before_kib as f64 / 1024.0,
            peak_mib: peak_kib as f64 / 1024.0,
        }
    }
}

impl Connects {
    pub(crate) fn new(connections: usize, times: &Latencies, usage: &Usage) -> Self {
        let count = connections as f64;
        Self {
            cpu_us: usage.server.as_secs_f64() * 1e6 / count,
            per_second: count / usage.wall.as_secs_f64(),
            p50_ms: times.quantile_ms(0.5).unwrap_or(f64::NAN),
            p99_ms: times.quantile_ms(0.99).unwrap_or(f64::NAN),
        }
    }
}

impl Publishes {
    pub(crate) fn new(
        answers: u64,
        answer_latencies: &Latencies,
        delivery_latencies: &Latencies,
        events_per_read: f64,
        sync_ms: f64,
        usage: &Usage,
    ) -> Self {
        let quantile = |latencies: &Latencies, share| latencies.quantile_ms(share).unwrap_or(f64::NAN);
        Self {
            per_second: answers as f64 / usage.wall.as_secs_f64(),
            per_cpu_second: answers as f64 / usage.server.as_secs_f64(),
            answer_p50_ms: quantile(answer_latencies, 0.5),
            answer_p99_ms: quantile(answer_latencies, 0.99),
            delivery_p50_ms: quantile(delivery_latencies, 0.5),
            delivery_p99_ms: quantile(delivery_latencies, 0.99),
            events_per_read,
            sync_ms,
        }
    }
}

impl Return {
    pub(crate) fn new(
        storm: Storm,
        time: Duration,
        times: &Latencies,
        before_kib: u64,
        peak_kib: u64,
        usage: &Usage,
    ) -> Self {
        let seconds = time.as_secs_f64();
        Self {
            seconds,
            client_p50_ms: times.quantile_ms(0.5).unwrap_or(f64::NAN),
            client_p99_ms: times.quantile_ms(0.99).unwrap_or(f64::NAN),
            per_second: (storm.clients as u64 * storm.missed) as f64 / seconds,
            cpu_seconds: usage.server.as_secs_f64(),
            before_mib: before_kib as f64 / 1024.0,
            peak_mib: peak_kib as f64 / 1024.0,
        }
    }
}

impl Round {
    pub(crate) fn new(figures: Figures, usage: &Usage, faults: Faults) -> Self {
        Self {
            figures,
            server_share: usage.server.div_duration_f64(usage.wall),
            load_share: usage.load.div_duration_f64(usage.wall),
            server_core_foreign: usage.server_core_foreign,
            load_delay: usage.load_delay,
            faults,
        }
    }

    /// Whether the cores belonged to the benchmark. What is counted doesn't mind company.
    pub(crate) fn quiet(&self) -> bool {
        matches!(self.figures, Figures::IdleKib(_) | Figures::Allocations(_))
            || self.server_core_foreign.max(self.load_delay) <= FOREIGN_MAX
    }
}

/// The median of some rounds, and the least and greatest of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

impl Spread {
    /// None without values.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            (*sorted.get(middle.checked_sub(1)?)? + sorted[middle]) / 2.0
        } else {
            sorted[middle]
        };
        Some(Self {
            median,
            least: *sorted.first()?,
            greatest: *sorted.last()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_median_and_range() {
        assert_eq!(Spread::of([].into_iter()), None);
        let odd = Spread::of([3.0, 1.0, 10.0].into_iter());
        assert_eq!(
            odd,
            Some(Spread {
                median: 3.0,
                least: 1.0,
                greatest: 10.0
            })
        );
        let even = Spread::of([4.0, 1.0, 10.0, 2.0].into_iter());
        assert_eq!(
            even,
            Some(Spread {
                median: 3.0,
                least: 1.0,
                greatest: 10.0
            })
        );
    }
}

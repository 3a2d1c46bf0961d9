//! The figures of one round, and what many rounds of the same come to.

use crate::kernel::Usage;
use crate::room::Tally;
use crate::sequence::Faults;

/// A round is dropped when other processes had more than this share of the server's core, or kept the generator from
/// running for more than this share of the time.
pub(crate) const FOREIGN_MAX: f64 = 0.05;

/// One server under one workload, once.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) delivery: Option<Delivery>,
    /// KiB of the server's resident memory per idle connection.
    pub(crate) idle_kib: Option<f64>,
    /// Share of a core that the server used.
    pub(crate) server_share: f64,
    /// Share of a core that the generator used.
    pub(crate) load_share: f64,
    pub(crate) server_core_foreign: f64,
    pub(crate) load_delay: f64,
    pub(crate) faults: Faults,
}

/// What the measured window of a fan-out gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    pub(crate) per_cpu_second: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Events that a client got with one read: how well a server coalesces.
    pub(crate) events_per_read: f64,
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

impl Round {
    pub(crate) fn fanout(delivery: Delivery, usage: &Usage, faults: Faults) -> Self {
        Self {
            delivery: Some(delivery),
            idle_kib: None,
            faults,
            ..Self::new(usage)
        }
    }

    pub(crate) fn idle(kib: f64, usage: &Usage) -> Self {
        Self {
            idle_kib: Some(kib),
            ..Self::new(usage)
        }
    }

    fn new(usage: &Usage) -> Self {
        Self {
            delivery: None,
            idle_kib: None,
            server_share: usage.server.div_duration_f64(usage.wall),
            load_share: usage.load.div_duration_f64(usage.wall),
            server_core_foreign: usage.server_core_foreign,
            load_delay: usage.load_delay,
            faults: Faults::default(),
        }
    }

    /// Whether the cores belonged to the benchmark. Memory doesn't mind company.
    pub(crate) fn quiet(&self) -> bool {
        self.delivery.is_none() || self.server_core_foreign.max(self.load_delay) <= FOREIGN_MAX
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

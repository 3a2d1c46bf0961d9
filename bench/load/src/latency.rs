//! A histogram of latencies: constant memory, at most 1.6 % off.

/// Buckets for each power of two.
const STEPS: u64 = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// Latencies in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    counts: Vec<u64>,
    count: u64,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self {
            counts: vec![0; ((64 - STEP_BITS + 1) as usize) * STEPS as usize],
            count: 0,
        }
    }

    pub(crate) fn record(&mut self, latency_ns: u64) {
        self.counts[bucket(latency_ns)] += 1;
        self.count += 1;
    }

    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
        self.count = 0;
    }

    /// The latency in milliseconds that `share` (0 to 1) of them did not exceed; none when there are none.
    pub(crate) fn quantile_ms(&self, share: f64) -> Option<f64> {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(upper_bound_ns(bucket) as f64 / 1e6)
    }
}

/// Below `STEPS` one bucket each; above, the leading bits of the value.
fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let exponent = value.ilog2() - STEP_BITS;
    (u64::from(exponent) * STEPS + (value >> exponent)) as usize
}

fn upper_bound_ns(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let exponent = bucket / STEPS - 1;
    let lead = bucket - exponent * STEPS;
    ((lead + 1) << exponent) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_its_bound_says() {
        for value in (0..2_000).chain([12_345, 6_200_000, 43_000_000, 1 << 40]) {
            let bound = upper_bound_ns(bucket(value));
            assert!(bound >= value, "{value}: {bound}");
            assert!(bound as f64 <= value as f64 * 1.016, "{value}: {bound}");
            assert!(bucket(bound) == bucket(value) && bucket(bound + 1) == bucket(value) + 1);
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.quantile_ms(0.5), None);
        for ms in 1..=100 {
            latencies.record(ms * 1_000_000);
        }
        for (share, ms) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            let quantile = latencies.quantile_ms(share).expect("values");
            assert!((ms..ms * 1.016).contains(&quantile), "{share}: {quantile}");
        }
    }
}

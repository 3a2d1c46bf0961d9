//! A connection's messages against the limit on their rate (the generic cell rate algorithm).

use crate::limits::{RATE_CALM_MS, RATE_CLOSE_MS};

/// What one connection has used of its rate. Times are milliseconds of the shard's clock.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    /// When the next message is on time, in microseconds: ahead of now by what was used of the burst.
    theoretical_us: u64,
    /// The first refusal of a time in which there was no calm; 0 in a calm.
    over_since_ms: u64,
    /// The latest refusal.
    refused_ms: u64,
}

/// What to do with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Handle it.
    Pass,
    /// Refuse it.
    Refuse,
    /// Close the connection: it has been over the limit for too long.
    Close,
}

impl Rate {
    /// Counts a message. `per_second` 0 is no limit.
    pub(crate) fn count(&mut self, now_ms: u64, per_second: u32, burst: u32) -> Verdict {
        if per_second == 0 {
            return Verdict::Pass;
        }
        let interval_us = 1_000_000 / u64::from(per_second);
        let tolerance_us = interval_us * u64::from(burst.max(1) - 1);
        let now_us = now_ms * 1_000;
        if self.theoretical_us <= now_us + tolerance_us {
            self.theoretical_us = self.theoretical_us.max(now_us) + interval_us;
            return Verdict::Pass;
        }
        // Who keeps sending gets one through now and then, and is over the limit all the same.
        if self.over_since_ms == 0 || now_ms - self.refused_ms > RATE_CALM_MS {
            self.over_since_ms = now_ms.max(1);
        }
        self.refused_ms = now_ms;
        if now_ms.saturating_sub(self.over_since_ms) > RATE_CLOSE_MS {
            Verdict::Close
        } else {
            Verdict::Refuse
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_burst_passes_then_the_rate() {
        let mut rate = Rate::default();
        let verdicts: Vec<_> = (0..4).map(|_| rate.count(1_000, 10, 3)).collect();
        assert_eq!(verdicts, [Verdict::Pass, Verdict::Pass, Verdict::Pass, Verdict::Refuse]);
        assert_eq!(rate.count(1_099, 10, 3), Verdict::Refuse);
        assert_eq!(rate.count(1_100, 10, 3), Verdict::Pass);
        assert_eq!(rate.count(1_100, 10, 3), Verdict::Refuse);
        // As long as it takes for the whole burst.
        let verdicts: Vec<_> = (0..4).map(|_| rate.count(2_000, 10, 3)).collect();
        assert_eq!(verdicts, [Verdict::Pass, Verdict::Pass, Verdict::Pass, Verdict::Refuse]);
    }

    #[test]
    fn who_never_stops_is_closed_though_some_messages_pass() {
        let mut rate = Rate::default();
        let mut passed = 0;
        let closed = (0..).map(|n| n * 20).find(|now_ms| match rate.count(*now_ms, 5, 1) {
            Verdict::Pass => {
                passed += 1;
                false
            }
            Verdict::Refuse => false,
            Verdict::Close => true,
        });
        assert_eq!(closed, Some(10_040));
        assert_eq!(passed, 51);
    }

    #[test]
    fn a_calm_forgives() {
        let mut rate = Rate::default();
        for round in 0..20 {
            let start_ms = round * 5_000;
            let worst = (0..100)
                .map(|n| rate.count(start_ms + n * 20, 5, 1))
                .max_by_key(|verdict| *verdict as u8);
            assert_eq!(worst, Some(Verdict::Refuse));
        }
    }

    #[test]
    fn zero_is_no_limit() {
        let mut rate = Rate::default();
        assert!((0..10_000).all(|_| rate.count(1, 0, 1) == Verdict::Pass));
    }
}

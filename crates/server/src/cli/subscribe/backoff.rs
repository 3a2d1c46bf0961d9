//! How long to wait before coming back: longer each time, and never all at once.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);

/// The waits of one time without a connection.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The next wait, and not less than what the server asked for.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let most = FIRST.saturating_mul(1 << self.tries.min(10)).min(LONGEST);
        self.tries += 1;
        let wait = rand::random_range(most / 2..=most);
        wait.max(asked.unwrap_or_default().min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_most() {
        let mut backoff = Backoff::default();
        for most_ms in [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            let most = Duration::from_millis(most_ms);
            let wait = backoff.next(None);
            assert!(most / 2 <= wait && wait <= most, "{wait:?} of {most:?}");
        }
        assert_eq!(
            Backoff::default().next(Some(Duration::from_secs(3))),
            Duration::from_secs(3)
        );
        assert_eq!(Backoff::default().next(Some(Duration::MAX)), LONGEST);
    }
}

//! Calls that may be late: a queue that can't grow for ever, and when one that failed is tried again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The most that waits.
const MAX: usize = 10_000;

/// How long one is tried.
const LONGEST: Duration = Duration::from_secs(600);

/// The first wait after a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What waits, the oldest first.
pub(super) struct Queue<T> {
    waiting: VecDeque<T>,
    max: usize,
    dropped: u64,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self::of(MAX)
    }

    fn of(max: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            max,
            dropped: 0,
        }
    }

    /// Adds one. When there are too many the oldest goes: then it says how many have gone so far.
    pub(super) fn push(&mut self, item: T) -> Option<u64> {
        self.waiting.push_back(item);
        if self.waiting.len() <= self.max {
            return None;
        }
        self.waiting.pop_front();
        self.dropped += 1;
        Some(self.dropped)
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let item = self.waiting.pop_front();
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        item
    }

    /// How many have gone since there were too many.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// The tries of one call.
pub(super) struct Tries {
    since: Instant,
    count: u32,
}

impl Tries {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, count: 0 }
    }

    /// How long to wait after one more failure; none when it has been tried for long enough. `random` is from 0 to 1: not all
    /// that wait come at once.
    pub(super) fn pause(&mut self, now: Instant, random: f64) -> Option<Duration> {
        let most = FIRST_PAUSE.saturating_mul(1 << self.count.min(10)).min(LONGEST_PAUSE);
        self.count += 1;
        let pause = most.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0));
        (now + pause <= self.since + LONGEST).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_give_way_and_are_counted() {
        let mut queue = Queue::of(3);
        let dropped: Vec<_> = (0..5).map(|item| queue.push(item)).collect();
        assert_eq!(dropped, [None, None, None, Some(1), Some(2)]);
        assert_eq!(queue.len(), 3);
        let left: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(left, [2, 3, 4]);
        let mut full = Queue::new();
        assert!((0..10_000).all(|item| full.push(item).is_none()));
        assert_eq!(full.push(10_000), Some(1));
    }

    #[test]
    fn waits_double_to_a_most_and_end_after_ten_minutes() {
        let start = Instant::now();
        let (mut tries, mut now) = (Tries::new(start), start);
        let mut pauses_s = Vec::new();
        while let Some(pause) = tries.pause(now, 1.0) {
            pauses_s.push(pause.as_secs());
            now += pause;
        }
        assert_eq!(pauses_s[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(now <= start + LONGEST && now + LONGEST_PAUSE > start + LONGEST);
        assert_eq!(Tries::new(start).pause(start, 0.0), Some(Duration::from_millis(500)));
    }
}

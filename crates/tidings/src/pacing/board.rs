//! A board: the latest value of each key of a conflated channel.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use crate::event::Event;
use crate::limits::BOARD_BYTES_MAX;

#[derive(Debug, Default)]
pub(super) struct Board {
    values: HashMap<Box<str>, Value>,
    /// What the values take in memory, about.
    bytes: usize,
    /// Until when what comes is held.
    window: Option<Instant>,
    /// The version of the newest value.
    version: u64,
    keep: Duration,
}

#[derive(Debug)]
struct Value {
    event: Arc<Event>,
    /// Grows with each value.
    version: u64,
    since: Instant,
    is_held: bool,
}

impl Value {
    fn bytes(&self, key: &str) -> usize {
        self.event.bytes() + key.len() + size_of::<Self>()
    }
}

impl Board {
    /// Takes a value: it goes out at once, or at the end of the window. What goes out is put into `out`.
    pub(super) fn take(
        &mut self,
        key: Box<str>,
        event: Arc<Event>,
        version: u64,
        now: Instant,
        (every, keep): (Duration, Duration),
        out: &mut Vec<Arc<Event>>,
    ) {
        self.keep = keep;
        self.tick(now, every, out);
        let is_held = self.window.is_some();
        if !is_held {
            self.window = Some(now + every);
            out.push(Arc::clone(&event));
        }
        self.version = version;
        let value = Value {
            event,
            version,
            since: now,
            is_held,
        };
        self.bytes += value.bytes(&key);
        if let Some(before) = self.values.insert(key.clone(), value) {
            self.bytes -= before.bytes(&key);
        }
        while self.values.len() > 1 && self.bytes > BOARD_BYTES_MAX {
            self.let_oldest_go(out);
        }
    }

    /// The oldest value is no longer kept. One that nobody has got goes out now.
    fn let_oldest_go(&mut self, out: &mut Vec<Arc<Event>>) {
        let oldest = self.values.iter().min_by_key(|(_, value)| value.version);
        let Some(key) = oldest.map(|(key, _)| key.clone()) else {
            return;
        };
        if let Some(value) = self.values.remove(&key) {
            self.bytes -= value.bytes(&key);
            if value.is_held {
                out.push(value.event);
            }
        }
    }

    /// Ends the window if its time has come: what was held goes out, in the order in which it came, and if there was any, the next
    /// window begins.
    pub(super) fn tick(&mut self, now: Instant, every: Duration, out: &mut Vec<Arc<Event>>) {
        if self.window.is_some_and(|end| now < end) {
            return;
        }
        let has_held = self.flush(out);
        self.window = has_held.then(|| now + every);
        let (keep, bytes) = (self.keep, &mut self.bytes);
        self.values.retain(|key, value| {
            let stays = now < value.since + keep;
            if !stays {
                *bytes -= value.bytes(key);
            }
            stays
        });
    }

    /// What is held goes out; true when there was any.
    pub(super) fn flush(&mut self, out: &mut Vec<Arc<Event>>) -> bool {
        let mut held: Vec<(u64, Arc<Event>)> = Vec::new();
        for value in self.values.values_mut().filter(|value| value.is_held) {
            value.is_held = false;
            held.push((value.version, Arc::clone(&value.event)));
        }
        held.sort_unstable_by_key(|(version, _)| *version);
        let has_held = !held.is_empty();
        out.extend(held.into_iter().map(|(_, event)| event));
        has_held
    }

    /// When it has to be looked at again; never when nothing is left of it.
    pub(super) fn due(&self) -> Option<Instant> {
        self.window
            .or_else(|| self.values.values().map(|value| value.since + self.keep).min())
    }

    /// The latest values, in the order in which they came.
    pub(super) fn latest(&self, now: Instant) -> Vec<Arc<Event>> {
        let kept = self.values.values().filter(|value| now < value.since + self.keep);
        let mut kept: Vec<&Value> = kept.collect();
        kept.sort_unstable_by_key(|value| value.version);
        kept.into_iter().map(|value| Arc::clone(&value.event)).collect()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::conformance::draft;

    const EVERY: Duration = Duration::from_millis(50);
    const KEEP: Duration = Duration::from_secs(10);

    struct Trial {
        board: Board,
        begin: Instant,
        versions: u64,
        out: Vec<Arc<Event>>,
    }

    impl Trial {
        fn new() -> Self {
            Self {
                board: Board::default(),
                begin: Instant::now(),
                versions: 0,
                out: Vec::new(),
            }
        }

        fn at(&self, ms: u64) -> Instant {
            self.begin + Duration::from_millis(ms)
        }

        fn take(&mut self, ms: u64, key: &str, text: &str) -> Vec<String> {
            self.versions += 1;
            let event = Arc::new(Event::unlogged(draft(&["c"], text)));
            let now = self.at(ms);
            self.board
                .take(key.into(), event, self.versions, now, (EVERY, KEEP), &mut self.out);
            self.shown()
        }

        fn tick(&mut self, ms: u64) -> Vec<String> {
            self.board.tick(self.at(ms), EVERY, &mut self.out);
            self.shown()
        }

        fn shown(&mut self) -> Vec<String> {
            texts(&std::mem::take(&mut self.out))
        }
    }

    fn texts(events: &[Arc<Event>]) -> Vec<String> {
        let text = |event: &Arc<Event>| event.draft.message.arguments().trim_matches('"').to_owned();
        events.iter().map(text).collect()
    }

    #[test]
    fn the_first_goes_out_at_once_and_then_what_changed_once_in_a_window() {
        let mut trial = Trial::new();
        assert_eq!(trial.take(0, "a", "a1"), ["a1"]);
        assert!(trial.take(10, "a", "a2").is_empty());
        assert!(trial.take(20, "b", "b1").is_empty());
        assert!(trial.take(30, "a", "a3").is_empty());
        assert!(trial.tick(49).is_empty());
        assert_eq!(trial.tick(50), ["b1", "a3"]);
        assert!(trial.take(60, "a", "a4").is_empty());
        assert_eq!(trial.tick(100), ["a4"]);
        assert!(trial.tick(150).is_empty());
        assert_eq!(trial.take(151, "a", "a5"), ["a5"]);
    }

    #[test]
    fn a_tick_that_comes_late_loses_nothing() {
        let mut trial = Trial::new();
        trial.take(0, "a", "a1");
        trial.take(10, "a", "a2");
        trial.take(20, "b", "b1");
        // The window is over, and nobody has looked.
        assert_eq!(trial.take(70, "a", "a3"), ["a2", "b1"]);
        assert_eq!(trial.tick(120), ["a3"]);
    }

    #[test]
    fn who_comes_late_gets_the_latest_of_each_key_for_as_long_as_it_is_kept() {
        let mut trial = Trial::new();
        trial.take(0, "a", "a1");
        trial.take(10, "b", "b1");
        trial.take(6_000, "a", "a2");
        assert_eq!(texts(&trial.board.latest(trial.at(6_001))), ["b1", "a2"]);
        assert_eq!(texts(&trial.board.latest(trial.at(10_011))), ["a2"]);
        trial.tick(10_100);
        trial.tick(10_151);
        assert_eq!(trial.board.due(), Some(trial.at(16_000)));
        trial.tick(16_001);
        assert_eq!((trial.board.due(), trial.board.bytes()), (None, 0));
    }

    #[test]
    fn a_board_is_bounded_and_what_gives_way_is_still_told() {
        let mut trial = Trial::new();
        let large = "x".repeat(BOARD_BYTES_MAX / 4);
        assert_eq!(trial.take(0, "0", &large).len(), 1);
        let mut told = 0;
        for key in 1..20 {
            told += trial.take(key, &key.to_string(), &large).len();
            assert!(trial.board.bytes() <= BOARD_BYTES_MAX);
        }
        told += trial.tick(60).len();
        assert_eq!(told, 19);
        for key in 0..10_000 {
            trial.take(61, &format!("k{key}"), "1");
        }
        let kept = trial.board.latest(trial.at(61)).len();
        assert!(trial.board.bytes() <= BOARD_BYTES_MAX && kept > 2_000, "{kept}");
    }
}

//! Decisions that hold for a moment: a client that polls comes every few seconds, and need not be asked about each time.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};

/// How long one holds.
const TIME: Duration = Duration::from_secs(10);

/// How many are kept; the oldest give way.
const MAX: usize = 10_000;

/// For whom, and for what: a hash, since a token must not lie about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

impl Key {
    /// The key of these parts, in this order.
    pub(super) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            // With its length, so that no two lists are one text.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        Self(key)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What was decided. All hold for the same time, so that the first to come is the first to go.
pub(super) struct Remembered<T> {
    decisions: HashMap<Key, (Instant, T)>,
    order: VecDeque<(Instant, Key)>,
    max: usize,
}

impl<T: Clone> Remembered<T> {
    pub(super) fn new() -> Self {
        Self::of(MAX)
    }

    fn of(max: usize) -> Self {
        Self {
            decisions: HashMap::new(),
            order: VecDeque::new(),
            max,
        }
    }

    pub(super) fn find(&self, key: &Key, now: Instant) -> Option<T> {
        let (since, decision) = self.decisions.get(key)?;
        (now < *since + TIME).then(|| decision.clone())
    }

    pub(super) fn add(&mut self, key: Key, decision: T, now: Instant) {
        self.decisions.insert(key, (now, decision));
        self.order.push_back((now, key));
        while let Some((since, oldest)) = self.order.front().copied() {
            let is_due = self.decisions.len() > self.max || self.order.len() > 2 * self.max || now >= since + TIME;
            // One that was decided anew has a later place too.
            let is_renewed = self.decisions.get(&oldest).is_none_or(|(latest, _)| *latest != since);
            if !is_due && !is_renewed {
                break;
            }
            self.order.pop_front();
            if !is_renewed {
                self.decisions.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::of([name.as_bytes()])
    }

    #[test]
    fn a_decision_holds_for_ten_seconds() {
        let (mut remembered, now) = (Remembered::new(), Instant::now());
        remembered.add(key("a"), 1, now);
        assert_eq!(
            remembered.find(&key("a"), now + TIME - Duration::from_millis(1)),
            Some(1)
        );
        assert_eq!(remembered.find(&key("a"), now + TIME), None);
        assert_eq!(remembered.find(&key("b"), now), None);
        remembered.add(key("b"), 2, now + TIME);
        assert_eq!(remembered.decisions.len(), 1, "what holds no more is let go of");
    }

    #[test]
    fn the_oldest_give_way() {
        let (mut remembered, now) = (Remembered::of(2), Instant::now());
        let at = |ms| now + Duration::from_millis(ms);
        remembered.add(key("a"), 1, at(0));
        remembered.add(key("b"), 2, at(1));
        remembered.add(key("a"), 3, at(2));
        remembered.add(key("c"), 4, at(3));
        let found = |name| remembered.find(&key(name), at(4));
        assert_eq!([found("a"), found("b"), found("c")], [Some(3), None, Some(4)]);
        assert_eq!(remembered.order.len(), 2);
    }

    #[test]
    fn no_two_lists_have_one_key() {
        let of = |parts: &[&str]| Key::of(parts.iter().map(|part| part.as_bytes()));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a"]), of(&["a", ""]));
    }
}

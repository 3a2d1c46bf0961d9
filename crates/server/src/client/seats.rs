//! How many connections each user has.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// The seats of all users.
pub(super) struct Seats {
    /// How many a user has; 0 is no limit.
    max: usize,
    taken: Mutex<HashMap<Arc<str>, usize>>,
}

/// A connection's seat, free again when dropped.
pub(super) struct Seat {
    seats: Arc<Seats>,
    sub: Arc<str>,
}

impl Seats {
    /// `max` seats for each user; 0 is no limit.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            taken: Mutex::default(),
        }
    }

    /// Takes a seat for a user: none when all are taken, an empty one when nobody counts. Who changes seats may take one more,
    /// until the old one is free.
    pub(super) fn take(self: &Arc<Self>, sub: &Arc<str>, is_change: bool) -> Option<Option<Seat>> {
        if self.max == 0 {
            return Some(None);
        }
        let mut taken = self.taken.lock();
        let count = taken.entry(Arc::clone(sub)).or_default();
        if *count >= self.max && !is_change {
            return None;
        }
        *count += 1;
        drop(taken);
        Some(Some(Seat {
            seats: Arc::clone(self),
            sub: Arc::clone(sub),
        }))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock();
        if let Some(count) = taken.get_mut(&self.sub) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.sub);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_so_many_seats_and_no_more() {
        let seats = Arc::new(Seats::new(2));
        let (ann, bob): (Arc<str>, Arc<str>) = ("ann".into(), "bob".into());
        let first = seats.take(&ann, false).unwrap().unwrap();
        let _second = seats.take(&ann, false).unwrap().unwrap();
        assert!(seats.take(&ann, false).is_none());
        assert!(seats.take(&bob, false).is_some());
        drop(first);
        let changed = seats.take(&ann, true).unwrap().unwrap();
        drop(changed);
        let _third = seats.take(&ann, false).unwrap().unwrap();
        assert!(seats.take(&ann, false).is_none());
    }

    #[test]
    fn who_is_gone_leaves_nothing_behind() {
        let seats = Arc::new(Seats::new(1));
        drop(seats.take(&Arc::from("ann"), false));
        assert!(seats.taken.lock().is_empty());
    }

    #[test]
    fn zero_is_no_limit() {
        let seats = Arc::new(Seats::new(0));
        let ann = Arc::from("ann");
        let taken: Vec<_> = (0..100).map(|_| seats.take(&ann, false)).collect();
        assert!(taken.iter().all(Option::is_some));
    }
}

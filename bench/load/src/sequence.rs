//! One client's check that every event arrives once and in order.

use std::collections::BTreeSet;

/// What was wrong, counted over clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Never arrived.
    pub(crate) lost: u64,
    /// Arrived again.
    pub(crate) repeated: u64,
    /// Arrived after a later one.
    pub(crate) reordered: u64,
    /// Were not the event that was sent.
    pub(crate) garbled: u64,
    /// Connections that ended before the run did.
    pub(crate) cut: u64,
}

impl Faults {
    pub(crate) fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.reordered += other.reordered;
        self.garbled += other.garbled;
        self.cut += other.cut;
    }

    /// The sum of all faults.
    pub(crate) fn count(self) -> u64 {
        self.lost + self.repeated + self.reordered + self.garbled + self.cut
    }
}

/// The events of one client so far.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    next: u64,
    missing: BTreeSet<u64>,
}

impl Sequence {
    /// Of a client that has all events before `next` already.
    pub(crate) fn starting_at(next: u64) -> Self {
        Self {
            next,
            missing: BTreeSet::new(),
        }
    }

    /// Notes an arrival. True if this client had not had the event yet. `seq` is below the count of published events.
    pub(crate) fn arrive(&mut self, seq: u64, faults: &mut Faults) -> bool {
        if seq == self.next {
            self.next += 1;
            return true;
        }
        if seq > self.next {
            self.missing.extend(self.next..seq);
            self.next = seq + 1;
            return true;
        }
        if self.missing.remove(&seq) {
            faults.reordered += 1;
            return true;
        }
        faults.repeated += 1;
        false
    }

    /// How many of the `published` events never came.
    pub(crate) fn lost(&self, published: u64) -> u64 {
        self.missing.len() as u64 + published.saturating_sub(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arrivals: &[u64], published: u64, expect: Faults) {
        let mut sequence = Sequence::default();
        let mut faults = Faults::default();
        for seq in arrivals {
            sequence.arrive(*seq, &mut faults);
        }
        faults.lost = sequence.lost(published);
        assert_eq!(faults, expect, "{arrivals:?}");
    }

    #[test]
    fn faults_are_told_apart() {
        let none = Faults::default();
        check(&[0, 1, 2], 3, none);
        check(&[], 3, Faults { lost: 3, ..none });
        check(&[0, 2], 3, Faults { lost: 1, ..none });
        check(&[0, 1], 3, Faults { lost: 1, ..none });
        check(&[0, 2, 1], 3, Faults { reordered: 1, ..none });
        check(&[2, 0, 1], 3, Faults { reordered: 2, ..none });
        check(&[0, 1, 1, 2], 3, Faults { repeated: 1, ..none });
        check(
            &[0, 3, 1, 1],
            5,
            Faults {
                lost: 2,
                repeated: 1,
                reordered: 1,
                ..none
            },
        );
    }
}

//! Which connections have something to be written, and in which order they are flushed.

/// So many connections are written to before answers that came up meanwhile are: about a millisecond.
const SLICE: usize = 256;

/// Whether a connection is in one of the lists of [`Dirty`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Due {
    #[default]
    No,
    /// An event was fanned out to it.
    InTurn,
    /// It has something of its own, such as an answer or a ping, which does not wait for a large fan-out.
    First,
}

/// Connections by index. One can be in both lists, or be gone and its index be another's: [`Due`] tells whether it is flushed.
#[derive(Default)]
pub(super) struct Dirty {
    pub(super) first: Vec<u32>,
    in_turn: Vec<u32>,
    /// So many of `in_turn` have been flushed.
    flushed: usize,
}

impl Dirty {
    pub(super) fn push(&mut self, index: u32) {
        self.in_turn.push(index);
    }

    /// The next slice of those to which events were fanned out, as positions for [`Dirty::at`].
    pub(super) fn next_slice(&mut self) -> std::ops::Range<usize> {
        let begin = self.flushed;
        self.flushed = self.in_turn.len().min(begin + SLICE);
        begin..self.flushed
    }

    pub(super) fn at(&self, position: usize) -> u32 {
        self.in_turn[position]
    }

    /// True when none is left of those to which events were fanned out; their memory is used again.
    pub(super) fn finish(&mut self) -> bool {
        let is_all = self.flushed == self.in_turn.len();
        if is_all {
            self.in_turn.clear();
            self.flushed = 0;
        }
        is_all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_fanned_out_comes_in_slices_in_its_order_and_each_once() {
        let mut dirty = Dirty::default();
        for _ in 0..2 {
            let count = 2 * SLICE as u32 + 1;
            (0..count).for_each(|index| dirty.push(index));
            let (mut seen, mut slices) = (Vec::new(), 0);
            loop {
                seen.extend(dirty.next_slice().map(|position| dirty.at(position)));
                slices += 1;
                if slices == 1 {
                    dirty.push(count); // reached meanwhile
                }
                if dirty.finish() {
                    break;
                }
            }
            assert_eq!(slices, 3);
            assert!(seen.into_iter().eq(0..=count));
        }
        assert!(dirty.next_slice().is_empty() && dirty.finish());
    }
}

//! The check of a channel's subscribers: each gets every note once, each publisher's notes in the order it sent them, and
//! all subscribers see one order.

use crate::note::Note;
use crate::sequence::{Faults, Sequence};

/// Where a channel gets its notes from: lane `l` sends its note `s` to channel `(l + s) % channels`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lanes {
    pub(crate) lanes: usize,
    pub(crate) channels: usize,
}

impl Lanes {
    pub(crate) fn channel(self, lane: usize, seq: u64) -> usize {
        ((lane as u64 + seq) % self.channels as u64) as usize
    }

    /// How many of a lane's first `published` notes went to a channel.
    fn published_to(self, channel: usize, lane: usize, published: u64) -> u64 {
        let channels = self.channels as u64;
        // The first that goes there.
        let first = (channel as u64 + channels - lane as u64 % channels) % channels;
        published.saturating_sub(first).div_ceil(channels)
    }
}

/// A channel's notes in the order in which they were first seen.
#[derive(Debug, Default)]
pub(crate) struct ChannelOrder {
    seen: Vec<(u32, u64)>,
}

/// What one subscriber of a channel has had.
#[derive(Debug)]
pub(crate) struct Reader {
    channel: usize,
    by_lane: Vec<Sequence>,
    /// How many different notes it has had.
    count: usize,
}

impl Reader {
    pub(crate) fn new(channel: usize, lanes: Lanes) -> Self {
        Self {
            channel,
            by_lane: (0..lanes.lanes).map(|_| Sequence::default()).collect(),
            count: 0,
        }
    }

    pub(crate) fn channel(&self) -> usize {
        self.channel
    }

    /// Notes an arrival; `published` says how many each lane has sent. True if the reader had not had this note yet.
    pub(crate) fn arrive(
        &mut self,
        note: Note,
        published: u64,
        lanes: Lanes,
        order: &mut ChannelOrder,
        faults: &mut Faults,
    ) -> bool {
        let lane = note.lane as usize;
        if lane >= lanes.lanes || note.seq >= published || lanes.channel(lane, note.seq) != self.channel {
            faults.garbled += 1;
            return false;
        }
        let before = faults.reordered;
        if !self.by_lane[lane].arrive(note.seq / lanes.channels as u64, faults) {
            return false;
        }
        let key = (note.lane, note.seq);
        match order.seen.get(self.count) {
            None => order.seen.push(key),
            // One that comes too late for its publisher is counted already.
            Some(first) => faults.reordered += u64::from(*first != key && faults.reordered == before),
        }
        self.count += 1;
        true
    }

    /// How many never came of what each lane has published.
    pub(crate) fn lost(&self, published: impl Iterator<Item = u64>, lanes: Lanes) -> u64 {
        self.by_lane
            .iter()
            .zip(published)
            .enumerate()
            .map(|(lane, (sequence, published))| sequence.lost(lanes.published_to(self.channel, lane, published)))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANES: Lanes = Lanes { lanes: 3, channels: 2 };

    fn note(lane: u32, seq: u64) -> Note {
        Note { lane, seq, at_ns: 0 }
    }

    fn read(order: &mut ChannelOrder, notes: &[Note], published: u64) -> Faults {
        let mut reader = Reader::new(0, LANES);
        let mut faults = Faults::default();
        for note in notes {
            reader.arrive(*note, published, LANES, order, &mut faults);
        }
        faults.lost = reader.lost([published; 3].into_iter(), LANES);
        faults
    }

    #[test]
    fn a_channel_gets_its_share_of_each_lane() {
        for published in 0..20 {
            for lane in 0..LANES.lanes {
                for channel in 0..LANES.channels {
                    let count = (0..published)
                        .filter(|seq| LANES.channel(lane, *seq) == channel)
                        .count();
                    assert_eq!(LANES.published_to(channel, lane, published), count as u64);
                }
            }
        }
    }

    #[test]
    fn subscribers_must_agree_on_the_order() {
        let none = Faults::default();
        let mut order = ChannelOrder::default();
        let first = [note(0, 0), note(1, 1), note(2, 0), note(0, 2), note(2, 2)];
        assert_eq!(read(&mut order, &first, 3), none);
        assert_eq!(read(&mut order, &first, 3), none);
        let mut swapped = first;
        swapped.swap(0, 1);
        assert_eq!(read(&mut order, &swapped, 3), Faults { reordered: 2, ..none });
    }

    #[test]
    fn faults_are_told_apart() {
        let none = Faults::default();
        let read = |notes: &[Note]| read(&mut ChannelOrder::default(), notes, 3);
        let all = [note(0, 0), note(1, 1), note(2, 0), note(0, 2), note(2, 2)];
        assert_eq!(read(&all[..4]), Faults { lost: 1, ..none });
        assert_eq!(read(&[&all[..], &all[..1]].concat()), Faults { repeated: 1, ..none });
        // The second of a lane before its first.
        let mut early = all;
        early.swap(0, 3);
        assert_eq!(read(&early), Faults { reordered: 1, ..none });
        // Of another channel, of no lane, never published.
        let foreign = [note(0, 1), note(3, 1), note(0, 4)];
        assert_eq!(read(&[&all[..], &foreign[..]].concat()), Faults { garbled: 3, ..none });
    }
}

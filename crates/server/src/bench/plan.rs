//! What follows from the seed: who subscribes to what, and which faults come when.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::proxy::Cut;
use super::record::{Channel, ChannelIndex, Transport};

/// The channels of a run, and the plan of its faults.
pub(super) struct Plan {
    random: StdRng,
    pub(super) channels: Vec<Channel>,
    /// Places in `channels`: those that are published to all the time, on disk and in memory,
    pub(super) busy: Vec<ChannelIndex>,
    pub(super) busy_memory: Vec<ChannelIndex>,
    /// one in memory that is published to now and then, so that most of its gaps would be false,
    pub(super) rare: ChannelIndex,
    /// and two that are quiet all the time, on disk and in memory.
    pub(super) quiet: [ChannelIndex; 2],
}

/// A subscriber to be.
#[derive(Debug, Clone)]
pub(super) struct PlannedReader {
    pub(super) name: String,
    pub(super) transport: Transport,
    pub(super) channels: Vec<ChannelIndex>,
    pub(super) upgrade: bool,
}

/// Something bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connections of a client end.
    Cut { client: usize, cut: Cut },
    /// A client reads nothing for a while.
    Stall { client: usize, time: Duration },
    /// What a client sends and is sent is lost for a while; then it sees its connection end, and the server doesn't.
    Swallow { client: usize, time: Duration },
    /// A subscriber leaves, and another one comes in its place.
    Replace { client: usize },
    /// The server is stopped for a while.
    Stop { time: Duration },
    /// The server is killed, after having been stopped for a while or not, and is started again after another while.
    Kill { stopped: Duration, down: Duration },
}

impl Plan {
    /// A plan with so many busy channels, at least one on disk and one in memory.
    pub(super) fn new(seed: u64, busy: usize) -> Self {
        let mut channels = Vec::new();
        let mut add = |name: String, durable| {
            channels.push(Channel { name, durable });
            (channels.len() - 1) as ChannelIndex
        };
        let memory = (busy / 3).max(1);
        let busy_memory = (0..memory).map(|n| add(format!("memory:{n}"), false)).collect();
        let durable = busy.saturating_sub(memory).max(1);
        let busy = (0..durable).map(|n| add(format!("kept:{n}"), true)).collect();
        let rare = add("memory:rare".to_owned(), false);
        let quiet = [
            add("kept:quiet".to_owned(), true),
            add("memory:quiet".to_owned(), false),
        ];
        Self {
            random: StdRng::seed_from_u64(seed),
            channels,
            busy,
            busy_memory,
            rare,
            quiet,
        }
    }

    /// So many subscribers, of all these transports in turn. The first of each has only channels on disk, so that it can
    /// be restored whatever is killed; the last has only quiet ones.
    pub(super) fn readers(&mut self, transports: &[Transport], clients: usize) -> Vec<PlannedReader> {
        let each = clients.div_ceil(transports.len().max(1)).max(2);
        let mut readers = Vec::new();
        for transport in transports {
            for number in 0..each {
                let channels = match number {
                    _ if number + 1 == each => self.quiet.to_vec(),
                    0 => [&self.busy[..], &self.quiet[..1]].concat(),
                    _ => self.some_channels(),
                };
                readers.push(PlannedReader {
                    name: format!("{transport}-{number}"),
                    transport: *transport,
                    channels,
                    upgrade: number % 2 == 1,
                });
            }
        }
        readers
    }

    fn some_channels(&mut self) -> Vec<ChannelIndex> {
        let mut some = Vec::new();
        for group in [self.busy.clone(), self.busy_memory.clone()] {
            let count = self.random.random_range(1..=group.len());
            let mut group = group;
            group.shuffle(&mut self.random);
            some.extend(&group[..count]);
        }
        some.push(self.rare);
        some.push(self.quiet[self.random.random_range(0..2)]);
        some.shuffle(&mut self.random);
        some
    }

    /// How long the server is let be before it is killed: at times just long enough for clients to come back half-way.
    pub(super) fn until_kill(&mut self) -> Duration {
        let ms = match self.random.random_range(0..10) {
            0..3 => self.random.random_range(50..800),
            3..8 => self.random.random_range(800..4_000),
            _ => self.random.random_range(4_000..12_000),
        };
        Duration::from_millis(ms)
    }

    /// How long until the next faults that are not kills.
    pub(super) fn until_faults(&mut self) -> Duration {
        Duration::from_millis(self.random.random_range(50..1_500))
    }

    /// A kill.
    pub(super) fn kill(&mut self) -> Fault {
        let stopped = match self.random.random_ratio(1, 5) {
            true => self.time(50, 2_000),
            false => Duration::ZERO,
        };
        let down = match self.random.random_ratio(1, 3) {
            true => self.time(200, 3_000),
            false => Duration::ZERO,
        };
        Fault::Kill { stopped, down }
    }

    /// One to four faults at once, for these many subscribers and the publishers behind them.
    pub(super) fn faults(&mut self, subscribers: usize, publishers: usize) -> Vec<Fault> {
        let count = [1, 1, 1, 2, 2, 3, 4][self.random.random_range(0..7)];
        (0..count).map(|_| self.fault(subscribers, publishers)).collect()
    }

    fn fault(&mut self, subscribers: usize, publishers: usize) -> Fault {
        let client = match self.random.random_ratio(1, 5) {
            true => subscribers + self.random.random_range(0..publishers),
            false => self.random.random_range(0..subscribers),
        };
        match self.random.random_range(0..20) {
            0..9 => Fault::Cut {
                client,
                cut: [Cut::Close, Cut::Reset, Cut::HalfOpen][self.random.random_range(0..3)],
            },
            9..13 => Fault::Stall {
                client,
                time: self.time(200, 6_000),
            },
            13..17 => Fault::Swallow {
                client,
                time: self.time(100, 5_000),
            },
            17..19 => Fault::Replace {
                client: self.random.random_range(0..subscribers),
            },
            _ => Fault::Stop {
                time: self.time(100, 3_000),
            },
        }
    }

    fn time(&mut self, from_ms: u64, to_ms: u64) -> Duration {
        Duration::from_millis(self.random.random_range(from_ms..to_ms))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { client, cut } => write!(f, "cut client {client} ({cut:?})"),
            Self::Stall { client, time } => write!(f, "stall client {client} for {time:?}"),
            Self::Swallow { client, time } => write!(f, "swallow all of client {client} for {time:?}"),
            Self::Replace { client } => write!(f, "replace client {client}"),
            Self::Stop { time } => write!(f, "stop the server for {time:?}"),
            Self::Kill { stopped, down } => {
                write!(f, "kill the server, stopped before for {stopped:?}, down for {down:?}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(seed: u64) -> String {
        let mut plan = Plan::new(seed, 6);
        let readers = plan.readers(&Transport::SUBSCRIBERS, 24);
        let faults: Vec<_> = (0..50)
            .map(|_| (plan.faults(24, 5), plan.kill(), plan.until_kill()))
            .collect();
        format!("{readers:?} {faults:?}")
    }

    #[test]
    fn a_seed_repeats_its_plan() {
        assert_eq!(story(7), story(7));
        assert_ne!(story(7), story(8));
    }

    #[test]
    fn every_transport_has_busy_and_quiet_readers() {
        let mut plan = Plan::new(1, 6);
        let readers = plan.readers(&Transport::SUBSCRIBERS, 24);
        for transport in Transport::SUBSCRIBERS {
            let of: Vec<_> = readers.iter().filter(|reader| reader.transport == transport).collect();
            let quiet = |reader: &&&PlannedReader| reader.channels == plan.quiet;
            assert_eq!((of.len(), of.iter().filter(quiet).count()), (4, 1), "{transport}");
        }
    }
}

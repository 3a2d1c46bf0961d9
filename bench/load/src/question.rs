//! Round trips: each client asks, and asks again when it has its answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::event::Event;
use crate::kernel::Accounts;
use crate::latency::Latencies;
use crate::link::Link;
use crate::protocol::{self, Heard, Place, Speaker};
use crate::rooms::Tally;
use crate::round::{Delivery, Figures, Round};
use crate::sequence::Faults;
use crate::server::Server;
use crate::workload::{DATA_BYTES, DRAIN, Durations};

const SCRATCH_BYTES: usize = 64 * 1024;
const READY_MAX: usize = 128;

struct Asker {
    link: Link,
    speaker: Box<dyn Speaker>,
    question: Vec<u8>,
    /// When it asked what isn't answered yet.
    asked: Option<Instant>,
}

pub(crate) struct Askers {
    askers: Vec<Asker>,
    epoll: Epoll,
    ready: Vec<EpollEvent>,
    scratch: Vec<u8>,
    out: Vec<u8>,
    faults: Faults,
    tally: Tally,
}

/// `asker` makes each client.
pub(crate) fn run(
    asker: fn(Place) -> Box<dyn Speaker>,
    server: &Server,
    durations: Durations,
    clients: usize,
) -> Result<Round> {
    let mut askers = Askers::connect(asker, server, 0..clients)?;
    for index in 0..clients {
        askers.ask(index)?;
    }
    askers.turns(durations.warm_up, true)?;
    askers.tally = Tally::new();
    let begun = Accounts::now(server.pid())?;
    askers.turns(durations.window, true)?;
    let usage = begun.until(Accounts::now(server.pid())?);
    let figures = Delivery::new(&askers.tally, &usage);
    let deadline = Instant::now() + DRAIN;
    while askers.waiting() > 0 && Instant::now() < deadline {
        askers.turns(Duration::from_millis(10), false)?;
    }
    let faults = Faults {
        lost: askers.waiting(),
        ..askers.faults
    };
    Ok(Round::new(Figures::Delivery(figures), &usage, faults))
}

impl Askers {
    /// One client for each of these rooms.
    pub(crate) fn connect(
        asker: fn(Place) -> Box<dyn Speaker>,
        server: &Server,
        rooms: std::ops::Range<usize>,
    ) -> Result<Self> {
        let mut all = Self {
            askers: Vec::new(),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            ready: vec![EpollEvent::empty(); READY_MAX],
            scratch: vec![0; SCRATCH_BYTES],
            out: Vec::new(),
            faults: Faults::default(),
            tally: Tally::new(),
        };
        for (index, room) in rooms.enumerate() {
            let mut speaker = asker(Place {
                address: server.address,
                room,
                data_bytes: DATA_BYTES,
                channels: 1,
            });
            let link = protocol::enter(Link::connect(server.address)?, &mut *speaker, &mut all.scratch)?;
            all.epoll
                .add(&link.stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
            let event = Event {
                seq: index as u64,
                at_ns: 0,
            };
            all.askers.push(Asker {
                link,
                speaker,
                question: event.encode(DATA_BYTES),
                asked: None,
            });
        }
        Ok(all)
    }

    /// Asks at a pace, each when it is answered, until it is over.
    pub(crate) fn ask_every(&mut self, period: Duration, is_over: &AtomicBool) -> Result<()> {
        while !is_over.load(Ordering::Relaxed) {
            for index in 0..self.askers.len() {
                if self.askers[index].asked.is_none() {
                    self.ask(index)?;
                }
            }
            self.turns(period, false)?;
        }
        Ok(())
    }

    /// Asks as fast as it is answered, for a while, and waits for the last answers.
    pub(crate) fn ask_for(&mut self, time: Duration) -> Result<()> {
        for index in 0..self.askers.len() {
            self.ask(index)?;
        }
        self.turns(time, true)?;
        let deadline = Instant::now() + DRAIN;
        while self.waiting() > 0 && Instant::now() < deadline {
            self.turns(Duration::from_millis(10), false)?;
        }
        ensure!(self.waiting() == 0, "answers are missing");
        Ok(())
    }

    /// How many there were.
    pub(crate) fn answers(&self) -> u64 {
        self.tally.deliveries
    }

    /// How long answers took.
    pub(crate) fn into_latencies(self) -> Latencies {
        self.tally.latencies
    }

    /// How many have no answer yet.
    fn waiting(&self) -> u64 {
        self.askers.iter().filter(|asker| asker.asked.is_some()).count() as u64
    }

    fn ask(&mut self, index: usize) -> Result<()> {
        let asker = &mut self.askers[index];
        self.out.clear();
        asker.speaker.say(&asker.question, &mut self.out);
        asker.asked = Some(Instant::now());
        asker.link.send(&self.out)
    }

    /// Turns for a while, asking again or not.
    fn turns(&mut self, time: Duration, again: bool) -> Result<()> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            let timeout = EpollTimeout::from(left.as_millis().min(100) as u16);
            let count = match self.epoll.wait(&mut self.ready, timeout) {
                Err(Errno::EINTR) => 0,
                other => other?,
            };
            for ready in 0..count {
                let index = self.ready[ready].data() as usize;
                if self.hear(index)? && again {
                    self.ask(index)?;
                }
            }
        }
        Ok(())
    }

    /// True when the answer was there.
    fn hear(&mut self, index: usize) -> Result<bool> {
        let Asker {
            link,
            speaker,
            question,
            asked,
        } = &mut self.askers[index];
        self.out.clear();
        let (mut answers, mut closed) = (0, false);
        let open = link.read(&mut self.scratch, |bytes| {
            speaker.take(bytes, &mut self.out, &mut |heard| match heard {
                Heard::Answer(data) if data.is_none_or(|data| data == question.as_slice()) => {
                    answers += 1;
                    match asked.take() {
                        Some(asked) => self.tally.latencies.record(asked.elapsed().as_nanos() as u64),
                        None => self.faults.repeated += 1,
                    }
                }
                Heard::Closed => closed = true,
                _ => self.faults.garbled += 1,
            })
        })?;
        ensure!(open && !closed, "the server closed instead of answering");
        link.send(&self.out)?;
        self.tally.deliveries += answers;
        self.tally.reads += u64::from(answers > 0);
        Ok(answers > 0)
    }
}

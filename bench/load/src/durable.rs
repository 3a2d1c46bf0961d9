//! Publishes that are answered when they are kept: the load, and the check at the subscribers.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::broker::{Broker, CHANNELS, Publisher, Subscriber};
use crate::kernel::Accounts;
use crate::latency::Latencies;
use crate::link::Link;
use crate::note::Note;
use crate::order::{ChannelOrder, Lanes, Reader};
use crate::round::{Figures, Publishes, Round};
use crate::sequence::Faults;
use crate::server::Server;
use crate::workload::{DRAIN, Durations, SETTLE};

const SCRATCH_BYTES: usize = 64 * 1024;
const READY_MAX: usize = 128;
/// Syncs before a round, whose median says how fast the disk is now.
const SYNCS: usize = 25;
const SYNC_BYTES: usize = 4096;

/// A publisher: in flight on its connection are as many publishes as it may have.
struct Lane {
    link: Link,
    publisher: Box<dyn Publisher>,
    in_flight_max: usize,
    /// When each of its publishes was sent, by seq; none once it was answered.
    sent_ns: Vec<Option<u64>>,
    in_flight: usize,
}

struct Seat {
    link: Option<Link>,
    subscriber: Box<dyn Subscriber>,
    reader: Reader,
}

/// What happened since it was last cleared.
struct Tally {
    answers: u64,
    answer_latencies: Latencies,
    deliveries: u64,
    reads: u64,
    delivery_latencies: Latencies,
}

/// Publishers, subscribers, and the loop that drives them.
struct Load {
    plan: Lanes,
    lanes: Vec<Lane>,
    seats: Vec<Seat>,
    orders: Vec<ChannelOrder>,
    epoll: Epoll,
    ready: Vec<EpollEvent>,
    scratch: Vec<u8>,
    clock: Instant,
    faults: Faults,
    tally: Tally,
}

/// Runs one round: `fan_out` subscribers on each channel, and always `in_flight` publishes under way.
pub(crate) fn run(
    broker: &dyn Broker,
    server: &Server,
    durations: Durations,
    fan_out: usize,
    in_flight: usize,
) -> Result<Round> {
    broker.prepare(server.address)?;
    let mut load = Load::new(broker, server, fan_out, in_flight)?;
    load.turns(SETTLE, false)?;
    load.turns(durations.warm_up, true)?;
    load.tally = Tally::new();
    let begun = Accounts::now(server.pid())?;
    load.turns(durations.window, true)?;
    let usage = begun.until(Accounts::now(server.pid())?);
    let publishes = Publishes::new(
        load.tally.answers,
        &load.tally.answer_latencies,
        &load.tally.delivery_latencies,
        load.tally.deliveries as f64 / load.tally.reads as f64,
        server.sync_ms,
        &usage,
    );
    load.drain()?;
    let faults = Faults {
        lost: load.lost(),
        ..load.faults
    };
    Ok(Round::new(Figures::Publishes(publishes), &usage, faults))
}

/// The median time, in milliseconds, in which the folder's disk takes 4 KiB for good.
pub(crate) fn sync_ms(folder: &Path) -> Result<f64> {
    let path = folder.join("probe");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let mut times = Vec::new();
    for _ in 0..SYNCS {
        let begun = Instant::now();
        file.write_all(&[b'.'; SYNC_BYTES])?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    std::fs::remove_file(path)?;
    times.sort();
    Ok(times[SYNCS / 2].as_secs_f64() * 1e3)
}

impl Tally {
    fn new() -> Self {
        Self {
            answers: 0,
            answer_latencies: Latencies::new(),
            deliveries: 0,
            reads: 0,
            delivery_latencies: Latencies::new(),
        }
    }
}

impl Load {
    fn new(broker: &dyn Broker, server: &Server, fan_out: usize, in_flight: usize) -> Result<Self> {
        let (lanes, in_flight_max) = if broker.pipelines() {
            (1, in_flight)
        } else {
            (in_flight, 1)
        };
        let mut load = Self {
            plan: Lanes {
                lanes,
                channels: CHANNELS,
            },
            lanes: Vec::new(),
            seats: Vec::new(),
            orders: (0..CHANNELS).map(|_| ChannelOrder::default()).collect(),
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            ready: vec![EpollEvent::empty(); READY_MAX],
            scratch: vec![0; SCRATCH_BYTES],
            clock: Instant::now(),
            faults: Faults::default(),
            tally: Tally::new(),
        };
        for number in 0..CHANNELS * fan_out {
            let channel = number % CHANNELS;
            let (link, subscriber) = broker.subscriber(server.address, channel, number)?;
            let reader = Reader::new(channel, load.plan);
            load.seats.push(Seat {
                link: Some(link),
                subscriber,
                reader,
            });
        }
        for _ in 0..lanes {
            let (link, publisher) = broker.publisher(server.address)?;
            load.lanes.push(Lane {
                link,
                publisher,
                in_flight_max,
                sent_ns: Vec::new(),
                in_flight: 0,
            });
        }
        // Lanes first, then seats.
        let links = load.lanes.iter_mut().map(|lane| Some(&mut lane.link));
        let links = links.chain(load.seats.iter_mut().map(|seat| seat.link.as_mut()));
        for (index, link) in links.flatten().enumerate() {
            link.stop_waiting()?;
            load.epoll
                .add(&link.stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
        }
        Ok(load)
    }

    /// Turns for a while, keeping publishes in flight or sending none.
    fn turns(&mut self, time: Duration, publishing: bool) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            if publishing {
                for lane in 0..self.lanes.len() {
                    self.publish(lane)?;
                }
            }
            let Some(left) = end.checked_duration_since(Instant::now()) else {
                return Ok(());
            };
            self.turn(left.min(Duration::from_millis(100)))?;
        }
    }

    /// Turns until all that was published was answered and has arrived everywhere, or for [`DRAIN`].
    fn drain(&mut self) -> Result<()> {
        let end = Instant::now() + DRAIN;
        while Instant::now() < end {
            let answered = self.lanes.iter().all(|lane| lane.in_flight == 0);
            if answered && self.lost() == 0 {
                break;
            }
            self.turn(Duration::from_millis(10))?;
        }
        // Also what comes too often.
        self.turns(SETTLE, false)?;
        let waiting: usize = self.lanes.iter().map(|lane| lane.in_flight).sum();
        ensure!(waiting == 0, "{waiting} publishes were never answered");
        Ok(())
    }

    /// What has not arrived by now.
    fn lost(&self) -> u64 {
        let published = || self.lanes.iter().map(|lane| lane.sent_ns.len() as u64);
        self.seats
            .iter()
            .map(|seat| seat.reader.lost(published(), self.plan))
            .sum()
    }

    fn publish(&mut self, index: usize) -> Result<()> {
        let lane = &mut self.lanes[index];
        let mut out = Vec::new();
        while lane.in_flight < lane.in_flight_max {
            let at_ns = self.clock.elapsed().as_nanos() as u64;
            let seq = lane.sent_ns.len() as u64;
            let note = Note {
                lane: index as u32,
                seq,
                at_ns,
            };
            let channel = self.plan.channel(index, seq);
            lane.publisher.publish(&mut out, seq, channel, &note.encode());
            lane.sent_ns.push(Some(at_ns));
            lane.in_flight += 1;
        }
        if out.is_empty() {
            return Ok(());
        }
        lane.link.send(&out)
    }

    fn turn(&mut self, wait: Duration) -> Result<()> {
        let timeout = EpollTimeout::from(wait.as_millis() as u16);
        let count = match self.epoll.wait(&mut self.ready, timeout) {
            Err(Errno::EINTR) => 0,
            other => other?,
        };
        for index in 0..count {
            let index = self.ready[index].data() as usize;
            match index.checked_sub(self.lanes.len()) {
                None => self.hear(index)?,
                Some(seat) => self.receive(seat)?,
            }
        }
        Ok(())
    }

    /// Reads answers.
    fn hear(&mut self, index: usize) -> Result<()> {
        let now_ns = self.clock.elapsed().as_nanos() as u64;
        let Lane {
            link,
            publisher,
            sent_ns,
            in_flight,
            ..
        } = &mut self.lanes[index];
        let (mut out, mut unknown) = (Vec::new(), false);
        let tally = &mut self.tally;
        let open = link.read(&mut self.scratch, |bytes| {
            publisher.take(bytes, &mut out, &mut |ticket| {
                let sent = usize::try_from(ticket).ok().and_then(|at| sent_ns.get_mut(at)?.take());
                let Some(sent) = sent else {
                    unknown = true;
                    return;
                };
                *in_flight -= 1;
                tally.answers += 1;
                tally.answer_latencies.record(now_ns.saturating_sub(sent));
            })
        })?;
        if !open {
            bail!("a publisher's connection was closed");
        }
        ensure!(!unknown, "an answer to no publish");
        if !out.is_empty() {
            link.send(&out).context("answering")?;
        }
        Ok(())
    }

    /// Reads events.
    fn receive(&mut self, index: usize) -> Result<()> {
        let now_ns = self.clock.elapsed().as_nanos() as u64;
        let Seat {
            link: seat_link,
            subscriber,
            reader,
        } = &mut self.seats[index];
        let Some(link) = seat_link else {
            return Ok(());
        };
        let order = &mut self.orders[reader.channel()];
        let (lanes, faults, tally, plan) = (&self.lanes, &mut self.faults, &mut self.tally, self.plan);
        let (mut out, mut deliveries) = (Vec::new(), 0);
        let open = link.read(&mut self.scratch, |bytes| {
            subscriber.take(bytes, &mut out, &mut |data| {
                let Some(note) = Note::decode(data) else {
                    faults.garbled += 1;
                    return;
                };
                let published = lanes
                    .get(note.lane as usize)
                    .map_or(0, |lane| lane.sent_ns.len() as u64);
                if reader.arrive(note, published, plan, order, faults) {
                    deliveries += 1;
                    tally.delivery_latencies.record(now_ns.saturating_sub(note.at_ns));
                }
            })
        })?;
        tally.deliveries += deliveries;
        tally.reads += u64::from(deliveries > 0);
        if !open {
            faults.cut += 1;
            *seat_link = None;
            return Ok(());
        }
        if !out.is_empty() {
            link.send(&out).context("answering")?;
        }
        Ok(())
    }
}

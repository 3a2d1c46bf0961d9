//! What a server is asked to do. Each workload is one row here and one function that turns it into a [`Round`].

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::durable;
use crate::kernel::{self, Accounts};
use crate::room::Room;
use crate::round::{Delivery, Figures, Round};
use crate::sequence::Faults;
use crate::server::{Contender, Part, Server};
use crate::storm::{self, Storm, Transport};

/// Until the last joins are done.
pub(crate) const SETTLE: Duration = Duration::from_millis(300);
/// What has not arrived so long after the last publish is lost.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);
/// Connections made before memory is first read, so that what a server sets up once is not counted.
const IDLE_FIRST: usize = 10;

/// A named load.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) load: Load,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// Open loop: so many events a second to a room of so many.
    FanoutPaced { clients: usize, per_second: u32 },
    /// Closed loop: the next event when one has reached the whole room.
    FanoutInFlight { clients: usize, in_flight: usize },
    /// Connections in a room where nothing happens.
    Idle { connections: usize },
    /// Publishes that are answered when they are kept, always so many under way, to channels with so many subscribers.
    Durable { fan_out: usize, in_flight: usize },
    /// Clients that come back at once.
    Resume(Storm),
}

/// One of the durable workloads.
const fn durable(name: &'static str, summary: &'static str, fan_out: usize, in_flight: usize) -> Workload {
    Workload {
        name,
        summary,
        load: Load::Durable { fan_out, in_flight },
    }
}

/// One of the storms, of 2,000 clients that have missed 200 events each.
const fn resume(
    name: &'static str,
    summary: &'static str,
    transports: &'static [Transport],
    restarted: bool,
) -> Workload {
    Workload {
        name,
        summary,
        load: Load::Resume(Storm {
            transports,
            clients: 2_000,
            missed: 200,
            restarted,
        }),
    }
}

/// In the order of the tables.
pub(crate) const WORKLOADS: &[Workload] = &[
    Workload {
        name: "fanout-50",
        summary: "1,000 clients in one room, 50 events a second",
        load: Load::FanoutPaced {
            clients: 1_000,
            per_second: 50,
        },
    },
    Workload {
        name: "fanout-16",
        summary: "1,000 clients in one room, 16 events in flight",
        load: Load::FanoutInFlight {
            clients: 1_000,
            in_flight: 16,
        },
    },
    Workload {
        name: "idle",
        summary: "10,000 connections in a room where nothing happens",
        load: Load::Idle { connections: 10_000 },
    },
    durable(
        "durable-1-1",
        "10 channels with 1 subscriber each, 1 publish of 200 bytes in flight",
        1,
        1,
    ),
    durable(
        "durable-10-1",
        "10 channels with 10 subscribers each, 1 publish of 200 bytes in flight",
        10,
        1,
    ),
    durable(
        "durable-1-64",
        "10 channels with 1 subscriber each, 64 publishes of 200 bytes in flight",
        1,
        64,
    ),
    durable(
        "durable-10-64",
        "10 channels with 10 subscribers each, 64 publishes of 200 bytes in flight",
        10,
        64,
    ),
    resume(
        "resume-memory",
        "1,000 `/ws` and 1,000 SSE clients come back at once, each 200 events behind, to a server that ran on",
        &[Transport::Ws, Transport::Sse],
        false,
    ),
    resume(
        "resume-disk",
        "1,000 `/ws` and 1,000 SSE clients come back at once, each 200 events behind, to a server that was killed and started again",
        &[Transport::Ws, Transport::Sse],
        true,
    ),
    resume(
        "resume-socketio-memory",
        "2,000 Socket.IO clients come back to their sessions at once, each 200 events behind, to a server that ran on",
        &[Transport::SocketIo],
        false,
    ),
    resume(
        "resume-socketio-disk",
        "2,000 Socket.IO clients come back to their sessions at once, each 200 events behind, to a server that was killed and started again",
        &[Transport::SocketIo],
        true,
    ),
];

/// How long the parts of a round last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Durations {
    /// Load before the measured window, for just-in-time compilers and allocators.
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
    /// How long idle connections are held before memory is read.
    pub(crate) hold: Duration,
}

impl Load {
    /// Whether this load is meant for that server.
    pub(crate) fn suits(self, contender: &Contender) -> bool {
        match self {
            Self::FanoutPaced { .. } | Self::FanoutInFlight { .. } | Self::Idle { .. } => {
                matches!(contender.part, Part::Room)
            }
            Self::Durable { .. } => matches!(contender.part, Part::Durable { .. }),
            Self::Resume(_) => matches!(contender.part, Part::Resume),
        }
    }

    pub(crate) fn run(self, contender: &Contender, server: &mut Server, durations: Durations) -> Result<Round> {
        match self {
            Self::FanoutPaced { clients, per_second } => fanout_paced(server, durations, clients, per_second),
            Self::FanoutInFlight { clients, in_flight } => fanout_in_flight(server, durations, clients, in_flight),
            Self::Idle { connections } => idle(server, durations, connections),
            Self::Durable { fan_out, in_flight } => match contender.part {
                Part::Durable { broker, .. } => durable::run(broker, server, durations, fan_out, in_flight),
                Part::Room | Part::Resume => anyhow::bail!("{} keeps nothing", contender.name),
            },
            Self::Resume(storm) => storm::run(server, storm),
        }
    }
}

fn fanout_paced(server: &Server, durations: Durations, clients: usize, per_second: u32) -> Result<Round> {
    let mut room = room_of(server, clients)?;
    let period = Duration::from_secs(1) / per_second;
    let events = |time: Duration| (time.as_secs_f64() * f64::from(per_second)).round() as u64;
    let first_measured = events(durations.warm_up);
    let end = first_measured + events(durations.window);

    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::empty())?;
    timer.set(
        Expiration::IntervalDelayed(TimeSpec::from(period), TimeSpec::from(period)),
        TimerSetTimeFlags::empty(),
    )?;
    let start = Instant::now() + period;
    room.watch(&timer)?;

    // The window begins and ends when an event is due, where the room is quiet unless the server lags.
    let mut begun = None;
    let accounts = loop {
        if room.turn(Duration::from_secs(1))? {
            timer.wait()?;
        }
        let now = Instant::now();
        while room.published() < end && start + period * room.published() as u32 <= now {
            if room.published() == first_measured {
                room.clear_tally();
                begun = Some(Accounts::now(server.pid())?);
            }
            // An event is timed from when it was due: a generator that is late does not hide it.
            room.publish([start + period * room.published() as u32].into_iter())?;
        }
        if let Some(begun) = begun
            && start + period * end as u32 <= now
        {
            break begun;
        }
    };
    let usage = accounts.until(Accounts::now(server.pid())?);
    drop(timer);
    let delivery = Delivery::new(&room.tally, &usage);
    room.drain(DRAIN)?;
    Ok(Round::new(Figures::Delivery(delivery), &usage, room.faults()))
}

fn fanout_in_flight(server: &Server, durations: Durations, clients: usize, in_flight: usize) -> Result<Round> {
    let mut room = room_of(server, clients)?;
    let warm = Instant::now() + durations.warm_up;
    let drive = |room: &mut Room, until: Instant| -> Result<()> {
        loop {
            let now = Instant::now();
            if now >= until {
                return Ok(());
            }
            let wanted = room.complete() + in_flight as u64 - room.published();
            if wanted > 0 {
                room.publish((0..wanted).map(|_| now))?;
            }
            room.turn(Duration::from_millis(100))?;
        }
    };
    drive(&mut room, warm)?;
    room.clear_tally();
    let begun = Accounts::now(server.pid())?;
    drive(&mut room, warm + durations.window)?;
    let usage = begun.until(Accounts::now(server.pid())?);
    let delivery = Delivery::new(&room.tally, &usage);
    room.drain(DRAIN)?;
    Ok(Round::new(Figures::Delivery(delivery), &usage, room.faults()))
}

fn idle(server: &Server, durations: Durations, connections: usize) -> Result<Round> {
    let mut room = room_of(server, IDLE_FIRST)?;
    let before = kernel::resident_kib(server.pid())?;
    let begun = Accounts::now(server.pid())?;
    room.connect(server.address, connections)?;
    room.rest(durations.hold)?;
    let usage = begun.until(Accounts::now(server.pid())?);
    let after = kernel::resident_kib(server.pid())?;
    let faults = room.faults();
    ensure!(faults == Faults::default(), "not idle: {faults:?}");
    let kib = after.saturating_sub(before) as f64 / connections as f64;
    Ok(Round::new(Figures::IdleKib(kib), &usage, faults))
}

fn room_of(server: &Server, clients: usize) -> Result<Room> {
    let mut room = Room::new()?;
    room.connect(server.address, clients)?;
    room.rest(SETTLE)?;
    Ok(room)
}

//! What a server is asked to do. Each workload is one row here and one function that turns it into a [`Round`].

use std::time::Duration;

use anyhow::{Result, bail};

use crate::protocol::Transport;
use crate::rooms::Crowd;
use crate::round::Round;
use crate::server::{Contender, LIMIT, Level, Part, Server};
use crate::storm::{self, Storm, Transport as Return};
use crate::{allocations, beside, connect, durable, fanout, growth, history, idle, question};

/// Until the last joins are done.
pub(crate) const SETTLE: Duration = Duration::from_millis(300);
/// What has not arrived so long after the last publish is lost.
pub(crate) const DRAIN: Duration = Duration::from_secs(5);
/// Of an event, unless the workload says otherwise.
pub(crate) const DATA_BYTES: usize = 128;

/// A named load.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) load: Load,
    /// How many rounds of it fit into a first look.
    pub(crate) quick_rounds: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// Open loop: so many events a second.
    FanoutPaced { crowd: Crowd, per_second: u32 },
    /// Closed loop: the next event when one has reached the whole room.
    FanoutInFlight { crowd: Crowd, in_flight: usize },
    /// Open loop, without and with some that don't read.
    Stalled { crowd: Crowd, per_second: u32 },
    /// Open loop, with what the connections have cost.
    Growth { crowd: Crowd, per_second: u32 },
    /// Each client has one question in flight.
    Questions { clients: usize },
    /// One client asks, while events go out to a crowd.
    Beside { crowd: Crowd, per_second: u32 },
    /// Clients that connect.
    Connect { warm_up: usize, connections: usize },
    /// How often the server allocates, with such a crowd.
    Allocations { crowd: Crowd },
    /// Connections in a room where nothing happens.
    Idle { connections: usize },
    /// Publishes that are answered when they are kept, always so many under way, to channels with so many subscribers.
    Durable { fan_out: usize, in_flight: usize },
    /// The same over HTTP, in memory.
    Publish { fan_out: usize, in_flight: usize },
    /// Clients that come back at once.
    Resume(Storm),
    /// Each client has one request for a page in flight.
    History { clients: usize },
}

/// So many clients in one room, with events of the usual size.
const fn room_of(clients: usize) -> Crowd {
    Crowd {
        clients,
        rooms: 1,
        data_bytes: DATA_BYTES,
        stalled_each: 0,
        channels: 1,
    }
}

const fn workload(name: &'static str, quick_rounds: usize, summary: &'static str, load: Load) -> Workload {
    Workload {
        name,
        summary,
        load,
        quick_rounds,
    }
}

const fn paced(crowd: Crowd, per_second: u32) -> Load {
    Load::FanoutPaced { crowd, per_second }
}

/// Some 20,000 deliveries a second.
const fn growth(clients: usize, channels: usize) -> Load {
    Load::Growth {
        crowd: Crowd {
            channels,
            ..room_of(clients)
        },
        per_second: (20_000 / clients) as u32,
    }
}

const fn in_flight(in_flight: usize) -> Load {
    let crowd = room_of(1_000);
    Load::FanoutInFlight { crowd, in_flight }
}

const fn durable(fan_out: usize, in_flight: usize) -> Load {
    Load::Durable { fan_out, in_flight }
}

/// 2,000 clients that have missed 200 events each.
const fn resume(transports: &'static [Return], restarted: bool) -> Load {
    Load::Resume(Storm {
        transports,
        clients: 2_000,
        missed: 200,
        restarted,
    })
}

/// In the order of the tables.
pub(crate) const WORKLOADS: &[Workload] = &[
    workload(
        "fanout-50",
        2,
        "1,000 clients in one room, 50 events a second",
        paced(room_of(1_000), 50),
    ),
    workload(
        "fanout-200",
        0,
        "1,000 clients in one room, 200 events a second",
        paced(room_of(1_000), 200),
    ),
    workload(
        "fanout-16",
        2,
        "1,000 clients in one room, 16 events in flight",
        in_flight(16),
    ),
    workload(
        "fanout-64",
        0,
        "1,000 clients in one room, 64 events in flight",
        in_flight(64),
    ),
    workload(
        "fanout-5000",
        0,
        "5,000 clients in one room, 20 events a second",
        paced(room_of(5_000), 20),
    ),
    workload(
        "rooms",
        0,
        "1,000 rooms of 10 clients, 5,000 events a second to the rooms in turn",
        paced(
            Crowd {
                rooms: 1_000,
                ..room_of(10_000)
            },
            5_000,
        ),
    ),
    workload(
        "large",
        0,
        "100 clients in one room, 50 events a second of 64 KiB",
        paced(
            Crowd {
                data_bytes: 65_536,
                ..room_of(100)
            },
            50,
        ),
    ),
    workload(
        "stalled",
        0,
        "50 clients in one room, 50 events a second of 64 KiB, and then 5 of the clients stop reading",
        Load::Stalled {
            crowd: Crowd {
                data_bytes: 65_536,
                stalled_each: 10,
                ..room_of(50)
            },
            per_second: 50,
        },
    ),
    workload(
        "ack",
        2,
        "200 clients, each asks and asks again when it has its answer",
        Load::Questions { clients: 200 },
    ),
    workload(
        "ack-5000",
        0,
        "one client asks every 7 ms, while 5,000 clients in one room get 20 events a second",
        Load::Beside {
            crowd: room_of(5_000),
            per_second: 20,
        },
    ),
    workload(
        "connect",
        2,
        "4,000 clients connect, 64 at a time, and stay",
        Load::Connect {
            warm_up: 1_000,
            connections: 4_000,
        },
    ),
    workload(
        "idle",
        1,
        "10,000 connections in a room where nothing happens",
        Load::Idle { connections: 10_000 },
    ),
    workload(
        "allocations",
        1,
        "1,000 clients come, get 50 events a second, and then 10 ask",
        Load::Allocations { crowd: room_of(1_000) },
    ),
    workload(
        "growth-1000",
        0,
        "1,000 clients in one room, 20 events a second",
        growth(1_000, 1),
    ),
    workload(
        "growth-5000",
        0,
        "5,000 clients in one room, 4 events a second",
        growth(5_000, 1),
    ),
    workload(
        "growth-10000",
        0,
        "10,000 clients in one room, 2 events a second",
        growth(10_000, 1),
    ),
    workload(
        "growth-18000",
        0,
        "18,000 clients in one room, 1 event a second",
        growth(18_000, 1),
    ),
    workload(
        "channels-10",
        0,
        "1,000 clients with 10 channels each, 20 events a second in one of them",
        growth(1_000, 10),
    ),
    workload(
        "channels-100",
        0,
        "1,000 clients with 100 channels each, 20 events a second in one of them",
        growth(1_000, 100),
    ),
    workload(
        "channels-1000",
        0,
        "1,000 clients with 1,000 channels each, 20 events a second in one of them",
        growth(1_000, 1_000),
    ),
    workload(
        "publish-1-64",
        1,
        "10 channels with 1 subscriber each, 64 publishes of 200 bytes over HTTP in flight",
        Load::Publish {
            fan_out: 1,
            in_flight: 64,
        },
    ),
    workload(
        "publish-10-64",
        0,
        "10 channels with 10 subscribers each, 64 publishes of 200 bytes over HTTP in flight",
        Load::Publish {
            fan_out: 10,
            in_flight: 64,
        },
    ),
    workload(
        "durable-1-1",
        0,
        "10 channels with 1 subscriber each, 1 publish of 200 bytes in flight",
        durable(1, 1),
    ),
    workload(
        "durable-10-1",
        0,
        "10 channels with 10 subscribers each, 1 publish of 200 bytes in flight",
        durable(10, 1),
    ),
    workload(
        "durable-1-64",
        1,
        "10 channels with 1 subscriber each, 64 publishes of 200 bytes in flight",
        durable(1, 64),
    ),
    workload(
        "durable-10-64",
        0,
        "10 channels with 10 subscribers each, 64 publishes of 200 bytes in flight",
        durable(10, 64),
    ),
    workload(
        "history",
        1,
        "64 clients, each asks for the newest 50 events of a channel and asks again when it has them; the server was killed and started again",
        Load::History { clients: 64 },
    ),
    workload(
        "resume-memory",
        1,
        "1,000 `/ws` and 1,000 SSE clients come back at once, each 200 events behind, to a server that ran on",
        resume(&[Return::Ws, Return::Sse], false),
    ),
    workload(
        "resume-disk",
        0,
        "1,000 `/ws` and 1,000 SSE clients come back at once, each 200 events behind, to a server that was killed and started again",
        resume(&[Return::Ws, Return::Sse], true),
    ),
    workload(
        "resume-socketio-memory",
        0,
        "2,000 Socket.IO clients come back to their sessions at once, each 200 events behind, to a server that ran on",
        resume(&[Return::SocketIo], false),
    ),
    workload(
        "resume-socketio-disk",
        0,
        "2,000 Socket.IO clients come back to their sessions at once, each 200 events behind, to a server that was killed and started again",
        resume(&[Return::SocketIo], true),
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
        match contender.part {
            Part::Room { protocol } => match self {
                Self::FanoutPaced { .. } | Self::FanoutInFlight { .. } | Self::Idle { .. } => true,
                Self::Growth { crowd, .. } if crowd.channels > 1 => protocol.has_channels(),
                Self::Growth { .. } => contender.is_ours() || matches!(contender.name, LIMIT | "uws"),
                Self::Questions { .. } | Self::Beside { .. } => protocol.asker().is_some(),
                // Who polls holds no connection up, and makes none to stay on.
                Self::Connect { .. } => protocol.transport() != Transport::Poll,
                Self::Stalled { .. } => protocol.transport() != Transport::Poll && !contender.is_limit(),
                Self::Durable { .. }
                | Self::Publish { .. }
                | Self::Resume(_)
                | Self::History { .. }
                | Self::Allocations { .. } => false,
            },
            // Written in batches, it is only a measure for what coalesces; fewer in flight would never fill one.
            Part::Batches(batch) => matches!(self, Self::FanoutInFlight { in_flight, .. } if in_flight >= batch),
            Part::Durable { broker, level, .. } => match self {
                // Ours in memory too: what keeping costs.
                Self::Durable { .. } => level != Level::Memory || contender.is_ours(),
                Self::Publish { .. } => level == Level::Memory && !broker.pipelines(),
                _ => false,
            },
            Part::Idle { .. } => matches!(self, Self::Idle { .. }),
            Part::Counted { .. } => matches!(self, Self::Allocations { .. }),
            Part::Resume => matches!(self, Self::Resume(_) | Self::History { .. }),
        }
    }

    pub(crate) fn run(self, contender: &Contender, server: &mut Server, durations: Durations) -> Result<Round> {
        if let Part::Durable { broker, .. } = contender.part
            && let Self::Durable { fan_out, in_flight } | Self::Publish { fan_out, in_flight } = self
        {
            return durable::run(broker, server, durations, fan_out, in_flight);
        }
        match self {
            Self::Resume(storm) => return storm::run(server, storm),
            Self::History { clients } => return history::run(server, durations, clients),
            _ => {}
        }
        let Some(protocol) = contender.protocol() else {
            bail!("{} has no rooms", contender.name);
        };
        match self {
            Self::FanoutPaced { crowd, per_second } => fanout::paced(protocol, server, durations, crowd, per_second),
            Self::FanoutInFlight { crowd, in_flight } => {
                fanout::in_flight(protocol, server, durations, crowd, in_flight)
            }
            Self::Stalled { crowd, per_second } => fanout::stalled(protocol, server, durations, crowd, per_second),
            Self::Growth { crowd, per_second } => growth::run(protocol, server, durations, crowd, per_second),
            Self::Questions { clients } => match protocol.asker() {
                Some(asker) => question::run(asker, server, durations, clients),
                None => bail!("{} gives no answers", contender.name),
            },
            Self::Beside { crowd, per_second } => match protocol.asker() {
                Some(asker) => beside::run(protocol, asker, server, durations, crowd, per_second),
                None => bail!("{} gives no answers", contender.name),
            },
            Self::Allocations { crowd } => match protocol.asker() {
                Some(asker) => allocations::run(protocol, asker, server, durations, crowd),
                None => bail!("{} gives no answers", contender.name),
            },
            Self::Connect { warm_up, connections } => connect::run(protocol, server, warm_up, connections),
            Self::Idle { connections } => idle::run(protocol, server, durations, connections),
            Self::Durable { .. } | Self::Publish { .. } | Self::Resume(_) | Self::History { .. } => {
                bail!("{} keeps nothing", contender.name)
            }
        }
    }
}

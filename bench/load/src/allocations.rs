//! How often a server allocates: for a connection, for an event and each of its deliveries, for an answer. It counts itself, and is asked
//! before and after.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::fanout::pace;
use crate::http;
use crate::kernel::Accounts;
use crate::link::Link;
use crate::protocol::{Place, Protocol, Speaker};
use crate::question::Askers;
use crate::rooms::{Crowd, Rooms};
use crate::round::{Allocations, Figures, Round};
use crate::sequence::Faults;
use crate::server::Server;
use crate::workload::{Durations, SETTLE};

/// Clients that come before it is counted, so that what a server sets up once is not.
const FIRST: usize = 10;
const ASKERS: usize = 10;
/// In a second, to everyone.
const EVENTS: u32 = 50;

/// What a server has allocated so far.
#[derive(Clone, Copy)]
struct Count {
    times: f64,
    bytes: f64,
}

pub(crate) fn run(
    protocol: &'static dyn Protocol,
    asker: fn(Place) -> Box<dyn Speaker>,
    server: &Server,
    durations: Durations,
    crowd: Crowd,
) -> Result<Round> {
    let mut rooms = Rooms::new(protocol, server.address, crowd)?;
    rooms.connect(FIRST)?;
    rooms.rest(SETTLE)?;
    let begun = Accounts::now(server.pid())?;
    let connecting = Count::of(server.address)?;
    rooms.connect(crowd.clients - FIRST)?;
    rooms.rest(SETTLE)?;
    let connected = connecting.until(server.address, crowd.clients - FIRST)?;

    rooms.connect_publishers()?;
    let warm_up = Durations {
        window: Duration::from_millis(200),
        ..durations
    };
    pace(&mut rooms, server, warm_up, EVENTS)?;
    rooms.rest(SETTLE)?;
    let before = rooms.published();
    let publishing = Count::of(server.address)?;
    pace(&mut rooms, server, durations, EVENTS)?;
    rooms.rest(SETTLE)?;
    let published = publishing.until(server.address, (rooms.published() - before) as usize)?;

    let mut askers = Askers::connect(asker, server, 1..1 + ASKERS)?;
    askers.ask_for(Duration::from_millis(200))?;
    let (asking, before) = (Count::of(server.address)?, askers.answers());
    askers.ask_for(durations.window)?;
    let answered = asking.until(server.address, (askers.answers() - before) as usize)?;
    let usage = begun.until(Accounts::now(server.pid())?);
    ensure!(rooms.faults() == Faults::default(), "faults: {:?}", rooms.faults());
    let figures = Allocations {
        connect: connected.times,
        connect_bytes: connected.bytes,
        event: published.times,
        event_bytes: published.bytes,
        answer: answered.times,
        answer_bytes: answered.bytes,
    };
    Ok(Round::new(Figures::Allocations(figures), &usage, Faults::default()))
}

impl Count {
    fn of(address: SocketAddr) -> Result<Self> {
        let question = format!("GET /allocations HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let text = Link::connect(address)?.ask(question.as_bytes(), |bytes| {
            let Some((head, body)) = http::answer(bytes)? else {
                return Ok(None);
            };
            Ok(Some((
                head.bytes + body.len(),
                String::from_utf8_lossy(body).into_owned(),
            )))
        })?;
        let mut numbers = text.split(' ').map(str::parse::<f64>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(times)), Some(Ok(bytes))) => Ok(Self { times, bytes }),
            _ => Err(anyhow::anyhow!("not a count: {text:?}")),
        }
    }

    /// What came since, for each of so many.
    fn until(self, address: SocketAddr, of: usize) -> Result<Self> {
        ensure!(of > 0, "nothing was done");
        let now = Self::of(address).context("counting")?;
        Ok(Self {
            times: (now.times - self.times) / of as f64,
            bytes: (now.bytes - self.bytes) / of as f64,
        })
    }
}

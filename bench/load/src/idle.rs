//! Connections in a room where nothing happens: what each costs in the server's memory.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::kernel::{self, Accounts, Usage};
use crate::protocol::Protocol;
use crate::rooms::{Crowd, Rooms};
use crate::round::{Figures, Round};
use crate::sequence::Faults;
use crate::server::Server;
use crate::workload::{Durations, SETTLE};

/// Connections made before memory is first read, so that what a server sets up once is not counted.
const FIRST: usize = 10;

pub(crate) fn run(
    protocol: &'static dyn Protocol,
    server: &Server,
    durations: Durations,
    connections: usize,
) -> Result<Round> {
    let crowd = Crowd {
        clients: FIRST + connections,
        rooms: 1,
        data_bytes: 0,
        stalled_each: 0,
        channels: 1,
    };
    let arrived = arrive(protocol, server, crowd, durations.hold)?;
    let faults = arrived.rooms.faults();
    ensure!(faults == Faults::default(), "not idle: {faults:?}");
    Ok(Round::new(Figures::IdleKib(arrived.kib), &arrived.usage, faults))
}

/// A crowd that has come, and what it cost.
pub(crate) struct Arrived {
    pub(crate) rooms: Rooms,
    /// Of the server's resident memory, for each.
    pub(crate) kib: f64,
    /// From the first that is counted until all were held.
    pub(crate) usage: Usage,
    /// How many are counted.
    pub(crate) connections: usize,
}

/// Lets a crowd in and holds it for so long.
pub(crate) fn arrive(
    protocol: &'static dyn Protocol,
    server: &Server,
    crowd: Crowd,
    hold: Duration,
) -> Result<Arrived> {
    let connections = crowd.clients - FIRST;
    let mut rooms = Rooms::new(protocol, server.address, crowd)?;
    rooms.connect(FIRST)?;
    rooms.rest(SETTLE)?;
    let before = kernel::resident_kib(server.pid())?;
    let begun = Accounts::now(server.pid())?;
    rooms.connect(connections)?;
    rooms.rest(hold)?;
    let usage = begun.until(Accounts::now(server.pid())?);
    let after = kernel::resident_kib(server.pid())?;
    Ok(Arrived {
        rooms,
        kib: after.saturating_sub(before) as f64 / connections as f64,
        usage,
        connections,
    })
}

//! Connections in a room where nothing happens: what each costs in the server's memory.

use anyhow::{Result, ensure};

use crate::kernel::{self, Accounts};
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
    let mut rooms = Rooms::new(protocol, server.address, crowd)?;
    rooms.connect(FIRST)?;
    rooms.rest(SETTLE)?;
    let before = kernel::resident_kib(server.pid())?;
    let begun = Accounts::now(server.pid())?;
    rooms.connect(connections)?;
    rooms.rest(durations.hold)?;
    let usage = begun.until(Accounts::now(server.pid())?);
    let after = kernel::resident_kib(server.pid())?;
    let faults = rooms.faults();
    ensure!(faults == Faults::default(), "not idle: {faults:?}");
    let kib = after.saturating_sub(before) as f64 / connections as f64;
    Ok(Round::new(Figures::IdleKib(kib), &usage, faults))
}

//! What grows with how many connections there are, or channels that each is subscribed to.

use anyhow::Result;

use crate::fanout::pace;
use crate::kernel::{self, Accounts};
use crate::protocol::Protocol;
use crate::rooms::{Crowd, Rooms};
use crate::round::{Delivery, Figures, Growth, Round};
use crate::server::Server;
use crate::workload::{Durations, SETTLE};

/// Connections made before memory is first read, so that what a server sets up once is not counted.
const FIRST: usize = 10;

pub(crate) fn run(
    protocol: &'static dyn Protocol,
    server: &Server,
    durations: Durations,
    crowd: Crowd,
    per_second: u32,
) -> Result<Round> {
    let mut rooms = Rooms::new(protocol, server.address, crowd)?;
    rooms.connect(FIRST)?;
    rooms.connect_publishers()?;
    rooms.rest(SETTLE)?;
    let before = kernel::resident_kib(server.pid())?;
    let begun = Accounts::now(server.pid())?;
    let connections = crowd.clients - FIRST;
    rooms.connect(connections)?;
    rooms.rest(SETTLE)?;
    let usage = begun.until(Accounts::now(server.pid())?);
    let connect_us = usage.server.as_secs_f64() * 1e6 / connections as f64;
    let after = kernel::resident_kib(server.pid())?;
    let kib = after.saturating_sub(before) as f64 / connections as f64;
    let usage = pace(&mut rooms, server, durations, per_second)?;
    let delivery = Delivery::new(&rooms.tally, &usage);
    rooms.drain()?;
    let figures = Figures::Growth(Growth {
        delivery,
        connect_us,
        kib,
    });
    Ok(Round::new(figures, &usage, rooms.faults()))
}

//! What grows with how many connections there are, or channels that each is subscribed to.

use anyhow::Result;

use crate::fanout::pace;
use crate::idle::arrive;
use crate::protocol::Protocol;
use crate::rooms::Crowd;
use crate::round::{Delivery, Figures, Growth, Round};
use crate::server::Server;
use crate::workload::{Durations, SETTLE};

pub(crate) fn run(
    protocol: &'static dyn Protocol,
    server: &Server,
    durations: Durations,
    crowd: Crowd,
    per_second: u32,
) -> Result<Round> {
    let arrived = arrive(protocol, server, crowd, SETTLE)?;
    let connect_us = arrived.usage.server.as_secs_f64() * 1e6 / arrived.connections as f64;
    let (mut rooms, kib) = (arrived.rooms, arrived.kib);
    rooms.connect_publishers()?;
    rooms.rest(SETTLE)?;
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

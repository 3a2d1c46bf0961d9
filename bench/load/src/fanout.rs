//! Events to everyone in a room: so many a second, or so many in flight.

use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::kernel::{self, Accounts, Usage};
use crate::protocol::Protocol;
use crate::rooms::{Crowd, Rooms};
use crate::round::{Delivery, Figures, Round, Stalled};
use crate::server::Server;
use crate::workload::Durations;

/// Open loop: whatever comes back.
pub(crate) fn paced(
    protocol: &'static dyn Protocol,
    server: &Server,
    durations: Durations,
    crowd: Crowd,
    per_second: u32,
) -> Result<Round> {
    let mut rooms = Rooms::with_all(protocol, server.address, crowd)?;
    let usage = pace(&mut rooms, server, durations, per_second)?;
    delivered(rooms, &usage)
}

/// Closed loop: the next event when one has reached the whole room.
pub(crate) fn in_flight(
    protocol: &'static dyn Protocol,
    server: &Server,
    durations: Durations,
    crowd: Crowd,
    in_flight: usize,
) -> Result<Round> {
    let mut rooms = Rooms::with_all(protocol, server.address, crowd)?;
    let warm = Instant::now() + durations.warm_up;
    let drive = |rooms: &mut Rooms, until: Instant| -> Result<()> {
        loop {
            let now = Instant::now();
            if now >= until {
                return Ok(());
            }
            let wanted = rooms.complete() + in_flight as u64 - rooms.published();
            if wanted > 0 {
                rooms.publish((0..wanted).map(|_| now))?;
            }
            rooms.turn(Duration::from_millis(100))?;
        }
    };
    drive(&mut rooms, warm)?;
    rooms.clear_tally();
    let begun = Accounts::now(server.pid())?;
    drive(&mut rooms, warm + durations.window)?;
    let usage = begun.until(Accounts::now(server.pid())?);
    delivered(rooms, &usage)
}

/// What the window gave, when the rest has come too.
fn delivered(mut rooms: Rooms, usage: &Usage) -> Result<Round> {
    let delivery = Delivery::new(&rooms.tally, usage);
    rooms.drain()?;
    Ok(Round::new(Figures::Delivery(delivery), usage, rooms.faults()))
}

/// Open loop twice on the same connections: all of them read, then some have stopped to.
pub(crate) fn stalled(
    protocol: &'static dyn Protocol,
    server: &Server,
    durations: Durations,
    crowd: Crowd,
    per_second: u32,
) -> Result<Round> {
    let mut rooms = Rooms::with_all(protocol, server.address, crowd)?;
    pace(&mut rooms, server, durations, per_second)?;
    let before = rooms.tally.latencies.clone();
    rooms.drain()?;
    let before_kib = kernel::resident_kib(server.pid())?;
    rooms.stall()?;
    kernel::forget_peak(server.pid())?;
    let usage = pace(&mut rooms, server, durations, per_second)?;
    let peak_kib = kernel::peak_kib(server.pid())?;
    let figures = Stalled::new(&before, &rooms.tally.latencies, before_kib, peak_kib);
    rooms.drain()?;
    Ok(Round::new(Figures::Stalled(figures), &usage, rooms.faults()))
}

/// Publishes at a pace; what is left in the rooms' tally, and the usage, are those of the window.
pub(crate) fn pace(rooms: &mut Rooms, server: &Server, durations: Durations, per_second: u32) -> Result<Usage> {
    let period = Duration::from_secs(1) / per_second;
    let events = |time: Duration| (time.as_secs_f64() * f64::from(per_second)).round() as u64;
    let first = rooms.published();
    let first_measured = first + events(durations.warm_up);
    let end = first_measured + events(durations.window);

    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::empty())?;
    timer.set(
        Expiration::IntervalDelayed(TimeSpec::from(period), TimeSpec::from(period)),
        TimerSetTimeFlags::empty(),
    )?;
    let start = Instant::now() + period;
    let due = |event: u64| start + period * (event - first) as u32;
    rooms.watch(&timer)?;

    // The window begins and ends when an event is due, where the room is quiet unless the server lags.
    let mut begun = None;
    loop {
        if rooms.turn(Duration::from_secs(1))? {
            timer.wait()?;
        }
        let now = Instant::now();
        while rooms.published() < end && due(rooms.published()) <= now {
            if rooms.published() == first_measured {
                rooms.clear_tally();
                begun = Some(Accounts::now(server.pid())?);
            }
            // An event is timed from when it was due: a generator that is late does not hide it.
            rooms.publish([due(rooms.published())].into_iter())?;
        }
        if let Some(begun) = begun
            && due(end) <= now
        {
            return Ok(begun.until(Accounts::now(server.pid())?));
        }
    }
}

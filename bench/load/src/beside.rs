//! Round trips of one client beside a fan-out to many: whether an answer waits for all of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::fanout::pace;
use crate::protocol::{Place, Protocol, Speaker};
use crate::question::Askers;
use crate::rooms::{Crowd, Rooms};
use crate::round::{Delivery, Figures, Round};
use crate::server::Server;
use crate::workload::Durations;

/// Not in step with the events.
const ASK_EVERY: Duration = Duration::from_millis(7);

/// The figures are those of the answers, but for how many deliveries there were.
pub(crate) fn run(
    protocol: &'static dyn Protocol,
    asker: fn(Place) -> Box<dyn Speaker>,
    server: &Server,
    durations: Durations,
    crowd: Crowd,
    per_second: u32,
) -> Result<Round> {
    let mut rooms = Rooms::with_all(protocol, server.address, crowd)?;
    let is_over = AtomicBool::new(false);
    let (usage, answers) = std::thread::scope(|threads| -> Result<_> {
        // In a room of its own: it hears nothing but its answers.
        let asking = threads.spawn(|| {
            let mut askers = Askers::connect(asker, server, crowd.rooms..crowd.rooms + 1)?;
            std::thread::sleep(durations.warm_up);
            askers.ask_every(ASK_EVERY, &is_over)?;
            Ok::<_, anyhow::Error>(askers.into_latencies())
        });
        let usage = pace(&mut rooms, server, durations, per_second);
        is_over.store(true, Ordering::Relaxed);
        let answers = asking.join().ok().context("the asker panicked")??;
        Ok((usage?, answers))
    })?;
    let mut figures = Delivery::new(&rooms.tally, &usage);
    let quantile = |share| answers.quantile_ms(share).unwrap_or(f64::NAN);
    (figures.p50_ms, figures.p99_ms) = (quantile(0.5), quantile(0.99));
    rooms.drain()?;
    Ok(Round::new(Figures::Delivery(figures), &usage, rooms.faults()))
}

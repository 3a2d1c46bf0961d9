//! The tables, in Markdown.

use std::fmt::Write;

use crate::round::{Delivery, FOREIGN_MAX, Round, Spread};
use crate::sequence::Faults;
use crate::server::{Contender, LIMIT, PEER};
use crate::workload::{Load, Workload};

/// All rounds of one server under one workload.
#[derive(Debug, Default)]
pub(crate) struct Series {
    rounds: Vec<Round>,
    /// What kept a round from ending.
    pub(crate) failures: Vec<String>,
}

impl Series {
    pub(crate) fn push(&mut self, round: Round) {
        self.rounds.push(round);
    }

    /// Rounds in which nothing else ran.
    pub(crate) fn quiet_count(&self) -> usize {
        self.rounds.iter().filter(|round| round.quiet()).count()
    }

    /// The quiet rounds, or all of them where none was quiet.
    fn counted(&self) -> impl Iterator<Item = &Round> {
        let none_quiet = self.quiet_count() == 0;
        self.rounds.iter().filter(move |round| none_quiet || round.quiet())
    }

    fn spread(&self, figure: impl Fn(&Round) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.counted().filter_map(figure))
    }

    fn delivery(&self, figure: impl Fn(&Delivery) -> f64) -> Option<Spread> {
        self.spread(|round| round.delivery.as_ref().map(&figure))
    }

    /// Of every round, quiet or not: a fault is a fault.
    fn faults(&self) -> Faults {
        let mut sum = Faults::default();
        for round in &self.rounds {
            sum.add(round.faults);
        }
        sum
    }

    /// How many rounds count, how many were dropped, and whether any was quiet.
    fn rounds_cell(&self) -> String {
        let quiet = self.quiet_count();
        match self.rounds.len() - quiet {
            0 => quiet.to_string(),
            noisy if quiet == 0 => format!("{noisy}, **none quiet**"),
            dropped => format!("{quiet}, {dropped} dropped"),
        }
    }
}

const FANOUT_HEAD: &[&str] = &[
    "thousands of deliveries per CPU-second",
    "× limit",
    "× socketioxide",
    "p50 ms",
    "p99 ms",
    "lost",
    "repeated",
    "reordered",
    "rounds",
];
const CONDITIONS_HEAD: &[&str] = &[
    "thousands of deliveries per second",
    "events a read",
    "server CPU",
    "generator CPU",
    "others on the server's core",
    "generator delayed",
    "other faults",
];
const IDLE_HEAD: &[&str] = &["KiB per connection", "× socketioxide", "rounds"];

/// The tables of one workload; `series` is in the order of `contenders`.
pub(crate) fn table(workload: &Workload, contenders: &[&Contender], series: &[Series]) -> String {
    let mut text = format!("### {}: {}\n\n", workload.name, workload.summary);
    let find = |name: &str| {
        contenders
            .iter()
            .position(|contender| contender.name == name)
            .map(|index| &series[index])
    };
    let (limit, peer) = (find(LIMIT), find(PEER));
    let rows = |text: &mut String, head: &[&str], cells: &dyn Fn(&Series) -> Vec<String>| {
        let _ = writeln!(text, "| server | {} |", head.join(" | "));
        let _ = writeln!(text, "| --- |{}", " --- |".repeat(head.len()));
        for (contender, series) in contenders.iter().zip(series) {
            let _ = writeln!(text, "| {} | {} |", contender.name, cells(series).join(" | "));
        }
        text.push('\n');
    };
    match workload.load {
        Load::FanoutPaced { .. } | Load::FanoutInFlight { .. } => {
            rows(&mut text, FANOUT_HEAD, &|series| fanout_cells(series, limit, peer));
            rows(&mut text, CONDITIONS_HEAD, &conditions_cells);
        }
        Load::Idle { .. } => rows(&mut text, IDLE_HEAD, &|series| idle_cells(series, peer)),
    }
    for (contender, series) in contenders.iter().zip(series) {
        for failure in &series.failures {
            let _ = writeln!(text, "**{} failed**: {failure}\n", contender.name);
        }
    }
    text
}

fn fanout_cells(series: &Series, limit: Option<&Series>, peer: Option<&Series>) -> Vec<String> {
    let rate = |series: &Series| series.delivery(|delivery| delivery.per_cpu_second / 1e3);
    // Figures from a busy machine are shown, and said to be that; they are not compared.
    let comparable = |series: &Series| rate(series).filter(|_| series.quiet_count() > 0);
    let own = rate(series);
    let faults = series.faults();
    vec![
        cell(own, 0),
        ratio(comparable(series), limit.and_then(comparable)),
        ratio(comparable(series), peer.and_then(comparable)),
        cell(series.delivery(|delivery| delivery.p50_ms), 2),
        cell(series.delivery(|delivery| delivery.p99_ms), 2),
        faults.lost.to_string(),
        faults.repeated.to_string(),
        faults.reordered.to_string(),
        series.rounds_cell(),
    ]
}

/// What the figures were taken under.
fn conditions_cells(series: &Series) -> Vec<String> {
    let faults = series.faults();
    vec![
        cell(series.delivery(|delivery| delivery.per_second / 1e3), 0),
        cell(series.delivery(|delivery| delivery.events_per_read), 1),
        percent(series.spread(|round| Some(round.server_share))),
        percent(series.spread(|round| Some(round.load_share))),
        percent(series.spread(|round| Some(round.server_core_foreign))),
        percent(series.spread(|round| Some(round.load_delay))),
        (faults.garbled + faults.cut).to_string(),
    ]
}

fn idle_cells(series: &Series, peer: Option<&Series>) -> Vec<String> {
    let kib = |series: &Series| series.spread(|round| round.idle_kib);
    let own = kib(series);
    vec![cell(own, 2), ratio(own, peer.and_then(kib)), series.rounds_cell()]
}

/// The median, with the range behind it.
fn cell(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or("–".into(), |s| {
        format!("{:.digits$} ({:.digits$}–{:.digits$})", s.median, s.least, s.greatest)
    })
}

fn percent(share: Option<Spread>) -> String {
    share.map_or("–".into(), |s| format!("{:.0} %", s.median * 100.0))
}

fn ratio(own: Option<Spread>, other: Option<Spread>) -> String {
    match (own, other) {
        (Some(own), Some(other)) if other.median > 0.0 => {
            format!("{:.2}", own.median / other.median)
        }
        _ => "–".into(),
    }
}

/// One line for the eye while it runs.
pub(crate) fn progress(round: &Round) -> String {
    let mut line = String::new();
    if let Some(delivery) = &round.delivery {
        let _ = write!(
            line,
            "{:.0} k/CPU-s, p50 {:.2} p99 {:.2} ms, {:.1} events a read, server {:.0} %, generator {:.0} %, others {:.1} %, generator delayed {:.1} %",
            delivery.per_cpu_second / 1e3,
            delivery.p50_ms,
            delivery.p99_ms,
            delivery.events_per_read,
            round.server_share * 100.0,
            round.load_share * 100.0,
            round.server_core_foreign * 100.0,
            round.load_delay * 100.0,
        );
    }
    if let Some(kib) = round.idle_kib {
        let _ = write!(line, "{kib:.2} KiB a connection");
    }
    if round.faults.count() > 0 {
        let _ = write!(line, ", FAULTS {:?}", round.faults);
    }
    if !round.quiet() {
        let _ = write!(line, ", not quiet (above {:.0} %)", FOREIGN_MAX * 100.0);
    }
    line
}

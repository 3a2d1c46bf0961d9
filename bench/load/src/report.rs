//! The tables, in Markdown.

use std::fmt::Write;

use crate::round::{Delivery, FOREIGN_MAX, Figures, Publishes, Return, Round, Spread};
use crate::sequence::Faults;
use crate::server::{Contender, LIMIT, Level, PEER, Part};
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
        self.spread(|round| match &round.figures {
            Figures::Delivery(delivery) => Some(figure(delivery)),
            _ => None,
        })
    }

    fn publishes(&self, figure: impl Fn(&Publishes) -> f64) -> Option<Spread> {
        self.spread(|round| match &round.figures {
            Figures::Publishes(publishes) => Some(figure(publishes)),
            _ => None,
        })
    }

    fn comeback(&self, figure: impl Fn(&Return) -> f64) -> Option<Spread> {
        self.spread(|round| match &round.figures {
            Figures::Return(comeback) => Some(figure(comeback)),
            _ => None,
        })
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
const DURABLE_HEAD: &[&str] = &[
    "an answered publish survives",
    "publishes per second",
    "× Redis",
    "× NATS",
    "answer p50 ms",
    "answer p99 ms",
    "delivery p99 ms",
    "lost",
    "repeated",
    "reordered",
    "rounds",
];
const DURABLE_CONDITIONS_HEAD: &[&str] = &[
    "publishes per CPU-second",
    "delivery p50 ms",
    "events a read",
    "one sync of the disk ms",
    "server CPU",
    "generator CPU",
    "others on the server's core",
    "generator delayed",
    "other faults",
];
const RESUME_HEAD: &[&str] = &[
    "until all have all, s",
    "one client p50 ms",
    "one client p99 ms",
    "thousands of events per second",
    "server CPU s",
    "memory before MiB",
    "at its most MiB",
    "lost",
    "repeated",
    "reordered",
    "rounds",
];
const RESUME_CONDITIONS_HEAD: &[&str] = &[
    "server CPU",
    "generator CPU",
    "others on the server's core",
    "generator delayed",
    "other faults",
];

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
    let rows = |text: &mut String, head: &[&str], cells: &dyn Fn(&Contender, &Series) -> Vec<String>| {
        let _ = writeln!(text, "| server | {} |", head.join(" | "));
        let _ = writeln!(text, "| --- |{}", " --- |".repeat(head.len()));
        for (contender, series) in contenders.iter().zip(series) {
            let _ = writeln!(
                text,
                "| {} | {} |",
                contender.name,
                cells(contender, series).join(" | ")
            );
        }
        text.push('\n');
    };
    match workload.load {
        Load::FanoutPaced { .. } | Load::FanoutInFlight { .. } => {
            rows(&mut text, FANOUT_HEAD, &|_, series| fanout_cells(series, limit, peer));
            rows(&mut text, CONDITIONS_HEAD, &|_, series| conditions_cells(series));
        }
        Load::Idle { .. } => rows(&mut text, IDLE_HEAD, &|_, series| idle_cells(series, peer)),
        Load::Durable { .. } => {
            // The one of this name that promises as much.
            let peer = |level: Level, name: &str| {
                contenders
                    .iter()
                    .position(|one| one.name.starts_with(name) && level_of(one) == Some(level))
                    .map(|index| &series[index])
            };
            rows(&mut text, DURABLE_HEAD, &|contender, series| {
                durable_cells(contender, series, peer)
            });
            rows(&mut text, DURABLE_CONDITIONS_HEAD, &|_, series| {
                durable_conditions_cells(series)
            });
        }
        Load::Resume(_) => {
            rows(&mut text, RESUME_HEAD, &|_, series| resume_cells(series));
            rows(&mut text, RESUME_CONDITIONS_HEAD, &|_, series| shares_cells(series));
        }
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
    let mut cells = vec![
        cell(series.delivery(|delivery| delivery.per_second / 1e3), 0),
        cell(series.delivery(|delivery| delivery.events_per_read), 1),
    ];
    cells.extend(shares_cells(series));
    cells
}

/// Who had the cores, and faults that have no cell of their own.
fn shares_cells(series: &Series) -> Vec<String> {
    let faults = series.faults();
    vec![
        percent(series.spread(|round| Some(round.server_share))),
        percent(series.spread(|round| Some(round.load_share))),
        percent(series.spread(|round| Some(round.server_core_foreign))),
        percent(series.spread(|round| Some(round.load_delay))),
        (faults.garbled + faults.cut).to_string(),
    ]
}

fn idle_cells(series: &Series, peer: Option<&Series>) -> Vec<String> {
    let kib = |series: &Series| {
        series.spread(|round| match round.figures {
            Figures::IdleKib(kib) => Some(kib),
            _ => None,
        })
    };
    let own = kib(series);
    vec![cell(own, 2), ratio(own, peer.and_then(kib)), series.rounds_cell()]
}

fn level_of(contender: &Contender) -> Option<Level> {
    match contender.part {
        Part::Durable { level, .. } => Some(level),
        Part::Room | Part::Resume => None,
    }
}

fn durable_cells<'a>(
    contender: &Contender,
    series: &Series,
    peer: impl Fn(Level, &str) -> Option<&'a Series>,
) -> Vec<String> {
    let Part::Durable { level, promise, .. } = contender.part else {
        return Vec::new();
    };
    let rate = |series: &Series| series.publishes(|publishes| publishes.per_second);
    let comparable = |series: &Series| rate(series).filter(|_| series.quiet_count() > 0);
    let faults = series.faults();
    vec![
        promise.into(),
        cell(rate(series), 0),
        ratio(comparable(series), peer(level, "redis").and_then(comparable)),
        ratio(comparable(series), peer(level, "nats").and_then(comparable)),
        cell(series.publishes(|publishes| publishes.answer_p50_ms), 2),
        cell(series.publishes(|publishes| publishes.answer_p99_ms), 2),
        cell(series.publishes(|publishes| publishes.delivery_p99_ms), 2),
        faults.lost.to_string(),
        faults.repeated.to_string(),
        faults.reordered.to_string(),
        series.rounds_cell(),
    ]
}

fn durable_conditions_cells(series: &Series) -> Vec<String> {
    let mut cells = vec![
        cell(series.publishes(|publishes| publishes.per_cpu_second), 0),
        cell(series.publishes(|publishes| publishes.delivery_p50_ms), 2),
        cell(series.publishes(|publishes| publishes.events_per_read), 1),
        cell(series.publishes(|publishes| publishes.sync_ms), 2),
    ];
    cells.extend(shares_cells(series));
    cells
}

fn resume_cells(series: &Series) -> Vec<String> {
    let faults = series.faults();
    vec![
        cell(series.comeback(|comeback| comeback.seconds), 2),
        cell(series.comeback(|comeback| comeback.client_p50_ms), 0),
        cell(series.comeback(|comeback| comeback.client_p99_ms), 0),
        cell(series.comeback(|comeback| comeback.per_second / 1e3), 0),
        cell(series.comeback(|comeback| comeback.cpu_seconds), 2),
        cell(series.comeback(|comeback| comeback.before_mib), 1),
        cell(series.comeback(|comeback| comeback.peak_mib), 1),
        faults.lost.to_string(),
        faults.repeated.to_string(),
        faults.reordered.to_string(),
        series.rounds_cell(),
    ]
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
    let mut line = match &round.figures {
        Figures::Delivery(delivery) => format!(
            "{:.0} k/CPU-s, p50 {:.2} p99 {:.2} ms, {:.1} events a read",
            delivery.per_cpu_second / 1e3,
            delivery.p50_ms,
            delivery.p99_ms,
            delivery.events_per_read,
        ),
        Figures::IdleKib(kib) => format!("{kib:.2} KiB a connection"),
        Figures::Publishes(publishes) => format!(
            "{:.0}/s, {:.0}/CPU-s, answers p50 {:.2} p99 {:.2} ms, deliveries p99 {:.2} ms, a sync {:.2} ms",
            publishes.per_second,
            publishes.per_cpu_second,
            publishes.answer_p50_ms,
            publishes.answer_p99_ms,
            publishes.delivery_p99_ms,
            publishes.sync_ms,
        ),
        Figures::Return(comeback) => format!(
            "{:.2} s, CPU {:.2} s, memory {:.1} to {:.1} MiB",
            comeback.seconds, comeback.cpu_seconds, comeback.before_mib, comeback.peak_mib,
        ),
    };
    if !matches!(round.figures, Figures::IdleKib(_)) {
        let _ = write!(
            line,
            ", server {:.0} %, generator {:.0} %, others {:.1} %, generator delayed {:.1} %",
            round.server_share * 100.0,
            round.load_share * 100.0,
            round.server_core_foreign * 100.0,
            round.load_delay * 100.0,
        );
    }
    if round.faults.count() > 0 {
        let _ = write!(line, ", FAULTS {:?}", round.faults);
    }
    if !round.quiet() {
        let _ = write!(line, ", not quiet (above {:.0} %)", FOREIGN_MAX * 100.0);
    }
    line
}

//! The tables, in Markdown: what is shown of each workload, and with whom it is compared.

mod peers;
mod series;
mod table;

use std::fmt::Write;

pub(crate) use self::series::Series;
use self::table::{NONE, Row, Table, ratio};
use crate::chart::{Bar, Chart};
use crate::round::{FOREIGN_MAX, Figures, Round, Spread};
use crate::server::{Contender, LIMIT, Part};
use crate::workload::{Load, Workload};

/// The figure that a workload is about.
struct Headline {
    title: &'static str,
    digits: usize,
    figure: fn(&Series) -> Option<Spread>,
}

fn headline(load: Load) -> Headline {
    let (title, digits, figure): (_, _, fn(&Series) -> Option<Spread>) = match load {
        Load::FanoutPaced { .. } | Load::FanoutInFlight { .. } => {
            ("thousands of deliveries per CPU-second", 0, |series| {
                series.delivery(|delivery| delivery.per_cpu_second / 1e3)
            })
        }
        Load::Growth { .. } => ("thousands of deliveries per CPU-second", 0, |series| {
            series.growth(|growth| growth.delivery.per_cpu_second / 1e3)
        }),
        Load::Questions { .. } | Load::History { .. } => ("thousands of round trips per CPU-second", 1, |series| {
            series.delivery(|delivery| delivery.per_cpu_second / 1e3)
        }),
        Load::Beside { .. } => ("answer p99 ms", 2, |series| series.delivery(|delivery| delivery.p99_ms)),
        Load::Stalled { .. } => ("p99 ms of those that read", 2, |series| {
            series.stalled(|stalled| stalled.p99_ms)
        }),
        Load::Connect { .. } => ("µs CPU per connect", 1, |series| {
            series.connects(|connects| connects.cpu_us)
        }),
        Load::Allocations { .. } => ("allocations per event", 2, |series| {
            series.allocations(|allocations| allocations.event)
        }),
        Load::Idle { .. } => ("KiB per connection", 2, Series::idle_kib),
        Load::Durable { .. } | Load::Publish { .. } => ("publishes per second", 0, |series| {
            series.publishes(|publishes| publishes.per_second)
        }),
        Load::Resume(_) => ("seconds until all have all", 2, |series| {
            series.comeback(|comeback| comeback.seconds)
        }),
    };
    Headline { title, digits, figure }
}

fn rows<'a>(contenders: &[&'a Contender], series: &'a [Series]) -> Vec<Row<'a>> {
    contenders
        .iter()
        .zip(series)
        .map(|(contender, series)| Row { contender, series })
        .collect()
}

/// The tables of one workload; `series` is in the order of `contenders`.
pub(crate) fn tables(workload: &Workload, contenders: &[&Contender], series: &[Series]) -> String {
    let rows = rows(contenders, series);
    let (mut table, mut more) = (Table::new(&rows), Table::new(&rows));
    match workload.load {
        Load::FanoutPaced { .. } | Load::FanoutInFlight { .. } | Load::Questions { .. } | Load::History { .. } => {
            compared(&mut table, &rows, workload.load);
            table.figures("p50 ms", 2, |series| series.delivery(|delivery| delivery.p50_ms));
            table.figures("p99 ms", 2, |series| series.delivery(|delivery| delivery.p99_ms));
            table.ratios(
                "p99 × uWebSockets.js",
                &|series: &Series| series.delivery(|delivery| delivery.p99_ms),
                |_| peers::named(&rows, "uws"),
            );
            table.checks();
            more.figures("thousands per second", 0, |series| {
                series.delivery(|delivery| delivery.per_second / 1e3)
            });
            more.figures("events a read", 1, |series| {
                series.delivery(|delivery| delivery.events_per_read)
            });
            more.conditions();
        }
        Load::Growth { .. } => {
            compared(&mut table, &rows, workload.load);
            table.figures("p99 ms", 2, |series| series.growth(|growth| growth.delivery.p99_ms));
            table.figures("µs CPU per connect", 0, |series| {
                series.growth(|growth| growth.connect_us)
            });
            table.figures("KiB per connection", 2, |series| series.growth(|growth| growth.kib));
            table.checks();
            more.conditions();
        }
        Load::Beside { .. } => {
            compared(&mut table, &rows, workload.load);
            table.figures("answer p50 ms", 2, |series| series.delivery(|delivery| delivery.p50_ms));
            table.figures("thousands of deliveries per CPU-second", 0, |series| {
                series.delivery(|delivery| delivery.per_cpu_second / 1e3)
            });
            table.checks();
            more.conditions();
        }
        Load::Allocations { .. } => allocation_columns(&mut table),
        Load::Stalled { .. } => stalled_columns(&mut table, &mut more),
        Load::Connect { .. } => {
            compared(&mut table, &rows, workload.load);
            table.figures("p50 ms", 2, |series| series.connects(|connects| connects.p50_ms));
            table.figures("p99 ms", 2, |series| series.connects(|connects| connects.p99_ms));
            table.rounds();
            more.figures("thousands per second", 1, |series| {
                series.connects(|connects| connects.per_second / 1e3)
            });
            more.conditions();
        }
        Load::Idle { .. } => {
            compared(&mut table, &rows, workload.load);
            table.rounds();
        }
        Load::Durable { .. } | Load::Publish { .. } => publish_columns(&mut table, &mut more, &rows, workload.load),
        Load::Resume(_) => resume_columns(&mut table, &mut more),
    }
    let mut text = String::new();
    table.write(&mut text);
    if !matches!(workload.load, Load::Idle { .. } | Load::Allocations { .. }) {
        more.write(&mut text);
    }
    for row in &rows {
        for failure in &row.series.failures {
            let _ = writeln!(text, "**{} failed**: {failure}\n", row.contender.name);
        }
    }
    text
}

/// Whether the limit is one: it has no state for a connection to cost anything.
fn has_limit(load: Load) -> bool {
    !matches!(load, Load::Idle { .. } | Load::Allocations { .. })
}

/// The figure, and its ratios to those of the peers that take part.
fn compared<'a>(table: &mut Table<'a>, rows: &'a [Row<'a>], load: Load) {
    let Headline { title, digits, figure } = headline(load);
    table.figures(title, digits, figure);
    if has_limit(load) {
        table.ratios("× limit", &figure, |_| peers::named(rows, LIMIT));
    }
    if matches!(load, Load::FanoutInFlight { .. }) {
        table.ratios("× limit with its batch", &figure, |row| {
            peers::limit_of_its_batch(rows, row)
        });
    }
    for (title, name) in [
        ("× socketioxide", "socketioxide"),
        ("× Socket.IO on uWebSockets", "socket.io-uws"),
        ("× uWebSockets.js", "uws"),
    ] {
        table.ratios(title, &figure, |_| peers::named(rows, name));
    }
    table.ratios("× Nchan", &figure, |row| peers::nchan(rows, row));
    table.ratios("× our `/ws`", &figure, |_| peers::named(rows, "tidings-ws"));
}

fn allocation_columns(table: &mut Table<'_>) {
    table.figures("for an event to all", 2, |series| series.allocations(|all| all.event));
    table.figures("bytes", 0, |series| series.allocations(|all| all.event_bytes));
    table.figures("for a question and its answer", 2, |series| {
        series.allocations(|all| all.answer)
    });
    table.figures("bytes", 0, |series| series.allocations(|all| all.answer_bytes));
    table.figures("for a connection", 1, |series| series.allocations(|all| all.connect));
    table.figures("bytes", 0, |series| series.allocations(|all| all.connect_bytes));
    table.rounds();
}

fn stalled_columns<'a>(table: &mut Table<'a>, more: &mut Table<'a>) {
    let p99 = |series: &Series| series.stalled(|stalled| stalled.p99_ms);
    table.figures("p99 ms when all read", 2, |series| {
        series.stalled(|stalled| stalled.p99_before_ms)
    });
    table.figures("p99 ms of those that read", 2, p99);
    table.figures("the one by the other", 2, |series| {
        series.stalled(|stalled| stalled.p99_ms / stalled.p99_before_ms)
    });
    table.figures("memory before MiB", 1, |series| {
        series.stalled(|stalled| stalled.before_mib)
    });
    table.figures("at its most MiB", 1, |series| {
        series.stalled(|stalled| stalled.peak_mib)
    });
    table.checks();
    more.conditions();
}

fn publish_columns<'a>(table: &mut Table<'a>, more: &mut Table<'a>, rows: &'a [Row<'a>], load: Load) {
    let Headline { title, digits, figure } = headline(load);
    let per_cpu_second = |series: &Series| series.publishes(|publishes| publishes.per_cpu_second);
    table.column("an answered publish survives", |row| match row.contender.part {
        Part::Durable { promise, .. } => promise.into(),
        _ => NONE.into(),
    });
    table.figures(title, digits, figure);
    for (title, name) in [("× Redis", "redis"), ("× NATS", "nats"), ("× Nchan", "nchan")] {
        table.ratios(title, &figure, |row| peers::as_safe(rows, row, name));
    }
    if matches!(load, Load::Durable { .. }) {
        table.ratios("× kept in memory", &figure, |row| peers::in_memory(rows, row));
    }
    table.figures("answer p50 ms", 2, |series| {
        series.publishes(|publishes| publishes.answer_p50_ms)
    });
    table.figures("answer p99 ms", 2, |series| {
        series.publishes(|publishes| publishes.answer_p99_ms)
    });
    table.figures("delivery p99 ms", 2, |series| {
        series.publishes(|publishes| publishes.delivery_p99_ms)
    });
    table.checks();
    more.figures("publishes per CPU-second", 0, per_cpu_second);
    more.figures("delivery p50 ms", 2, |series| {
        series.publishes(|publishes| publishes.delivery_p50_ms)
    });
    more.figures("events a read", 1, |series| {
        series.publishes(|publishes| publishes.events_per_read)
    });
    if matches!(load, Load::Durable { .. }) {
        more.figures("one sync of the disk ms", 2, |series| {
            series.publishes(|publishes| publishes.sync_ms)
        });
    }
    more.conditions();
}

fn resume_columns<'a>(table: &mut Table<'a>, more: &mut Table<'a>) {
    table.figures("until all have all, s", 2, |series| {
        series.comeback(|comeback| comeback.seconds)
    });
    table.figures("one client p50 ms", 0, |series| {
        series.comeback(|comeback| comeback.client_p50_ms)
    });
    table.figures("one client p99 ms", 0, |series| {
        series.comeback(|comeback| comeback.client_p99_ms)
    });
    table.figures("thousands of events per second", 0, |series| {
        series.comeback(|comeback| comeback.per_second / 1e3)
    });
    table.figures("server CPU s", 2, |series| {
        series.comeback(|comeback| comeback.cpu_seconds)
    });
    table.figures("memory before MiB", 1, |series| {
        series.comeback(|comeback| comeback.before_mib)
    });
    table.figures("at its most MiB", 1, |series| {
        series.comeback(|comeback| comeback.peak_mib)
    });
    table.checks();
    more.conditions();
}

/// The chart of one workload, as SVG: its figure, and the ratio to the limit where there is one.
pub(crate) fn chart(workload: &Workload, contenders: &[&Contender], series: &[Series]) -> String {
    let Headline { title, digits, figure } = headline(workload.load);
    let rows = rows(contenders, series);
    let limit = peers::named(&rows, LIMIT).filter(|_| has_limit(workload.load));
    let bars = rows.iter().filter_map(|row| {
        let spread = figure(row.series)?;
        let ratio = limit.map(|limit| ratio(*row, Some(limit), &figure));
        let ratio = ratio.filter(|ratio| ratio != NONE);
        Some(Bar {
            name: row.contender.name,
            spread,
            note: ratio.map_or(String::new(), |ratio| format!("{ratio} × limit")),
            ours: row.contender.is_ours(),
        })
    });
    Chart {
        title: workload.name,
        summary: workload.summary.replace('`', ""),
        unit: title,
        digits,
        bars: bars.collect(),
    }
    .svg()
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
        Figures::Growth(growth) => format!(
            "{:.0} k/CPU-s, p99 {:.2} ms, {:.0} µs CPU and {:.2} KiB a connection",
            growth.delivery.per_cpu_second / 1e3,
            growth.delivery.p99_ms,
            growth.connect_us,
            growth.kib,
        ),
        Figures::Stalled(stalled) => format!(
            "p99 {:.2} then {:.2} ms, memory {:.1} to {:.1} MiB",
            stalled.p99_before_ms, stalled.p99_ms, stalled.before_mib, stalled.peak_mib,
        ),
        Figures::Connects(connects) => format!(
            "{:.1} µs CPU a connect, p50 {:.2} p99 {:.2} ms, {:.0}/s",
            connects.cpu_us, connects.p50_ms, connects.p99_ms, connects.per_second,
        ),
        Figures::Allocations(all) => format!(
            "{:.2} allocations an event, {:.2} an answer, {:.1} a connection",
            all.event, all.answer, all.connect,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round::Delivery;
    use crate::sequence::Faults;
    use crate::server::CONTENDERS;
    use crate::workload::WORKLOADS;

    /// A quiet one.
    fn round(per_cpu_second: f64, events_per_read: f64) -> Round {
        Round {
            figures: Figures::Delivery(Delivery {
                per_cpu_second,
                per_second: 1.0,
                p50_ms: 1.0,
                p99_ms: 2.0,
                events_per_read,
            }),
            server_share: 0.5,
            load_share: 0.5,
            server_core_foreign: 0.0,
            load_delay: 0.0,
            faults: Faults::default(),
        }
    }

    fn series_of(rounds: impl IntoIterator<Item = Round>) -> Series {
        let mut series = Series::default();
        for (number, round) in rounds.into_iter().enumerate() {
            series.push(number, round);
        }
        series
    }

    fn series(per_cpu_second: f64, events_per_read: f64) -> Series {
        series_of([round(per_cpu_second, events_per_read)])
    }

    #[test]
    fn each_row_is_compared_with_its_peers() {
        let figures = [
            ("limit", series(2e5, 1.0)),
            ("limit-8", series(1e6, 8.0)),
            ("limit-16", series(2e6, 16.0)),
            ("tidings-ws", series(1.6e6, 13.0)),
            ("tidings-sse", series(1.2e6, 7.0)),
            ("nchan-ws", series(4e5, 3.0)),
            ("nchan-sse", series(3e5, 2.0)),
        ];
        let find = |name: &str| CONTENDERS.iter().find(|one| one.name == name).expect("a contender");
        let contenders: Vec<&Contender> = figures.iter().map(|(name, _)| find(name)).collect();
        let all: Vec<Series> = figures.into_iter().map(|(_, series)| series).collect();
        let workload = WORKLOADS
            .iter()
            .find(|one| one.name == "fanout-16")
            .expect("a workload");
        let text = tables(workload, &contenders, &all);
        let head = "| server | thousands of deliveries per CPU-second | × limit | × limit with its batch | × Nchan | × our `/ws` | p50 ms |";
        assert!(text.starts_with(head), "{text}");
        assert!(
            text.contains("| tidings-ws | 1600 (1600–1600) | 8.00 | 0.80 | 4.00 | 1.00 | 1.00 "),
            "{text}"
        );
        assert!(
            text.contains("| tidings-sse | 1200 (1200–1200) | 6.00 | 1.20 | 4.00 | 0.75 | 1.00 "),
            "{text}"
        );
    }

    #[test]
    fn ratios_are_those_within_the_rounds_where_there_are_enough() {
        let of = |values: &[f64]| series_of(values.iter().map(|value| round(*value, 1.0)));
        let contender = CONTENDERS.first().expect("a contender");
        let figure = |series: &Series| series.delivery(|delivery| delivery.per_cpu_second);
        // A machine that was three times as fast in one round: 0.9 and 1.0 and 0.8 of it, and no median says so.
        let (own, limit) = (of(&[90.0, 300.0, 80.0]), of(&[100.0, 300.0, 100.0]));
        let row = |series| table::Row { contender, series };
        assert_eq!(table::ratio(row(&own), Some(row(&limit)), &figure), "0.90");
        let (own, limit) = (of(&[90.0, 300.0]), of(&[100.0, 300.0]));
        assert_eq!(
            table::ratio(row(&own), Some(row(&limit)), &figure),
            "0.97",
            "of medians"
        );
    }

    #[test]
    fn every_workload_has_servers_and_every_server_a_workload() {
        for workload in WORKLOADS {
            assert!(
                CONTENDERS.iter().any(|one| workload.load.suits(one)),
                "{}",
                workload.name
            );
        }
        for contender in CONTENDERS {
            let suited = WORKLOADS.iter().any(|workload| workload.load.suits(contender));
            assert!(suited, "{}", contender.name);
        }
    }
}

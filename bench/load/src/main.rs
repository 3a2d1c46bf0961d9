//! Compares real-time servers: starts each in turn, loads it, checks what arrives, writes the table.
//!
//! `bench/run` builds everything and calls this. [`workload`] says what is measured, [`server`] which servers,
//! [`room`], [`durable`] and [`storm`] are the loads and the checks, [`kernel`] where CPU and memory are read.

mod broker;
mod client;
mod durable;
mod event;
mod frame;
mod http;
mod kernel;
mod latency;
mod link;
mod machine;
mod note;
mod options;
mod order;
mod report;
mod room;
mod round;
mod sequence;
mod server;
mod storm;
mod workload;

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::options::{Options, USAGE};
use crate::report::Series;
use crate::server::Contender;
use crate::workload::Workload;

/// One connection each, and what a process has open besides.
const OPEN_FILES_MIN: u64 = 10_100;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error:#}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match compare(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures, prints and keeps the report.
fn compare(options: &Options) -> Result<()> {
    kernel::run_on(kernel::LOAD_CORE)?;
    let open_files = kernel::raise_open_files()?;
    anyhow::ensure!(
        open_files >= OPEN_FILES_MIN,
        "{open_files} open files are allowed, {OPEN_FILES_MIN} are needed: raise `ulimit -Hn`"
    );

    let all_series = measure(options);
    let report = report(options, &all_series);
    println!("{report}");
    // A part of the matrix is for the eye; only a whole run is a record.
    if options.whole {
        let kind = if options.quick { "-quick" } else { "" };
        let path = options.bench.join(format!("results/{}{kind}.md", machine::date()));
        std::fs::write(&path, report).with_context(|| path.display().to_string())?;
        eprintln!("written to {}", path.display());
    }
    let failures: usize = all_series.iter().flatten().map(|series| series.failures.len()).sum();
    anyhow::ensure!(failures == 0, "{failures} rounds failed");
    Ok(())
}

/// Every server under every workload, round by round, so that what drifts drifts for all. By workload, then server.
fn measure(options: &Options) -> Vec<Vec<Series>> {
    let mut all_series: Vec<Vec<Series>> = options
        .workloads
        .iter()
        .map(|workload| options.suited(workload).map(|_| Series::default()).collect())
        .collect();
    // Rounds that something disturbed are made up for, as often as there were rounds to begin with.
    let rounds_max = options.rounds * if options.quick { 1 } else { 2 };
    for round in 0..rounds_max {
        for (workload, series) in options.workloads.iter().zip(&mut all_series) {
            let contenders: Vec<&Contender> = options.suited(workload).collect();
            for turn in 0..contenders.len() {
                // Each round begins with another server.
                let index = (turn + round) % contenders.len();
                let (contender, series) = (contenders[index], &mut series[index]);
                let enough = round >= options.rounds && series.quiet_count() >= options.rounds;
                if enough || series.failures.len() > 1 {
                    continue;
                }
                eprint!("round {} {} {}: ", round + 1, workload.name, contender.name);
                match run(options, contender, workload) {
                    Ok(round) => {
                        eprintln!("{}", report::progress(&round));
                        series.push(round);
                    }
                    Err(error) => {
                        eprintln!("failed: {error:#}");
                        series.failures.push(format!("{error:#}"));
                    }
                }
            }
        }
    }
    all_series
}

/// One server under one workload, from its start to its end.
fn run(options: &Options, contender: &Contender, workload: &Workload) -> Result<round::Round> {
    let mut server = contender.start(&options.bench)?;
    workload.load.run(contender, &mut server, options.durations)
}

fn report(options: &Options, all_series: &[Vec<Series>]) -> String {
    let durations = options.durations;
    let command = ["bench/run"]
        .into_iter()
        .chain(options.typed.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join(" ");
    let mut text = format!(
        "# Benchmark of {}\n\n`{}`: {} rounds, interleaved; each a fresh server, {} s of warm-up and {} s measured; idle connections held for {} s. \
         The server runs on core {}, the load on core {}. \
         Medians, with the range in parentheses. What each figure means is in bench/README.md.\n\n{}\n",
        machine::date(),
        command,
        options.rounds,
        durations.warm_up.as_secs(),
        durations.window.as_secs(),
        durations.hold.as_secs(),
        kernel::SERVER_CORE,
        kernel::LOAD_CORE,
        machine::describe(&options.bench),
    );
    for (workload, series) in options.workloads.iter().zip(all_series) {
        let contenders: Vec<&Contender> = options.suited(workload).collect();
        text.push_str(&report::table(workload, &contenders, series));
    }
    text
}

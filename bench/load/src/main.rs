//! Compares real-time servers: starts each in turn, loads it, checks what arrives, writes the table.
//!
//! `bench/run` builds everything and calls this. [`workload`] says what is measured, [`server`] which servers,
//! [`protocol`] how they are spoken to, [`fanout`], [`question`], [`connect`], [`idle`], [`durable`] and [`storm`] are the
//! loads with their checks, [`kernel`] is where CPU and memory are read, [`report`] and [`chart`] what comes of it.

mod allocations;
mod beside;
mod broker;
mod chart;
mod connect;
mod durable;
mod event;
mod fanout;
mod frame;
mod growth;
mod history;
mod http;
mod idle;
mod kernel;
mod latency;
mod link;
mod machine;
mod note;
mod options;
mod order;
mod protocol;
mod question;
mod report;
mod rooms;
mod round;
mod sequence;
mod server;
mod storm;
mod token;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::options::{Options, USAGE};
use crate::report::Series;
use crate::server::Contender;
use crate::workload::Workload;

/// One connection each, and what a process has open besides.
const OPEN_FILES_MIN: u64 = 18_100;

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

/// Measures, prints and keeps what comes of it.
fn compare(options: &Options) -> Result<()> {
    kernel::run_on(kernel::LOAD_CORE)?;
    let open_files = kernel::raise_open_files()?;
    anyhow::ensure!(
        open_files >= OPEN_FILES_MIN,
        "{open_files} open files are allowed, {OPEN_FILES_MIN} are needed: raise `ulimit -Hn`"
    );

    let all_series = measure(options);
    let report = Report::new(options, &all_series);
    println!("{}", report.text);
    let path = report.write(options)?;
    eprintln!("written to {}", path.display());
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
    let more = if options.quick { 1 } else { 2 };
    let rounds_max = options
        .workloads
        .iter()
        .map(|workload| options.rounds(workload) * more)
        .max();
    for round in 0..rounds_max.unwrap_or_default() {
        for (workload, series) in options.workloads.iter().zip(&mut all_series) {
            let wanted = options.rounds(workload);
            let contenders: Vec<&Contender> = options.suited(workload).collect();
            for turn in 0..contenders.len() {
                // Each round begins with another server.
                let index = (turn + round) % contenders.len();
                let (contender, series) = (contenders[index], &mut series[index]);
                let enough = round >= wanted && series.quiet_count() >= wanted;
                if round >= wanted * more || enough || series.failures.len() > 1 {
                    continue;
                }
                eprint!("round {} {} {}: ", round + 1, workload.name, contender.name);
                let number = round;
                match run(options, contender, workload) {
                    Ok(round) => {
                        eprintln!("{}", report::progress(&round));
                        series.push(number, round);
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

/// What is printed and kept: the tables, and a chart of each workload.
struct Report {
    /// Its name, without an ending.
    name: String,
    text: String,
    /// By workload.
    charts: Vec<(&'static str, String)>,
}

impl Report {
    fn new(options: &Options, all_series: &[Vec<Series>]) -> Self {
        let durations = options.durations;
        let command = ["bench/run"]
            .into_iter()
            .chain(options.typed.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(" ");
        let date = machine::date();
        let name = if options.quick {
            format!("{date}-quick")
        } else {
            date.clone()
        };
        let mut text = format!(
            "# Benchmark of {date}\n\n`{command}`: rounds are interleaved, each with a fresh server; {} s of warm-up and {} s measured; \
             idle connections held for {} s. The server runs on core {}, the load on core {}. \
             Medians, with the range in parentheses. What each figure means is in bench/README.md.\n\n{}\n",
            durations.warm_up.as_secs_f64(),
            durations.window.as_secs_f64(),
            durations.hold.as_secs_f64(),
            kernel::SERVER_CORE,
            kernel::LOAD_CORE,
            machine::describe(&options.bench),
        );
        let mut charts = Vec::new();
        for (workload, series) in options.workloads.iter().zip(all_series) {
            let contenders: Vec<&Contender> = options.suited(workload).collect();
            if contenders.is_empty() {
                continue;
            }
            let Workload {
                name: title, summary, ..
            } = workload;
            text.push_str(&format!(
                "### {title}: {summary}\n\n![{title}, as bars]({name}/{title}.svg)\n\n{}",
                report::tables(workload, &contenders, series)
            ));
            charts.push((*title, report::chart(workload, &contenders, series)));
        }
        Self { name, text, charts }
    }

    /// A whole run is a record; a part of the matrix is for the eye.
    fn write(&self, options: &Options) -> Result<PathBuf> {
        let folder = options
            .bench
            .join(if options.whole { "results" } else { "target/results" });
        let charts = folder.join(&self.name);
        std::fs::create_dir_all(&charts).with_context(|| charts.display().to_string())?;
        let path = charts.with_extension("md");
        std::fs::write(&path, &self.text).with_context(|| path.display().to_string())?;
        for (workload, chart) in &self.charts {
            std::fs::write(charts.join(format!("{workload}.svg")), chart)?;
        }
        Ok(path)
    }
}

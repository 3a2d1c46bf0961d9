//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::server::{CONTENDERS, Contender};
use crate::workload::{Durations, WORKLOADS, Workload};

pub(crate) const USAGE: &str = "\
usage: bench/run [--quick] [--rounds N] [--servers A,B] [--workloads A,B]

  --quick          2 short rounds instead of 5, for a first look
  --rounds N       so many rounds
  --servers A,B    only these: limit, tidings, socketioxide, socket.io
  --workloads A,B  only these: fanout-50, fanout-16, idle";

/// What to run.
pub(crate) struct Options {
    /// The folder of the benchmark.
    pub(crate) bench: PathBuf,
    pub(crate) quick: bool,
    /// Whether all servers and workloads take part.
    pub(crate) whole: bool,
    pub(crate) rounds: usize,
    pub(crate) durations: Durations,
    pub(crate) contenders: Vec<&'static Contender>,
    pub(crate) workloads: Vec<&'static Workload>,
    /// As typed, for the report.
    pub(crate) typed: Vec<String>,
}

impl Options {
    /// Reads the arguments; none when help was asked for.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let mut arguments = arguments.peekable();
        let bench = PathBuf::from(arguments.next().context("the first argument is bench's folder")?);
        let mut typed = Vec::new();
        let (mut quick, mut rounds, mut servers, mut workloads) = (false, None, None, None);
        while let Some(option) = arguments.next() {
            typed.push(option.clone());
            let mut value = || -> Result<String> {
                let value = arguments.next().with_context(|| format!("{option} needs a value"))?;
                typed.push(value.clone());
                Ok(value)
            };
            match option.as_str() {
                "--quick" => quick = true,
                "--rounds" => rounds = Some(value()?.parse().context("--rounds")?),
                "--servers" => servers = Some(value()?),
                "--workloads" => workloads = Some(value()?),
                "--help" | "-h" => return Ok(None),
                other => bail!("unknown option {other}"),
            }
        }
        let seconds = |full, short| Duration::from_secs(if quick { short } else { full });
        Ok(Some(Self {
            bench,
            quick,
            whole: servers.is_none() && workloads.is_none(),
            rounds: rounds.unwrap_or(if quick { 2 } else { 5 }),
            durations: Durations {
                warm_up: seconds(2, 1),
                window: seconds(4, 2),
                // Long enough for a heartbeat to each: the longest interval among the servers is 25 s.
                hold: seconds(28, 3),
            },
            contenders: choose(CONTENDERS, servers.as_deref(), |contender| contender.name)?,
            workloads: choose(WORKLOADS, workloads.as_deref(), |workload| workload.name)?,
            typed,
        }))
    }
}

fn choose<T>(all: &'static [T], names: Option<&str>, name_of: impl Fn(&T) -> &'static str) -> Result<Vec<&'static T>> {
    let Some(names) = names else {
        return Ok(all.iter().collect());
    };
    for name in names.split(',') {
        if !all.iter().any(|one| name_of(one) == name) {
            bail!("there is no {name:?}");
        }
    }
    Ok(all
        .iter()
        .filter(|one| names.split(',').any(|name| name == name_of(one)))
        .collect())
}

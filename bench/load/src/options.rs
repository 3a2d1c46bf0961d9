//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::server::{CONTENDERS, Contender};
use crate::workload::{Durations, WORKLOADS, Workload};

pub(crate) const USAGE: &str = "\
usage: bench/run [--quick] [--rounds N] [--servers A,B] [--workloads A,B]

  --quick          the main workloads in one or two short rounds, for a first look: 10 minutes
  --rounds N       so many rounds instead of 5
  --servers A,B    only these; a name's beginning before a - stands for all that have it
                   rooms: limit, limit-8, limit-16, limit-32, limit-64,
                          tidings-socketio, tidings-ws, tidings-sse, tidings-poll, socketioxide,
                          socket.io, socket.io-uws, ws, uws, nchan-ws, nchan-sse, nchan-poll
                   publish: tidings-api-memory, nchan-api
                   durable: tidings-api-memory, tidings-ws-memory,
                            tidings-api-process, tidings-ws-process, redis-everysec, nats-default,
                            tidings-api-power, tidings-ws-power, redis-always, nats-always
                   history, resume: tidings-binary
  --workloads A,B  only these, named likewise: fanout-50, fanout-200, fanout-16, fanout-64, fanout-5000, rooms, large, stalled,
                   ack, connect, idle, growth-CLIENTS (1000, 5000, 10000, 18000), channels-NUMBER (10, 100, 1000),
                   publish-FANOUT-INFLIGHT (1-64, 10-64), durable-FANOUT-INFLIGHT (1-1, 10-1, 1-64, 10-64),
                   history, resume-memory, resume-disk, resume-socketio-memory, resume-socketio-disk";

/// Of each workload, unless something else is said.
const ROUNDS: usize = 5;

/// What to run.
pub(crate) struct Options {
    /// The folder of the benchmark.
    pub(crate) bench: PathBuf,
    pub(crate) quick: bool,
    /// Whether all servers and workloads take part.
    pub(crate) whole: bool,
    /// As typed; else it depends on the workload.
    rounds: Option<usize>,
    pub(crate) durations: Durations,
    pub(crate) contenders: Vec<&'static Contender>,
    pub(crate) workloads: Vec<&'static Workload>,
    /// As typed, for the report.
    pub(crate) typed: Vec<String>,
}

impl Options {
    /// The chosen servers that this workload is meant for.
    pub(crate) fn suited(&self, workload: &Workload) -> impl Iterator<Item = &'static Contender> {
        let load = workload.load;
        self.contenders
            .iter()
            .copied()
            .filter(move |contender| load.suits(contender))
    }

    /// How many rounds are wanted of a workload.
    pub(crate) fn rounds(&self, workload: &Workload) -> usize {
        let usual = if self.quick {
            workload.quick_rounds.max(1)
        } else {
            ROUNDS
        };
        self.rounds.unwrap_or(usual)
    }

    /// Reads the arguments; none when help was asked for.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Self>> {
        let mut arguments = arguments.peekable();
        let bench = PathBuf::from(arguments.next().context("the first argument is bench's folder")?);
        if !bench.join("servers").is_dir() {
            bail!(
                "the first argument is bench's folder, not {}: call it with `bench/run`",
                bench.display()
            );
        }
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
        let millis = |full, short| Duration::from_millis(if quick { short } else { full });
        let named_workloads = workloads.is_some();
        let mut chosen = choose(WORKLOADS, workloads.as_deref(), |workload| workload.name)?;
        if quick && !named_workloads {
            chosen.retain(|workload| workload.quick_rounds > 0);
        }
        Ok(Some(Self {
            bench,
            quick,
            whole: servers.is_none() && !named_workloads,
            rounds,
            durations: Durations {
                warm_up: millis(1_500, 1_000),
                window: millis(3_000, 2_000),
                // Long enough for a heartbeat to each: the longest interval among the servers is 25 s.
                hold: millis(28_000, 3_000),
            },
            contenders: choose(CONTENDERS, servers.as_deref(), |contender| contender.name)?,
            workloads: chosen,
            typed,
        }))
    }
}

/// Those that are named, or whose name goes on with `-` after what is named.
fn choose<T>(all: &'static [T], names: Option<&str>, name_of: impl Fn(&T) -> &'static str) -> Result<Vec<&'static T>> {
    let Some(names) = names else {
        return Ok(all.iter().collect());
    };
    let named = |one: &T, name: &str| {
        let rest = name_of(one).strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    for name in names.split(',') {
        if !all.iter().any(|one| named(one, name)) {
            bail!("there is no {name:?}");
        }
    }
    Ok(all
        .iter()
        .filter(|one| names.split(',').any(|name| named(one, name)))
        .collect())
}

//! The servers under test. Each is a program that prints `ready ADDRESS`, puts everyone who connects in one room,
//! sends what it gets as `event` to that room, and ends when its stdin does.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::kernel;

/// The one every ratio of fan-out is taken against.
pub(crate) const LIMIT: &str = "limit";
/// The peer in the same language.
pub(crate) const PEER: &str = "socketioxide";

/// A server that can be started.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// The program, relative to `bench/`, and its arguments.
    command: &'static [&'static str],
}

/// In the order of the table.
pub(crate) const CONTENDERS: &[Contender] = &[
    Contender {
        name: LIMIT,
        command: &["target/release/bench-limit"],
    },
    Contender {
        name: "tidings",
        command: &["target/release/bench-tidings"],
    },
    Contender {
        name: PEER,
        command: &["target/release/bench-socketioxide"],
    },
    Contender {
        name: "socket.io",
        command: &["node", "servers/socketio/server.js"],
    },
];

/// A running server; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Contender {
    /// Starts the server on its core and waits until it accepts connections.
    pub(crate) fn start(&self, bench: &Path) -> Result<Server> {
        let (program, arguments) = self.command.split_first().context("an empty command")?;
        let program = if program.contains('/') {
            bench.join(program)
        } else {
            program.into()
        };
        // What a process starts inherits its core.
        kernel::run_on(kernel::SERVER_CORE)?;
        let spawned = Command::new(program)
            .args(arguments)
            .current_dir(bench)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        kernel::run_on(kernel::LOAD_CORE)?;
        let mut child = spawned.with_context(|| format!("starting {}", self.name))?;

        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line
            .trim()
            .strip_prefix("ready ")
            .and_then(|address| address.parse().ok());
        let Some(address) = address else {
            end(&mut child);
            anyhow::bail!("{} said {line:?} instead of `ready ADDRESS`", self.name);
        };
        Ok(Server { child, address })
    }
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // It fails only for a child that has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

//! The servers under test: which there are, and a running one.
//!
//! Those that play a room are programs that print `ready ADDRESS`, put everyone who connects in one room, send what they
//! get as `event` to that room, and end when their stdin does. How the others are started is in [`launch`].

mod launch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use self::launch::Launch;
use crate::broker::{Api, Broker, Channels, Nats, Redis};
use crate::{durable, kernel};

/// The one every ratio of fan-out is taken against.
pub(crate) const LIMIT: &str = "limit";
/// The peer in the same language.
pub(crate) const PEER: &str = "socketioxide";

/// A server that can be started.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) part: Part,
    launch: Launch,
}

/// Which workloads a server is for.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    /// Everyone in one room.
    Room,
    /// Keeps what is published.
    Durable {
        broker: &'static dyn Broker,
        level: Level,
        /// What an answered publish survives with these settings.
        promise: &'static str,
    },
    /// Lets clients come back.
    Resume,
}

/// Promises that are compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// The end of the process, more or less.
    Process,
    /// A loss of power.
    Power,
}

const fn room(name: &'static str, command: &'static [&'static str]) -> Contender {
    Contender {
        name,
        part: Part::Room,
        launch: Launch::Program(command),
    }
}

/// One of those that keep what is published.
const fn keeper(
    name: &'static str,
    broker: &'static dyn Broker,
    level: Level,
    promise: &'static str,
    launch: Launch,
) -> Contender {
    Contender {
        name,
        part: Part::Durable { broker, level, promise },
        launch,
    }
}

const PROCESS: &str = "`kill -9`";
const POWER: &str = "`kill -9` and a loss of power";

/// In the order of the table.
pub(crate) const CONTENDERS: &[Contender] = &[
    room(LIMIT, &["target/release/bench-limit"]),
    room("tidings", &["target/release/bench-tidings"]),
    room(PEER, &["target/release/bench-socketioxide"]),
    room("socket.io", &["node", "servers/socketio/server.js"]),
    keeper(
        "tidings-api-process",
        &Api { durability: "process" },
        Level::Process,
        PROCESS,
        Launch::Tidings { durability: "process" },
    ),
    keeper(
        "tidings-ws-process",
        &Channels,
        Level::Process,
        PROCESS,
        Launch::Tidings { durability: "process" },
    ),
    keeper(
        "redis-everysec",
        &Redis,
        Level::Process,
        "`kill -9`, unless a sync is slow (then up to 2 s are lost); of a loss of power all but 1 to 2 s",
        Launch::Redis {
            appendfsync: "everysec",
        },
    ),
    keeper(
        "nats-default",
        &Nats,
        Level::Process,
        "`kill -9`; of a loss of power all but 2 minutes",
        Launch::Nats { sync_interval: None },
    ),
    keeper(
        "tidings-api-power",
        &Api { durability: "power" },
        Level::Power,
        POWER,
        Launch::Tidings { durability: "power" },
    ),
    keeper(
        "tidings-ws-power",
        &Channels,
        Level::Power,
        POWER,
        Launch::Tidings { durability: "power" },
    ),
    keeper(
        "redis-always",
        &Redis,
        Level::Power,
        POWER,
        Launch::Redis { appendfsync: "always" },
    ),
    keeper(
        "nats-always",
        &Nats,
        Level::Power,
        POWER,
        Launch::Nats {
            sync_interval: Some("always"),
        },
    ),
    Contender {
        name: "tidings-binary",
        part: Part::Resume,
        launch: Launch::Tidings { durability: "process" },
    },
];

/// A running server; dropping it ends it and removes its files.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Its files, where it keeps any, and what a sync took there just before it was started.
    folder: Folder,
    pub(crate) sync_ms: f64,
    bench: PathBuf,
    launch: Launch,
}

impl Contender {
    /// Starts the server on its core and waits until it accepts connections.
    pub(crate) fn start(&self, bench: &Path) -> Result<Server> {
        let folder = Folder::new(bench)?;
        let sync_ms = match self.part {
            Part::Durable { .. } => durable::sync_ms(&folder.0)?,
            Part::Room | Part::Resume => f64::NAN,
        };
        let (child, address) = start(self.launch, bench, &folder).with_context(|| format!("starting {}", self.name))?;
        Ok(Server {
            child,
            address,
            folder,
            sync_ms,
            bench: bench.into(),
            launch: self.launch,
        })
    }
}

fn start(launch: Launch, bench: &Path, folder: &Folder) -> Result<(Child, SocketAddr)> {
    // What a process starts inherits its core.
    kernel::run_on(kernel::SERVER_CORE)?;
    let started = launch.start(bench, &folder.0);
    kernel::run_on(kernel::LOAD_CORE)?;
    started
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, and starts it again on the same files, which it then reads from the disk.
    pub(crate) fn restart(&mut self) -> Result<()> {
        end(&mut self.child);
        kernel::forget_files(&self.folder.0)?;
        (self.child, self.address) = start(self.launch, &self.bench, &self.folder).context("starting it again")?;
        Ok(())
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

/// A folder of one round; dropping it removes it.
struct Folder(PathBuf);

impl Folder {
    fn new(bench: &Path) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = bench.join("target/data").join(name);
        std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left over lies in the build folder and harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

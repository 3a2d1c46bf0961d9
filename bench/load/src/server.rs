//! The servers under test: which there are, and a running one.
//!
//! Those that were written for this are programs that print `ready ADDRESS`, put everyone who connects in the room that
//! they name, send what they get to that room, and end when their stdin does. How the others are started is in [`launch`].

mod launch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use self::launch::Launch;
use crate::broker::{Api, Broker, Channels, Nats, NchanApi, Redis};
use crate::protocol::{
    Bare, NchanPoll, NchanSse, NchanWs, Protocol, SocketIo, TidingsPoll, TidingsSocketIo, TidingsSse, TidingsWs,
    Transport,
};
use crate::{durable, kernel};

/// The one every ratio of fan-out is taken against.
pub(crate) const LIMIT: &str = "limit";

/// A server that can be started.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) part: Part,
    launch: Launch,
}

/// Which workloads a server is for.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    /// Everyone is in rooms.
    Room { protocol: &'static dyn Protocol },
    /// The limit, with so many messages a write.
    Batches(usize),
    /// Keeps what is published.
    Durable {
        broker: &'static dyn Broker,
        level: Level,
        /// What an answered publish survives with these settings.
        promise: &'static str,
    },
    /// The same, which only waits in them.
    Idle { protocol: &'static dyn Protocol },
    /// Counts what it allocates.
    Counted { protocol: &'static dyn Protocol },
    /// Has a history on disk, from which clients that come back are served.
    Resume,
}

/// Promises that are compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Nothing.
    Memory,
    /// The end of the process, more or less.
    Process,
    /// A loss of power.
    Power,
}

const fn room(name: &'static str, protocol: &'static dyn Protocol, launch: Launch) -> Contender {
    Contender {
        name,
        part: Part::Room { protocol },
        launch,
    }
}

const fn batches(name: &'static str, batch: usize, command: &'static [&'static str]) -> Contender {
    Contender {
        name,
        part: Part::Batches(batch),
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

/// The binary with everything in memory.
const TIDINGS: Launch = Launch::Tidings { durability: "memory" };

const NOTHING: &str = "nothing";
const PROCESS: &str = "`kill -9`";
const POWER: &str = "`kill -9` and a loss of power";

/// In the order of the table.
pub(crate) const CONTENDERS: &[Contender] = &[
    room(LIMIT, &Bare, Launch::Program(&["target/release/bench-limit"])),
    batches("limit-8", 8, &["target/release/bench-limit", "8"]),
    batches("limit-16", 16, &["target/release/bench-limit", "16"]),
    batches("limit-32", 32, &["target/release/bench-limit", "32"]),
    batches("limit-64", 64, &["target/release/bench-limit", "64"]),
    room(
        "tidings-socketio",
        &SocketIo,
        Launch::Program(&["target/release/bench-tidings"]),
    ),
    room("tidings-ws", &TidingsWs, TIDINGS),
    room("tidings-sse", &TidingsSse, TIDINGS),
    room("tidings-poll", &TidingsPoll, TIDINGS),
    room(
        "socketioxide",
        &SocketIo,
        Launch::Program(&["target/release/bench-socketioxide"]),
    ),
    room("socket.io", &SocketIo, Launch::Npm(&["socketio.js"])),
    room("socket.io-uws", &SocketIo, Launch::Npm(&["socketio.js", "uws"])),
    room("ws", &Bare, Launch::Npm(&["ws.js"])),
    room("uws", &Bare, Launch::Npm(&["uws.js"])),
    room("nchan-ws", &NchanWs, Launch::Nchan),
    room("nchan-sse", &NchanSse, Launch::Nchan),
    room("nchan-poll", &NchanPoll, Launch::Nchan),
    keeper(
        "tidings-api-memory",
        &Api { durability: "memory" },
        Level::Memory,
        NOTHING,
        TIDINGS,
    ),
    keeper("tidings-ws-memory", &Channels, Level::Memory, NOTHING, TIDINGS),
    keeper("nchan-api", &NchanApi, Level::Memory, NOTHING, Launch::Nchan),
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
        name: "tidings-binary-socketio",
        part: Part::Idle {
            protocol: &TidingsSocketIo,
        },
        launch: TIDINGS,
    },
    Contender {
        name: "tidings-counted",
        part: Part::Counted { protocol: &SocketIo },
        launch: Launch::Program(&["target/release/bench-tidings-counted"]),
    },
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
    pub(crate) fn is_limit(&self) -> bool {
        self.name == LIMIT || matches!(self.part, Part::Batches(_))
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.name.starts_with("tidings")
    }

    /// What is spoken with one that has rooms.
    pub(crate) fn protocol(&self) -> Option<&'static dyn Protocol> {
        match self.part {
            Part::Room { protocol } | Part::Idle { protocol } | Part::Counted { protocol } => Some(protocol),
            Part::Batches(_) => Some(&Bare),
            Part::Durable { .. } | Part::Resume => None,
        }
    }

    pub(crate) fn transport(&self) -> Option<Transport> {
        self.protocol().map(|protocol| protocol.transport())
    }

    /// Starts the server on its core and waits until it accepts connections.
    pub(crate) fn start(&self, bench: &Path) -> Result<Server> {
        let folder = Folder::new(bench)?;
        let sync_ms = match self.part {
            Part::Durable { .. } => durable::sync_ms(&folder.0)?,
            _ => f64::NAN,
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

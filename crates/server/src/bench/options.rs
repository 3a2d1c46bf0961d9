//! What `tidings bench` can be asked.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::record::Transport;

/// `tidings bench`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// The server, of no account with --verify; without one, a server is started for the time it takes
    #[arg(long, value_name = "URL", env = "TIDINGS_URL")]
    pub(super) url: Option<String>,
    /// A token that may subscribe to the channels `bench:0`, `bench:1` and so on
    #[arg(long, value_name = "TOKEN", env = "TIDINGS_TOKEN", hide_env_values = true)]
    pub(super) token: Option<String>,
    /// A key of the server API, to publish with
    #[arg(long, value_name = "KEY", env = "TIDINGS_API_KEY", hide_env_values = true)]
    pub(super) api_key: Option<String>,
    /// Subscribers, of all transports together
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(super) clients: u16,
    /// Events published a second, in all channels together
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) rate: u32,
    /// How long, in seconds [default: 10; with --verify 60, or until all kills are done]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) seconds: Option<u32>,
    /// Channels that are published to
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(super) channels: u16,
    /// How subscribers connect; can be repeated [default: ws, sse and poll; with --verify all]
    #[arg(long, value_name = "NAME", value_enum, num_args = 1..)]
    pub(super) transport: Vec<Transport>,
    /// Print the result as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Prove the promises: start a server, kill it, cut and stall clients, and check all that each one got
    #[arg(long)]
    pub(super) verify: bool,
    /// What the faults follow from, to repeat a run [default: a random one, which is printed]
    #[arg(long, value_name = "N", requires = "verify")]
    pub(super) seed: Option<u64>,
    /// End after so many kills of the server; 0 is a run without any
    #[arg(long, value_name = "N", requires = "verify")]
    pub(super) kills: Option<usize>,
    /// Go on to the end though something is wrong
    #[arg(long, requires = "verify")]
    pub(super) keep_going: bool,
    /// Verify at this durability
    #[arg(long, value_name = "LEVEL", default_value = "process", value_parser = ["process", "power"])]
    pub(super) durability: String,
    /// The script that runs stock Socket.IO clients in node
    #[arg(long, value_name = "FILE", default_value = "tests/checker/stock.mjs")]
    pub(super) stock: PathBuf,
    /// Fail, rather than go without them, where stock Socket.IO clients can't run
    #[arg(long)]
    pub(super) require_stock: bool,
}

impl Bench {
    /// The transports that were asked for.
    pub(super) fn transports(&self) -> Vec<Transport> {
        let mut transports = self.transport.clone();
        if transports.is_empty() {
            match self.verify {
                true => transports.extend(Transport::SUBSCRIBERS),
                false => transports.extend([Transport::WebSocket, Transport::Sse, Transport::LongPoll]),
            }
        }
        transports.sort_unstable();
        transports.dedup();
        transports
    }

    /// How long, if that was said or nothing else ends it.
    pub(super) fn time(&self) -> Option<Duration> {
        let default = match (self.verify, self.kills) {
            (true, None | Some(0)) => Some(60),
            (true, Some(_)) => None,
            (false, _) => Some(10),
        };
        self.seconds
            .or(default)
            .map(|seconds| Duration::from_secs(seconds.into()))
    }
}

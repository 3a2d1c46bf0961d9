//! How a server is started, and how it says that it is ready.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use super::end;
use crate::broker::{API_KEY, KEEP};
use crate::token::SECRET;

/// A server that accepts no connection for so long has failed.
const START_WAIT: Duration = Duration::from_secs(20);
/// The user and group that own nothing.
const NOBODY: u32 = 65_534;
const START_AGAIN: Duration = Duration::from_millis(20);

/// The program and its settings.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Launch {
    /// Relative to `bench/`, with its arguments. Prints `ready ADDRESS`.
    Program(&'static [&'static str]),
    /// One of `servers/npm`, likewise. It brings native code from the registry along: it runs as nobody, where we are root,
    /// and is told nothing.
    Npm(&'static [&'static str]),
    /// The `tidings` binary, with a store unless it is in memory.
    Tidings { durability: &'static str },
    /// Redis with an append-only file and no snapshots.
    Redis { appendfsync: &'static str },
    /// NATS with JetStream on file.
    Nats { sync_interval: Option<&'static str> },
    /// Debian's nginx with Nchan and one worker.
    Nchan,
}

impl Launch {
    /// Starts it with its files in `folder` and waits until it accepts connections.
    pub(crate) fn start(self, bench: &Path, folder: &Path) -> Result<(Child, SocketAddr)> {
        match self {
            Self::Program(words) => {
                let (program, arguments) = words.split_first().context("an empty command")?;
                let program = if program.contains('/') {
                    bench.join(program)
                } else {
                    program.into()
                };
                let mut command = Command::new(program);
                command.args(arguments).current_dir(bench);
                announced(command, "ready ")
            }
            Self::Npm(words) => {
                let mut command = Command::new("node");
                command.args(words).current_dir(bench.join("servers/npm"));
                command
                    .env_clear()
                    .envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
                if geteuid().is_root() {
                    command.uid(NOBODY).gid(NOBODY);
                }
                announced(command, "ready ")
            }
            Self::Tidings { durability } => {
                let config = folder.join("tidings.toml");
                std::fs::write(&config, tidings_config(durability))?;
                let mut command = Command::new(tidings(bench));
                command.arg("serve").arg("--config").arg(config);
                // The environment could say otherwise than the file.
                for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDINGS_"))
                {
                    command.env_remove(name);
                }
                // It has nothing to say that is not wrong.
                command.env("RUST_LOG", "warn");
                announced(command, "tidings ready http://")
            }
            Self::Redis { appendfsync } => {
                let address = free_address()?;
                let port = address.port().to_string();
                let mut command = Command::new(bench.join("target/peers/redis-server"));
                command.args(["--bind", "127.0.0.1", "--port", &port, "--save", ""]);
                command.args(["--appendonly", "yes", "--appendfsync", appendfsync, "--dir"]);
                command.arg(folder).stdout(Stdio::null());
                listening(command, address)
            }
            Self::Nats { sync_interval } => {
                let address = free_address()?;
                let sync = sync_interval.map_or(String::new(), |interval| format!("  sync_interval: {interval}\n"));
                let text = format!(
                    "listen: \"{address}\"\njetstream {{\n  store_dir: \"{}\"\n{sync}}}\n",
                    folder.join("jetstream").display()
                );
                let config = folder.join("nats.conf");
                std::fs::write(&config, text)?;
                let mut command = Command::new(bench.join("target/peers/nats-server"));
                command.arg("-c").arg(config).stderr(Stdio::null());
                listening(command, address)
            }
            Self::Nchan => {
                let address = free_address()?;
                let nginx = bench.join("target/peers/nchan");
                let config = folder.join("nginx.conf");
                std::fs::write(&config, nchan_config(&nginx, folder, address))?;
                let mut command = Command::new(nginx.join("usr/sbin/nginx"));
                command.arg("-p").arg(folder).arg("-c").arg(config);
                listening(command, address)
            }
        }
    }
}

/// `TIDINGS_BIN`, or what `run` has built.
fn tidings(bench: &Path) -> PathBuf {
    let set: Option<OsString> = std::env::var_os("TIDINGS_BIN");
    set.map_or_else(|| bench.join("../target/release/tidings"), PathBuf::from)
}

/// Everyone may do everything, as often as they like and in as many channels as the workloads have, and a token is checked where one is shown; the data, if any, lie
/// beside the file.
fn tidings_config(durability: &str) -> String {
    let (store, history) = if durability == "memory" {
        (String::new(), String::new())
    } else {
        (
            format!("data = \"data\"\ndurability = \"{durability}\""),
            format!("history = {{ keep = {KEEP} }}"),
        )
    };
    format!(
        r#"listen = "127.0.0.1:0"
{store}

[auth]
hs256 = "{SECRET}"
anonymous = true

[api]
key = "{API_KEY}"

[admin]
listen = "off"

[[channels]]
match = "bench:*"
{history}
subscribe = "anyone"
publish = "anyone"

[[channels]]
match = "room:*"
subscribe = "anyone"
publish = "anyone"

[limits]
messages_per_second = 0
subscriptions = 1000
"#
    )
}

/// One process, which logs nothing but what is wrong. Subscribers begin with what is published from then on, connections
/// stay open for as many requests as they like, and a channel keeps enough for those that poll.
fn nchan_config(nginx: &Path, folder: &Path, address: SocketAddr) -> String {
    let module = nginx.join("usr/lib/nginx/modules/ngx_nchan_module.so");
    let (module, folder) = (module.display(), folder.display());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("    {kind}_temp_path \"{folder}/{kind}\";\n"))
        .collect();
    format!(
        r#"load_module "{module}";
daemon off;
master_process off;
pid "{folder}/pid";
error_log stderr error;
events {{ worker_connections 20000; }}
http {{
    access_log off;
{temporary}    keepalive_requests 1000000000;
    server {{
        listen {address} backlog=4096;
        nchan_message_buffer_length {KEEP};
        nchan_subscriber_first_message newest;
        location ~ ^/ws/(.+)$ {{ nchan_pubsub websocket; nchan_channel_id $1; }}
        location ~ ^/sse/(.+)$ {{ nchan_subscriber eventsource; nchan_channel_id $1; }}
        location ~ ^/poll/(.+)$ {{ nchan_subscriber longpoll; nchan_channel_id $1; }}
        location ~ ^/publish/(.+)$ {{ nchan_publisher http websocket; nchan_channel_id $1; }}
    }}
}}
"#
    )
}

/// A server that prints one line with its address when it is ready.
fn announced(mut command: Command, prefix: &str) -> Result<(Child, SocketAddr)> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    let address = line
        .trim()
        .strip_prefix(prefix)
        .and_then(|address| address.parse().ok());
    let Some(address) = address else {
        end(&mut child);
        bail!("it said {line:?} instead of `{prefix}ADDRESS`");
    };
    Ok((child, address))
}

/// A server that is ready when it accepts connections.
fn listening(mut command: Command, address: SocketAddr) -> Result<(Child, SocketAddr)> {
    let mut child = command.stdin(Stdio::null()).spawn()?;
    let deadline = Instant::now() + START_WAIT;
    while TcpStream::connect(address).is_err() {
        if let Some(status) = child.try_wait()? {
            bail!("it ended with {status}");
        }
        if Instant::now() > deadline {
            end(&mut child);
            bail!("it accepts no connection at {address}");
        }
        std::thread::sleep(START_AGAIN);
    }
    Ok((child, address))
}

/// Nobody's a moment ago.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

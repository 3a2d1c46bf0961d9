//! Where and with what the figures were taken.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Today in UTC, `YYYY-MM-DD`.
pub(crate) fn date() -> String {
    output("date", &["-u", "+%F"])
}

/// A list, in Markdown, of the machine and of all versions.
pub(crate) fn describe(bench: &Path) -> String {
    let root = bench.to_string_lossy();
    let rows = [
        ("CPU", cpu_model()),
        ("cores", output("nproc", &["--all"])),
        ("kernel", output("uname", &["-sr"])),
        (
            "tidings",
            output("git", &["-C", &root, "describe", "--always", "--dirty"]),
        ),
        ("rustc", output("rustc", &["--version"])),
        ("socketioxide", locked(bench, "socketioxide")),
        ("axum", locked(bench, "axum")),
        ("tokio", locked(bench, "tokio")),
        ("socket.io", installed(bench, "socket.io")),
        ("uWebSockets.js (npm uwebsockets)", installed(bench, "uwebsockets")),
        ("ws", installed(bench, "ws")),
        ("ws (below socket.io)", installed(bench, "engine.io/node_modules/ws")),
        ("node", output("node", &["--version"])),
        ("nginx", nginx(bench)),
        ("nchan", nchan(bench)),
        ("redis", peer(bench, "redis-server")),
        ("nats", peer(bench, "nats-server")),
    ];
    rows.iter()
        .map(|(name, value)| format!("- {name}: {value}\n"))
        .collect()
}

fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown".into(), |(_, model)| model.trim().into())
}

/// A crate's version in our lock file.
fn locked(bench: &Path, name: &str) -> String {
    let text = fs::read_to_string(bench.join("Cargo.lock")).unwrap_or_default();
    let mut lines = text.lines();
    lines
        .by_ref()
        .find(|line| *line == format!("name = \"{name}\""))
        .and_then(|_| lines.next())
        .and_then(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
        .unwrap_or("unknown")
        .into()
}

/// The version of a package beside the npm servers.
fn installed(bench: &Path, name: &str) -> String {
    let path = bench.join(format!("servers/npm/node_modules/{name}/package.json"));
    fs::read(path)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok())
        .and_then(|package| package["version"].as_str().map(String::from))
        .unwrap_or_else(|| "unknown".into())
}

/// What a server that `run` has installed says of itself.
fn peer(bench: &Path, name: &str) -> String {
    let path = bench.join("target/peers").join(name);
    output(&path.to_string_lossy(), &["--version"])
}

fn nginx(bench: &Path) -> String {
    let program = bench.join("target/peers/nchan/usr/sbin/nginx");
    // It says so where errors go.
    let said = Command::new(program).arg("-v").output().map(|output| output.stderr);
    said.map_or("unknown".into(), |said| String::from_utf8_lossy(&said).trim().into())
}

/// The package's version, which `peers.sh` has noted.
fn nchan(bench: &Path) -> String {
    let version = fs::read_to_string(bench.join("target/peers/nchan/version"));
    version.map_or("unknown".into(), |version| version.trim().into())
}

fn output(program: &str, arguments: &[&str]) -> String {
    Command::new(program)
        .args(arguments)
        .output()
        .ok()
        .filter(|output| output.status.success())
        .map_or("unknown".into(), |output| {
            String::from_utf8_lossy(&output.stdout).trim().into()
        })
}

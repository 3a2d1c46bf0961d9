//! The log: to stderr, so that stdout stays what scripts read.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts it, one JSON object a line if asked for. `RUST_LOG` says how much of it; `info` without.
pub(crate) fn start(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    if json {
        log.json().flatten_event(true).init();
    } else {
        log.init();
    }
}

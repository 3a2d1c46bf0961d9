//! The log: to stderr, so that stdout stays what scripts read.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// What is logged unless `RUST_LOG` says otherwise: of the store's insides only what may be wrong.
const FILTER: &str = "info,fjall=warn,lsm_tree=warn";

/// Starts it, one JSON object a line if asked for.
pub(crate) fn start(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(FILTER));
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

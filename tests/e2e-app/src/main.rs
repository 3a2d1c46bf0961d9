//! The e2e app on the `tidings` crate: what the end-to-end tests talk to, beside the same app on npm's `socket.io`.
//!
//! Its contract is the comment at the top of `tests/e2e/lib/reference-app.mjs`; whoever changes one changes the other.

mod control;
mod events;
mod journal;
mod namespaces;
mod op;
mod payload;

use std::sync::Arc;
use std::time::Duration;

use tidings::{Builder, Io, Limits, RequestDecision, Tidings};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use journal::Journal;

fn text(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str, fallback: u64) -> u64 {
    text(name).and_then(|value| value.parse().ok()).unwrap_or(fallback)
}

fn milliseconds(name: &str, fallback: u64) -> Duration {
    Duration::from_millis(number(name, fallback))
}

fn builder(path: &str, journal: &Arc<Journal>) -> Builder {
    let mut limits = Limits::default();
    limits.message_bytes = usize::try_from(number("MAX_PAYLOAD", 1_000_000)).unwrap_or(usize::MAX);
    let mut builder = Tidings::builder()
        .path(path)
        .serve_client(text("SERVE_CLIENT").as_deref() != Some("0"))
        .allow_upgrades(text("ALLOW_UPGRADES").as_deref() != Some("0"))
        .ping_interval(milliseconds("PING_INTERVAL_MS", 25_000))
        .ping_timeout(milliseconds("PING_TIMEOUT_MS", 20_000))
        .upgrade_timeout(milliseconds("UPGRADE_TIMEOUT_MS", 10_000))
        .connect_timeout(milliseconds("CONNECT_TIMEOUT_MS", 45_000))
        .limits(limits)
        .state(Arc::clone(journal))
        .allow_request(|request| match request.query("refuse") {
            Some(message) => RequestDecision::Refuse(message),
            None => RequestDecision::Allow,
        });
    if text("COOKIE").as_deref() == Some("1") {
        builder = builder.cookie("io");
    }
    if let Some(origin) = text("ALLOWED_ORIGIN") {
        builder = builder.allowed_origin(origin);
    }
    builder
}

/// Ends the process with success when it is told to end.
fn end_on_sigterm() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        terminate.recv().await;
        std::process::exit(0);
    });
    Ok(())
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let path = text("SOCKET_PATH").unwrap_or_else(|| "/socket.io".to_owned());
    let journal = Arc::new(Journal::new(&path));
    let io: Io = builder(&path, &journal).build();
    namespaces::register(&io, &journal);
    end_on_sigterm()?;

    let closing = Arc::new(Notify::new());
    let app = control::router(&io, &journal, &closing).merge(io.router());
    let port = u16::try_from(number("PORT", 0)).unwrap_or(0);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("ready http://{}", listener.local_addr()?);

    tidings::serve(listener, app)
        .with_graceful_shutdown(async move {
            closing.notified().await;
            io.close().await; // first, so that polling clients can still fetch their end
        })
        .await?;
    println!("log {}", serde_json::Value::Array(journal.after(0)));
    Ok(())
}

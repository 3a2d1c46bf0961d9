//! Subscribers: each stays connected by its transport's own means, and writes down what it gets.

mod poll;
mod sse;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

pub(super) use websocket::open as open_websocket;

use super::record::Transport;
use super::recorder::Book;
use super::stock::Stock;

/// What a subscriber needs to know.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) book: Arc<Book>,
    /// `host:port`, of its own proxy where there is one.
    pub(super) address: String,
    pub(super) token: String,
    /// Let a Socket.IO client begin with polling and upgrade.
    pub(super) upgrade: bool,
}

/// A subscriber that runs until it is dropped.
pub(super) enum Subscriber {
    Task(JoinHandle<()>),
    Stock { stock: Arc<Stock>, name: String },
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        match self {
            Self::Task(task) => task.abort(),
            Self::Stock { stock, name } => stock.close(name),
        }
    }
}

impl Subscriber {
    /// Starts one. `None` when it wants a stock client and there is none.
    pub(super) fn start(seat: Seat, stock: Option<&Arc<Stock>>) -> Option<Self> {
        let task = match seat.book.transport() {
            Transport::WebSocket => tokio::spawn(websocket::read(seat)),
            Transport::Sse => tokio::spawn(sse::read(seat)),
            Transport::LongPoll => tokio::spawn(poll::read(seat, poll::LONG_WAIT_S)),
            Transport::ShortPoll => tokio::spawn(poll::read(seat, 0)),
            Transport::SocketIo | Transport::SocketIoPolling => {
                let stock = Arc::clone(stock?);
                let name = seat.book.name();
                stock.subscribe(&seat);
                return Some(Self::Stock { stock, name });
            }
            Transport::History => return None,
        };
        Some(Self::Task(task))
    }
}

/// Waits as clients do that don't want to come back all at once.
async fn pause(from_ms: u64, to_ms: u64) {
    let pause = Duration::from_millis(rand::random_range(from_ms..=to_ms));
    tokio::time::sleep(pause).await;
}

/// Refusals that pass: the client comes back later.
pub(super) fn passes(code: &str) -> bool {
    matches!(
        code,
        "draining" | "unavailable" | "too_many_connections" | "rate_limited" | "store_full"
    )
}

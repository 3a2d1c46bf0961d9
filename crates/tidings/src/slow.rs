//! What becomes of clients that can't keep up.

use std::sync::Arc;

/// Finds what becomes of a channel's slow clients.
pub(crate) type SlowOf = Arc<dyn Fn(&str) -> Slow + Send + Sync>;

/// What becomes of an event for which a client has no room: its outbox is full, since it reads more slowly than is published. See
/// [`Builder::slow`](crate::Builder::slow).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Slow {
    /// The client gets nothing new for now, and when it has taken what waits it goes on from the log: nothing is lost that is
    /// retained.
    #[default]
    Lag,
    /// The connection is closed: a plain WebSocket with 4413, the others in their transport's own way, after which they come back.
    Close,
    /// The client does not get the event. It is told of a gap in the channel before it gets the next one.
    Drop,
}

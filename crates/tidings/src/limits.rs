//! Every maximum there is, in one place.

use std::time::Duration;

/// What one client may cost. Zero means no limit where a field says so.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// A message, on any transport, in bytes: Engine.IO's `maxPayload`. A larger one is refused with 413
    /// or close 1009. Default 1,000,000.
    pub message_bytes: usize,
    /// Messages that a connection may send in a second. Default 0: no limit in the library.
    pub messages_per_second: u32,
    /// Messages that a connection may send at once before the rate counts. Default 200.
    pub messages_burst: u32,
    /// What waits to be written to a connection before it lags, in bytes. Default 1 MiB.
    pub outbox_bytes: usize,
    /// Binary attachments of a packet. Default 10.
    pub attachments: usize,
    /// Channels that one client may ask to be subscribed to, on `/ws`, `/sse` and `/poll`. Default 128; 0 is no limit.
    pub subscriptions: usize,
    /// Namespaces that one connection may enter. Default 1,000.
    pub namespaces: usize,
    /// Connections in all. Default 0: no limit.
    pub connections: usize,
    /// Connections from one IP address; an IPv6 network of 64 bits is one. Default 0: no limit.
    pub connections_per_ip: usize,
    /// What the memory tail keeps of one channel, in bytes. Default 16 MiB.
    pub tail_channel_bytes: usize,
    /// What the memory tail keeps in all, in bytes. Default 128 MiB.
    pub tail_bytes: usize,
    /// How long the memory tail keeps an event. Default 2 minutes.
    pub tail_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 1_000_000,
            messages_per_second: 0,
            messages_burst: 200,
            outbox_bytes: 1 << 20,
            attachments: 10,
            subscriptions: 128,
            namespaces: 1_000,
            connections: 0,
            connections_per_ip: 0,
            tail_channel_bytes: 16 << 20,
            tail_bytes: 128 << 20,
            tail_time: Duration::from_secs(120),
        }
    }
}

/// Refusals of clients that are kept to be looked at.
pub(crate) const REFUSALS_KEPT: usize = 100;

/// A client that is over its rate for so long is closed, in milliseconds.
pub(crate) const RATE_CLOSE_MS: u64 = 10_000;

/// A client of which nothing was refused for so long is within its rate again, in milliseconds.
pub(crate) const RATE_CALM_MS: u64 = 2_000;

/// A connection that accepts no byte for so long is closed, in milliseconds.
pub(crate) const STALL_CLOSE_MS: u64 = 30_000;

/// A client may take so long from one attachment of a packet to the next, in milliseconds.
pub(crate) const ATTACHMENT_MS: u64 = 30_000;

/// A connection that was told to close has so long to read that, in milliseconds.
pub(crate) const LINGER_MS: u64 = 3_000;

/// A polling client that was closed has so long to fetch that, in milliseconds.
pub(crate) const POLLING_LINGER_MS: u64 = 30_000;

/// What one socket's events may hold in memory while its handlers run, in bytes; above it the connection is not read.
pub(crate) const QUEUE_BYTES_MAX: usize = 1 << 20;

/// Bytes read from a connection in one turn, by a buffer that all connections of a shard share.
pub(crate) const READ_BUFFER_BYTES: usize = 64 << 10;

/// Chunks handed to the kernel in one vectored write.
pub(crate) const WRITE_CHUNKS_MAX: usize = 64;

/// Events, and commands, that a shard takes before it writes.
pub(crate) const TURN_EVENTS_MAX: usize = 256;

/// Events of one socket that are handled in a row before others have their turn.
pub(crate) const TURN_JOBS_MAX: usize = 64;

/// Answers on their way to an outbox, in bytes, with which a client gets no further answer.
pub(crate) const UNSENT_BYTES_MAX: usize = 64 << 10;

/// Publishes of a plain WebSocket that may be under way while its next message is handled.
pub(crate) const PUBLISHING_MAX: usize = 256;

/// Bytes of events that follow each other and are delivered as one chunk.
pub(crate) const RUN_BYTES_MAX: usize = 32 << 10;

/// Bytes of events that a shard takes before it writes.
pub(crate) const TURN_BYTES_MAX: usize = 256 << 10;

/// What a conflated channel keeps of its latest values, in bytes; an outbox holds as many.
pub(crate) const BOARD_BYTES_MAX: usize = 1 << 20;

/// What all conflated channels keep in memory, in bytes, and what may be held in throttled and debounced ones.
pub(crate) const PACED_BYTES_MAX: usize = 64 << 20;

/// A page with which a lagging connection catches up: this many events at the most.
pub(crate) const PAGE_EVENTS_MAX: usize = 1_000;

/// Threads that read from the store at once.
pub(crate) const READERS_MAX: usize = 4;

/// Events of a page of history, unless the client says how many.
pub(crate) const HISTORY_EVENTS: usize = 50;

/// Events of a page of history, or of a poll's answer, at the most.
pub(crate) const HISTORY_EVENTS_MAX: usize = 1_000;

/// Bytes of a page of history, or of a poll's answer, at the most; one event always fits.
pub(crate) const HISTORY_BYTES_MAX: usize = 1_000_000;

/// Unread events are counted up to here; and so many events are looked at for it, a user's own among them.
pub(crate) const COUNTED_MAX: usize = 1_000;
pub(crate) const LOOKED_AT_MAX: usize = 2_000;

/// How far users have read: so many marks are kept in all, and of one user. Those that were moved longest ago give way.
pub(crate) const MARKS_MAX: usize = 1_000_000;
pub(crate) const MARKS_OF_USER_MAX: usize = 1_000;

/// A client is warned so long before its credential ends, in milliseconds.
pub(crate) const EXPIRY_WARNING_MS: u64 = 60_000;

/// What a client may say to an event stream, which listens to nothing, in bytes: more, and it is cut. Requests that were
/// sent ahead fit.
pub(crate) const STREAM_INPUT_BYTES_MAX: usize = 64 << 10;

/// How often an event stream tells its cursor, in milliseconds.
pub(crate) const SSE_HEARTBEAT_MS: u64 = 15_000;

/// A client of an event stream comes back after so long, in milliseconds, and up to [`RETRY_JITTER_MS`] more.
pub(crate) const RETRY_MS: u64 = 1_000;
pub(crate) const RETRY_JITTER_MS: u64 = 2_000;

/// The longest publish key, in bytes.
pub(crate) const PUBLISH_KEY_BYTES_MAX: usize = 128;

/// Encodings that a shard keeps for others that catch up, in bytes.
pub(crate) const REPLAYED_BYTES_MAX: usize = 1 << 20;

/// What each of them costs beside its bytes, about.
pub(crate) const REPLAYED_ENTRY_BYTES: usize = 96;

/// Channels without retained events whose losses are remembered one by one; of the others only the latest is.
pub(crate) const EMPTY_CHANNELS_MAX: usize = 65_536;

/// Publish keys within five minutes.
pub(crate) const PUBLISH_KEYS_MAX: usize = 1 << 20;

/// What waits to be written to the store, in bytes; above it publishes are refused.
pub(crate) const LOG_QUEUE_BYTES_MAX: usize = 64 << 20;

/// What is written to the store at once, in bytes and in events.
pub(crate) const LOG_BATCH_BYTES_MAX: usize = 4 << 20;
pub(crate) const LOG_BATCH_EVENTS_MAX: usize = 4_096;

/// Events of one channel that one batch lets go of at the most, and channels whose oldest events are looked up ahead.
pub(crate) const TRIM_EVENTS_MAX: usize = 10_000;
pub(crate) const TRIM_WINDOWS_MAX: usize = 4_096;

/// Channels that are looked at for what is over its time, each second.
pub(crate) const TRIM_CHANNELS_MAX: usize = 1_000;

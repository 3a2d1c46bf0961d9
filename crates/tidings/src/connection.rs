//! One transport-level client, as its shard sees it.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use tidings_protocol::engineio::RECORD_SEPARATOR;
use tidings_protocol::websocket::Decoder;
use tokio::sync::oneshot;

use crate::channel::Channel;
use crate::handshake::Opening;
use crate::hub::Permit;
use crate::outbox::Outbox;
use crate::plain::Plain;
use crate::plain::pipe::Pipe;
use crate::random::RandomId;
use crate::shard::Due;
use crate::socketio::client::Client;
use crate::transport::engineio::polling::{PollReply, PostReply};
use crate::transport::link::Link;
use crate::wire::Wire;

/// Where a connection lives. A key outlives its connection without harm: the generation tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) shard: u16,
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            shard,
            index,
            generation,
        } = self;
        write!(f, "{shard}.{index}.{generation}")
    }
}

pub(crate) struct Connection {
    pub(crate) key: Key,
    /// The Engine.IO session id: who knows it may speak for this client. Of others, how their requests find them.
    pub(crate) sid: RandomId,
    pub(crate) transport: Transport,
    /// How what it gets is encoded.
    pub(crate) wire: Wire,
    /// A WebSocket that wants to take over from polling.
    pub(crate) probe: Option<Box<Probe>>,
    /// Of the task that reads the link; writes that would block register it too.
    pub(crate) waker: Option<Waker>,
    pub(crate) outbox: Outbox,
    pub(crate) pace: Pace,
    pub(crate) phase: Phase,
    /// Whether the shard has it among the connections to write to.
    pub(crate) due: Due,
    /// The kernel took no more; the waker knows.
    pub(crate) blocked: bool,
    /// Its reader stopped because of [`Connection::is_paused`] and has to be woken.
    pub(crate) reader_waits: bool,
    /// Handlers of its sockets are to go on once its outbox is drained.
    pub(crate) drivers_wait: bool,
    /// Some of its subscriptions are stale, or have lost something.
    pub(crate) is_lacking: bool,
    /// When the kernel last took bytes, or the outbox last was empty.
    pub(crate) progress_ms: u64,
    /// The last fan-out that considered this connection, so that an event for several channels arrives once.
    pub(crate) seen: u64,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) opened_ms: u64,
    /// What the client said when it came; gone once no CONNECT can need it.
    pub(crate) opening: Option<Arc<Opening>>,
    pub(crate) speaks: Speaks,
    pub(crate) _permit: Option<Permit>,
}

/// What the client speaks, with what belongs to that alone.
pub(crate) enum Speaks {
    SocketIo(Client),
    Plain(Plain),
}

pub(crate) enum Transport {
    WebSocket(Socket),
    Polling(Box<Polling>),
    /// The body of an HTTP answer that goes on.
    Stream(Arc<Pipe>),
    /// The same where it has the byte stream for itself. What the client says there has no meaning.
    BareStream {
        link: Link,
        /// As [`Socket::task`].
        task: u32,
        /// The bytes that the client has said.
        said: usize,
    },
    /// An HTTP request that waits for the next event.
    Waiter(Option<oneshot::Sender<Bytes>>),
}

/// A WebSocket over a byte stream.
pub(crate) struct Socket {
    pub(crate) link: Link,
    pub(crate) decoder: Decoder,
    /// Tells the task that reads this link from those of its predecessors.
    pub(crate) task: u32,
}

/// The HTTP side of a polling session: at most one GET and one POST are under way.
#[derive(Default)]
pub(crate) struct Polling {
    pub(crate) get: Option<(u64, oneshot::Sender<PollReply>)>,
    pub(crate) posting: bool,
    pub(crate) post: Option<Post>,
}

/// A POST whose packets are being taken in, as fast as the client takes the answers.
pub(crate) struct Post {
    /// The packets that are still to be taken, with separators between; none after the last. Always UTF-8.
    pub(crate) rest: Option<Bytes>,
    pub(crate) reply: oneshot::Sender<PostReply>,
}

impl Post {
    /// Takes the next packet.
    pub(crate) fn next_packet(&mut self) -> Option<Bytes> {
        let mut packet = self.rest.take()?;
        if let Some(end) = packet.iter().position(|byte| *byte == RECORD_SEPARATOR) {
            self.rest = Some(packet.slice(end + 1..));
            packet.truncate(end);
        }
        Some(packet)
    }
}

pub(crate) struct Probe {
    pub(crate) socket: Socket,
    pub(crate) since_ms: u64,
    /// `2probe` came and was answered.
    pub(crate) answered: bool,
}

#[derive(Debug)]
pub(crate) enum Pace {
    /// It gets events as they come.
    Live,
    /// Its outbox was full, or it came back. Once drained it reads on from the log.
    Lagging(Box<Lag>),
}

/// Where a connection is that is behind.
#[derive(Debug, Default)]
pub(crate) struct Lag {
    /// Nothing after this seq was pushed.
    pub(crate) from: u64,
    /// The page that is being read from the store for it.
    pub(crate) page: Option<u32>,
    /// The channels of which the client was told that it has a gap, and has got nothing since.
    pub(crate) gaps_told: Vec<Channel>,
    pub(crate) deferred: Deferred,
}

/// Packets that are no events of the log, each to go out after the event of its seq.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    packets: VecDeque<(u64, Bytes)>,
    bytes: usize,
}

impl Deferred {
    fn push(&mut self, after: u64, chunk: Bytes) {
        self.bytes += chunk.len();
        self.packets.push_back((after, chunk));
    }

    /// Takes the next, if it goes out after an event up to `seq`.
    pub(crate) fn pop_up_to(&mut self, seq: u64) -> Option<Bytes> {
        let (after, _) = self.packets.front()?;
        if *after > seq {
            return None;
        }
        let (_, chunk) = self.packets.pop_front()?;
        self.bytes -= chunk.len();
        Some(chunk)
    }

    /// Frames them anew, for another transport.
    pub(crate) fn reframe(&mut self, frame: impl Fn(&[u8]) -> Bytes) {
        self.bytes = 0;
        for (_, chunk) in &mut self.packets {
            *chunk = frame(chunk);
            self.bytes += chunk.len();
        }
    }

    /// The bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// Its sockets are gone; what is in the outbox, the farewell last, still goes out.
    Closing {
        since_ms: u64,
        shut: bool,
    },
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Heartbeat {
    pub(crate) received_ms: u64,
    pub(crate) ping_due_ms: u64,
    /// When the ping that waits for its pong was sent.
    pub(crate) pinged_ms: Option<NonZeroU64>,
}

/// One channel of one connection.
pub(crate) struct Subscription {
    /// Index of the channel in the shard.
    pub(crate) channel: u32,
    /// Where the channel's list of subscribers has this connection.
    pub(crate) slot: u32,
    /// Which of the connection's sockets it belongs to.
    pub(crate) member: u32,
    /// Events up to this seq are from before.
    pub(crate) joined_at: u64,
    /// The channel is conflated, and the client lacks its latest values.
    pub(crate) is_stale: bool,
    /// Events were dropped, of which the client has not been told.
    pub(crate) has_lost: bool,
}

impl Connection {
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether it writes to a byte stream of its own.
    pub(crate) fn has_link(&self) -> bool {
        matches!(self.transport, Transport::WebSocket(_) | Transport::BareStream { .. })
    }

    pub(crate) fn socket_mut(&mut self) -> Option<&mut Socket> {
        match &mut self.transport {
            Transport::WebSocket(socket) => Some(socket),
            _ => None,
        }
    }

    /// Whether other requests than its own can be about it: nobody is told the id of a plain WebSocket.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.wire != Wire::Json
    }

    /// Its Socket.IO side, if it has one.
    pub(crate) fn client(&self) -> Option<&Client> {
        match &self.speaks {
            Speaks::SocketIo(client) => Some(client),
            Speaks::Plain(_) => None,
        }
    }

    pub(crate) fn client_mut(&mut self) -> Option<&mut Client> {
        match &mut self.speaks {
            Speaks::SocketIo(client) => Some(client),
            Speaks::Plain(_) => None,
        }
    }

    /// What it is instead, if it does not speak Socket.IO.
    pub(crate) fn plain(&self) -> Option<&Plain> {
        match &self.speaks {
            Speaks::SocketIo(_) => None,
            Speaks::Plain(plain) => Some(plain),
        }
    }

    pub(crate) fn plain_mut(&mut self) -> Option<&mut Plain> {
        match &mut self.speaks {
            Speaks::SocketIo(_) => None,
            Speaks::Plain(plain) => Some(plain),
        }
    }

    pub(crate) fn polling_mut(&mut self) -> Option<&mut Polling> {
        match &mut self.transport {
            Transport::Polling(polling) => Some(polling),
            _ => None,
        }
    }

    /// Who asks and never listens is not read from, so that it can't grow; nor is one whose handlers are behind.
    pub(crate) fn is_paused(&self, outbox_bytes_max: usize) -> bool {
        if matches!(self.transport, Transport::BareStream { .. }) {
            return false; // nobody listens, but to its end
        }
        let is_behind = match &self.speaks {
            Speaks::SocketIo(client) => client.is_behind(),
            Speaks::Plain(plain) => plain.is_behind(),
        };
        self.is_full(outbox_bytes_max) || (self.is_open() && is_behind)
    }

    /// More waits to be written than should.
    pub(crate) fn is_full(&self, outbox_bytes_max: usize) -> bool {
        self.is_open() && (self.outbox.bytes() > outbox_bytes_max || !self.is_live())
    }

    /// What it has been given, or will have once its outbox is written, when the shard is at `position`.
    pub(crate) fn delivered(&self, position: u64) -> u64 {
        match &self.pace {
            Pace::Live => position,
            Pace::Lagging(lag) => lag.from,
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.pace, Pace::Live)
    }

    pub(crate) fn lag(&mut self) -> Option<&mut Lag> {
        match &mut self.pace {
            Pace::Live => None,
            Pace::Lagging(lag) => Some(lag),
        }
    }

    /// Nothing after `from` is pushed any more. What was deferred before waits on.
    pub(crate) fn fall_back(&mut self, from: u64) {
        let before = self.lag().map(std::mem::take).unwrap_or_default();
        self.pace = Pace::Lagging(Box::new(Lag {
            from,
            deferred: before.deferred,
            ..Lag::default()
        }));
    }

    /// Queues what is no event of the log, behind all that was delivered when the shard was at `position`.
    pub(crate) fn push_unlogged(&mut self, position: u64, chunk: Bytes) {
        match &mut self.pace {
            Pace::Live => self.outbox.push(chunk),
            Pace::Lagging(lag) => lag.deferred.push(position, chunk),
        }
    }

    /// It lacks the latest values of a channel, and gets them when it can take them.
    pub(crate) fn make_stale(&mut self, channel: u32) {
        let subscription = self.subscriptions.iter_mut().find(|one| one.channel == channel);
        if let Some(subscription) = subscription {
            subscription.is_stale = true;
            self.is_lacking = true;
        }
    }

    /// Wakes the reader if it waits and may read again.
    pub(crate) fn resume_reading(&mut self, outbox_bytes_max: usize) {
        if self.reader_waits && !self.is_paused(outbox_bytes_max) {
            self.reader_waits = false;
            self.wake();
        }
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deferred_is_counted_however_it_is_framed() {
        let mut deferred = Deferred::default();
        deferred.push(1, Bytes::from_static(b"one"));
        deferred.push(3, Bytes::from_static(b"three"));
        assert_eq!((deferred.bytes(), deferred.pop_up_to(0)), (8, None));
        deferred.reframe(|chunk| [b"--", chunk].concat().into());
        assert_eq!(deferred.bytes(), 12);
        assert_eq!(deferred.pop_up_to(2).as_deref(), Some(&b"--one"[..]));
        assert_eq!((deferred.bytes(), deferred.pop_up_to(2)), (7, None));
        assert_eq!(deferred.pop_up_to(u64::MAX).as_deref(), Some(&b"--three"[..]));
        assert_eq!((deferred.bytes(), deferred.pop_up_to(u64::MAX)), (0, None));
    }

    /// There are many of it. The allocators' next classes are 448 and 512 bytes.
    #[test]
    fn a_connection_is_small() {
        assert!(size_of::<Connection>() <= 448, "{} bytes", size_of::<Connection>());
    }
}

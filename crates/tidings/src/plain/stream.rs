//! Server-sent events (WHATWG HTML, section 9.2): a connection whose link is the body of an HTTP answer.

use std::sync::Arc;

use bytes::Bytes;
use tidings_protocol::sse;

use super::pipe::Pipe;
use super::{Granted, Plain};
use crate::access::Visitor;
use crate::connection::{Speaks, Transport};
use crate::hub::Permit;
use crate::id::EventId;
use crate::limits::{RETRY_JITTER_MS, RETRY_MS, SSE_HEARTBEAT_MS};
use crate::log::Since;
use crate::outbox::Outbox;
use crate::random::RandomId;
use crate::shard::Shard;
use crate::transport::link;
use crate::wire::Wire;

/// A stream that is about to begin.
pub(crate) struct NewStream {
    pub(crate) pipe: Arc<Pipe>,
    pub(crate) visitor: Option<Visitor>,
    pub(crate) channels: Vec<Granted>,
    pub(crate) since: Option<Since>,
    pub(crate) wire: Wire,
    pub(crate) permit: Option<Permit>,
}

/// The byte stream of an event stream that began as the body of an HTTP answer, with that answer's head.
pub(crate) struct TakenStream {
    pipe: Arc<Pipe>,
    bare: Option<(link::NewStream, Bytes)>,
}

impl TakenStream {
    pub(crate) fn new(pipe: Arc<Pipe>, link: link::NewStream, head: Bytes) -> Self {
        pipe.take_over();
        Self {
            pipe,
            bare: Some((link, head)),
        }
    }
}

impl Drop for TakenStream {
    /// It has ended before its shard could have it: the client gets the answer all the same, and what it was told.
    fn drop(&mut self) {
        if let Some((link, head)) = self.bare.take() {
            let bytes: Vec<Bytes> = std::iter::once(head).chain(self.pipe.take_rest()).collect();
            link.end_with(&bytes.concat());
        }
    }
}

impl Shard {
    pub(crate) fn open_stream(&mut self, sid: RandomId, new: NewStream) {
        let NewStream {
            pipe,
            visitor,
            channels,
            since,
            wire,
            permit,
        } = new;
        let due_ms = self.now_ms + SSE_HEARTBEAT_MS;
        let plain = Speaks::Plain(Plain::new(None, None, due_ms));
        let index = self.add(sid, Transport::Stream(pipe), wire, plain, None, permit);
        if let Some(connection) = self.at(index) {
            connection.outbox.push(retry());
        }
        if let Some(visitor) = visitor {
            self.set_visitor(index, visitor);
        }
        // At once, so that a client that is cut before its first event has a cursor too. Of one whose id says nothing the gap
        // is the first that moves it: cut before that, it comes back with the same id.
        let start = match since {
            Some(Since::Known(seq)) => Some(seq.min(self.position)),
            Some(Since::Unknown) => None,
            None => Some(self.position),
        };
        let cursor = start.map(|start| self.server.hub.id(start));
        if let (Some(connection), Some(cursor)) = (self.at(index), cursor) {
            connection.outbox.push(cursor_line(cursor));
        }
        self.plain_subscribe(index, &channels, false, since);
        self.mark_dirty(index);
    }

    /// From now on the shard writes itself: first the answer's head, then what the body has not taken.
    pub(crate) fn take_stream(&mut self, sid: RandomId, mut taken: TakenStream) {
        let task = self.next_task();
        let Some(connection) = self.session(sid) else { return };
        let Some((link, head)) = taken.bare.take() else { return };
        let Ok(link) = link.into_link() else {
            return self.gone(sid);
        };
        let mut outbox = Outbox::default();
        outbox.push(head);
        taken.pipe.take_rest().for_each(|chunk| outbox.push(chunk));
        outbox.append(&mut connection.outbox);
        connection.outbox = outbox;
        connection.transport = Transport::BareStream { link, task, said: 0 };
        connection.blocked = false;
        let index = connection.key.index;
        self.start_reading(index, task);
        self.mark_dirty(index);
    }

    /// The body has taken all that was given to it.
    pub(crate) fn writable(&mut self, sid: RandomId) {
        if let Some(connection) = self.session(sid) {
            let index = connection.key.index;
            self.flush(index);
        }
    }

    /// The client has gone away, or gave up its request.
    pub(crate) fn gone(&mut self, sid: RandomId) {
        use crate::shard::Farewell;
        use crate::socketio::reason::Reason;
        if let Some(connection) = self.session(sid) {
            let index = connection.key.index;
            self.end(index, Reason::TransportClose, Farewell::None);
        }
    }

    pub(super) fn visit_stream(&mut self, index: u32) {
        let now_ms = self.now_ms;
        let cursor = self.cursor(index);
        let Some(connection) = self.at(index) else { return };
        let is_idle = !connection.blocked;
        let Some(plain) = connection.plain_mut() else { return };
        if now_ms >= plain.heartbeat_due_ms {
            plain.heartbeat_due_ms = now_ms + SSE_HEARTBEAT_MS;
            // Who takes nothing needs no more.
            if is_idle {
                connection.outbox.push(cursor_line(cursor));
                self.mark_dirty(index);
            }
        }
    }

    /// Its credential ends in a minute: the client opens anew.
    pub(super) fn warn_stream(&mut self, index: u32) {
        let mut out = Vec::new();
        sse::write_event(&mut out, None, Some("expiring"), "{}");
        if let Some(connection) = self.at(index) {
            connection.outbox.push(out.into());
            self.mark_dirty(index);
        }
    }

    /// The stream is over: the client comes back after a while.
    pub(crate) fn end_stream(&mut self, index: u32) {
        if let Some(connection) = self.at(index) {
            connection.outbox.push(retry());
            self.mark_dirty(index);
        }
    }
}

/// When to come back after the stream has ended: each client another time, so that they don't come all at once.
pub(crate) fn retry() -> Bytes {
    let mut random = [0; 2];
    crate::random::fill(&mut random);
    let jitter = u64::from(u16::from_le_bytes(random)) % RETRY_JITTER_MS;
    let mut out = Vec::new();
    sse::write_retry(&mut out, RETRY_MS + jitter);
    out.into()
}

fn cursor_line(cursor: EventId) -> Bytes {
    let mut out = Vec::new();
    sse::write_cursor(&mut out, &cursor.to_string());
    out.into()
}

/// The event `gap`, whose id is where the replay starts.
pub(crate) fn gap(channels: &[&str], next: EventId) -> Bytes {
    let next = next.to_string();
    let data = serde_json::json!({ "channels": channels, "next": next }).to_string();
    let mut out = Vec::new();
    sse::write_event(&mut out, Some(&next), Some("gap"), &data);
    out.into()
}

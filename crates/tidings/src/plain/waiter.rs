//! A poll that waits: a connection that ends with its first event, or with its time.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Granted, Plain};
use crate::access::Visitor;
use crate::channel::Channel;
use crate::connection::{Speaks, Transport};
use crate::hub::Permit;
use crate::log::{Cursor, Page, PageLimit};
use crate::random::RandomId;
use crate::server::Server;
use crate::shard::{Farewell, Shard};
use crate::socketio::reason::Reason;
use crate::wire::{self, Wire};

/// A poll that is about to wait.
pub(crate) struct NewWaiter {
    pub(crate) visitor: Visitor,
    pub(crate) channels: Vec<Granted>,
    pub(crate) after: u64,
    pub(crate) limit: PageLimit,
    pub(crate) permit: Permit,
    /// For the answer's body. Dropped, the log is asked what came.
    pub(crate) reply: oneshot::Sender<Bytes>,
}

impl Shard {
    /// What came since the log was read is answered at once; else the next event is.
    pub(crate) fn open_waiter(&mut self, sid: RandomId, new: NewWaiter) {
        let cursors = cursors(&new.channels, new.after);
        let page = self.server.hub.log.read_tail(&cursors, self.position, new.limit);
        match page {
            Some(page) if page.events.is_empty() && page.gaps.is_empty() => {}
            Some(page) => return drop(new.reply.send(answer(&self.server, &cursors, &page))),
            None => return,
        }
        let transport = Transport::Waiter(Some(new.reply));
        let plain = Speaks::Plain(Plain::new(None, None, u64::MAX));
        let index = self.add(sid, transport, Wire::Poll, plain, None, Some(new.permit));
        self.set_visitor(index, new.visitor);
        self.plain_subscribe(index, &new.channels, false, None);
    }

    /// Its time is over.
    pub(crate) fn stop_waiting(&mut self, sid: RandomId) {
        if let Some(connection) = self.session(sid) {
            let index = connection.key.index;
            self.end(index, Reason::TransportClose, Farewell::Goodbye);
        }
    }

    /// Answers with the event that has come, else with nothing but the cursor.
    pub(crate) fn answer_waiter(&mut self, index: u32) {
        let next = self.server.hub.id(self.position).to_string();
        let mut empty = Vec::new();
        wire::poll_answer(&mut empty, &[], &next, &[]);
        if let Some(connection) = self.at(index)
            && let Transport::Waiter(reply) = &mut connection.transport
            && let Some(reply) = reply.take()
        {
            let event = connection.outbox.pop();
            let _ = reply.send(event.unwrap_or_else(|| empty.into()));
        }
        self.remove(index);
    }
}

pub(super) fn cursors(channels: &[Granted], after: u64) -> Vec<Cursor> {
    let channels = channels.iter().filter_map(|(name, _)| Channel::room("/", name).ok());
    channels.map(|channel| Cursor { channel, after }).collect()
}

/// The body of the answer that a page makes.
pub(super) fn answer(server: &Server, cursors: &[Cursor], page: &Page) -> Bytes {
    let hub = &server.hub;
    let encode = |(cursor, event): &(usize, std::sync::Arc<crate::event::Event>)| {
        wire::poll_event(event, Page::channel(cursors, *cursor, event), hub.epoch)
    };
    let events: Vec<Vec<u8>> = page.events.iter().map(encode).collect();
    let events: Vec<&[u8]> = events.iter().map(Vec::as_slice).collect();
    let gaps: Vec<&str> = page.gaps.iter().map(|gap| cursors[*gap].channel.shown()).collect();
    let mut body = Vec::new();
    wire::poll_answer(&mut body, &events, &hub.id(page.next).to_string(), &gaps);
    body.into()
}

//! Flush: from the outboxes to the kernel, one write for each connection that has something to be written;
//! and catching up, for those that fell behind.

use std::io::IoSlice;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::dirty::Due;
use super::{Farewell, Shard};
use crate::channel::Channel;
use crate::connection::{Connection, Key, Pace, Phase, Socket, Speaks, Transport};
use crate::error::Result;
use crate::limits::{PAGE_EVENTS_MAX, WRITE_CHUNKS_MAX};
use crate::log::{Cursor, Log, Page, PageLimit};
use crate::meters::Meters;
use crate::plain::pipe::Piped;
use crate::shard::command::Command;
use crate::socketio::reason::Reason;
use crate::transport::engineio::polling::PollReply;
use crate::wire;

/// What a write left.
enum Written {
    All,
    /// The kernel takes no more; or no poll waits.
    Blocked,
    Failed,
    /// A poll has its event: that is all it waited for.
    Answered,
}

impl Shard {
    /// Flushes all that is dirty.
    pub(super) fn flush_dirty(&mut self) {
        while !self.flush_slice() {}
    }

    /// Flushes what is a client's own, as answers and pings, and then so much of what was fanned out that the next answers
    /// don't wait long. False while there is more of that.
    pub(super) fn flush_slice(&mut self) -> bool {
        let mut first = std::mem::take(&mut self.dirty.first);
        for index in first.drain(..) {
            self.flush_if(index, Due::First);
        }
        // What becomes dirty meanwhile waits for the next slice.
        std::mem::swap(&mut first, &mut self.dirty.first);
        self.dirty.first.append(&mut first);
        for position in self.dirty.next_slice() {
            self.flush_if(self.dirty.at(position), Due::InTurn);
        }
        self.dirty.finish()
    }

    fn flush_if(&mut self, index: u32, due: Due) {
        if let Some(connection) = self.connections.get_mut(index)
            && connection.due == due
        {
            connection.due = Due::No;
            self.flush(index);
        }
    }

    /// Writes what the connection's outbox holds and, if that drains it, what it missed while it was full.
    pub(crate) fn flush(&mut self, index: u32) {
        loop {
            let now_ms = self.now_ms;
            let Some(connection) = self.connections.get_mut(index) else {
                return;
            };
            match write(connection, now_ms, &self.meters) {
                Written::All => {
                    connection.blocked = false;
                    connection.progress_ms = now_ms;
                    if connection.is_live() {
                        self.drained(index);
                        return;
                    }
                    if !self.catch_up(index) {
                        return;
                    }
                }
                Written::Blocked => {
                    if !connection.blocked {
                        connection.blocked = true;
                        connection.progress_ms = now_ms;
                    }
                    return;
                }
                Written::Failed => return self.end(index, Reason::TransportError, Farewell::None),
                Written::Answered => return self.end(index, Reason::TransportClose, Farewell::None),
            }
        }
    }

    /// All is written: a connection that ends is shut, one that was paused is read from again.
    fn drained(&mut self, index: u32) {
        let outbox_bytes_max = self.server.hub.limits.outbox_bytes;
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        match &mut connection.phase {
            Phase::Closing { shut, .. } if !*shut => {
                if matches!(connection.transport, Transport::Stream(_)) {
                    return self.remove(index);
                }
                // A polling client has yet to ask for the end: `poll` tells it, or the sweep gives it up.
                if let Transport::WebSocket(Socket { link, .. }) | Transport::BareStream { link, .. } =
                    &mut connection.transport
                {
                    *shut = true;
                    let waker = connection.waker.clone().unwrap_or_else(|| Waker::noop().clone());
                    // An error or a delay here changes nothing: the sweep removes what lingers.
                    let _ = link.poll_shutdown(&mut Context::from_waker(&waker));
                    connection.wake();
                }
            }
            Phase::Closing { .. } => {}
            Phase::Open => {
                connection.resume_reading(outbox_bytes_max);
                let is_lacking = connection.is_lacking;
                // Looked at here, where it is at hand: most are none.
                let is_polling = matches!(connection.transport, Transport::Polling(_));
                if std::mem::take(&mut connection.drivers_wait) {
                    match &connection.speaks {
                        Speaks::SocketIo(client) => self.ready.extend(client.drivers().map(|driver| (driver, None))),
                        Speaks::Plain(_) => self.asking.push_back(connection.key),
                    }
                }
                if is_polling {
                    self.go_on_with_post(index);
                }
                if is_lacking {
                    self.tell_losses(index);
                    self.ask_for_latest(index);
                }
            }
        }
    }

    /// Reads a page of what a lagging connection has not yet got; false when that has to wait for the disk.
    fn catch_up(&mut self, index: u32) -> bool {
        let until = self.position;
        let server = Arc::clone(&self.server);
        let connection = &self.connections[index];
        let Pace::Lagging(lag) = &connection.pace else {
            return true;
        };
        let from = lag.from;
        if matches!(connection.transport, Transport::Waiter(_)) {
            // The log is asked instead.
            self.end(index, Reason::TransportClose, Farewell::None);
            return false;
        }
        if lag.page.is_some() {
            return false;
        }
        let cursors: Vec<Cursor> = connection
            .subscriptions
            .iter()
            .map(|subscription| Cursor {
                channel: self.channels.name(subscription.channel).clone(),
                after: from.max(subscription.joined_at),
            })
            .collect();
        let limit = PageLimit {
            events: PAGE_EVENTS_MAX,
            bytes: server.hub.limits.outbox_bytes,
        };
        match server.hub.log.read_tail(&cursors, until, limit) {
            Some(page) => {
                self.take_page(index, &cursors, &page);
                true
            }
            None => {
                self.ask_for_page(index, cursors, until, limit);
                false
            }
        }
    }

    /// Has a page read from the store, on a thread that may wait for the disk. It comes back as a command.
    fn ask_for_page(&mut self, index: u32, cursors: Vec<Cursor>, until: u64, limit: PageLimit) {
        let server = Arc::clone(&self.server);
        let ticket = self.next_task();
        let connection = &mut self.connections[index];
        let key = connection.key;
        if let Some(lag) = connection.lag() {
            lag.page = Some(ticket);
        }
        let Some(runtime) = self.server.application_runtime() else {
            return;
        };
        runtime.spawn(async move {
            let read = move |log: &dyn Log| log.read(&cursors, until, limit).map(|page| (cursors, page));
            let outcome = server.hub.read(read).await;
            let page = Command::Page { key, ticket, outcome };
            server.hub.send(key.shard, page);
        });
    }

    /// A page has come from the store. One that was asked for before the subscriptions changed is of no use.
    pub(super) fn page_came(&mut self, key: Key, ticket: u32, outcome: Result<(Vec<Cursor>, Page)>) {
        let Some(lag) = self.get(key).and_then(Connection::lag) else {
            return;
        };
        if lag.page != Some(ticket) {
            return;
        }
        lag.page = None;
        match outcome {
            Ok((cursors, page)) => {
                self.take_page(key.index, &cursors, &page);
                self.mark_dirty(key.index);
            }
            Err(error) => {
                tracing::error!(%error, "a client can't catch up: the log can't be read");
                self.close_transport(key.index, 1012);
            }
        }
    }

    /// Gives a lagging connection a page of what it missed.
    fn take_page(&mut self, index: u32, cursors: &[Cursor], page: &Page) {
        let server = Arc::clone(&self.server);
        let Some(lag) = self.connections[index].lag() else {
            return;
        };
        let gaps = page.gaps.iter().map(|gap| &cursors[*gap].channel);
        let untold: Vec<&Channel> = gaps.filter(|channel| !lag.gaps_told.contains(channel)).collect();
        if !untold.is_empty() {
            lag.gaps_told.extend(untold.iter().copied().cloned());
            let from = lag.from;
            self.tell_gap(index, &untold, from);
        }
        self.meters.delivered.add(page.events.len() as u64);
        for (cursor, event) in &page.events {
            self.release_deferred(index, event.seq - 1);
            if event.draft.except.iter().any(|name| self.is_subscribed(index, name)) {
                continue;
            }
            let connection = &mut self.connections[index];
            let (wire, channel) = (connection.wire, Page::channel(cursors, *cursor, event));
            let envelope = server.config.envelope;
            let chunk = self.replayed.get(event.seq, wire, channel, || {
                wire::event(wire, event, channel, envelope, server.hub.epoch, None)
            });
            connection.outbox.push(chunk);
            // What is lost after this one is another gap.
            if let Some(lag) = connection.lag() {
                lag.gaps_told.retain(|channel| !event.draft.channels.contains(channel));
            }
        }
        if page.next >= self.position {
            self.release_deferred(index, u64::MAX);
            self.connections[index].pace = Pace::Live;
        } else if let Some(lag) = self.connections[index].lag() {
            lag.from = page.next;
        }
    }

    fn release_deferred(&mut self, index: u32, seq: u64) {
        let connection = &mut self.connections[index];
        let Pace::Lagging(lag) = &mut connection.pace else {
            return;
        };
        while let Some(chunk) = lag.deferred.pop_up_to(seq) {
            connection.outbox.push(chunk);
        }
    }
}

fn write(connection: &mut Connection, now_ms: u64, meters: &Meters) -> Written {
    let Connection {
        transport,
        waker,
        outbox,
        progress_ms,
        ..
    } = connection;
    match transport {
        Transport::Polling(polling) => {
            if outbox.is_empty() {
                return Written::All;
            }
            let Some((_, reply)) = polling.get.take() else {
                return Written::Blocked;
            };
            let mut payload = Vec::with_capacity(outbox.bytes() + 16);
            while let Some(chunk) = outbox.pop() {
                if !payload.is_empty() {
                    payload.push(tidings_protocol::engineio::RECORD_SEPARATOR);
                }
                payload.extend_from_slice(&chunk);
            }
            // A client that is gone by now is told by its aborted request.
            let _ = reply.send(PollReply::Payload(payload.into()));
            Written::All
        }
        Transport::Stream(pipe) => match pipe.fill(outbox) {
            Piped::All => Written::All,
            Piped::Full { has_moved } => {
                if has_moved {
                    *progress_ms = now_ms;
                }
                Written::Blocked
            }
            Piped::Gone => Written::Failed,
        },
        Transport::Waiter(reply) => match outbox.pop() {
            None => Written::All,
            Some(body) => {
                if let Some(reply) = reply.take() {
                    let _ = reply.send(body);
                }
                // What else came meanwhile is for the next poll.
                Written::Answered
            }
        },
        Transport::WebSocket(Socket { link, .. }) | Transport::BareStream { link, .. } => {
            let mut cx = Context::from_waker(waker.as_ref().unwrap_or(Waker::noop()));
            while !outbox.is_empty() {
                let written = match outbox.only() {
                    Some(bytes) => link.poll_write(&mut cx, bytes),
                    None => {
                        let mut slices = [IoSlice::new(&[]); WRITE_CHUNKS_MAX];
                        let count = outbox.fill_slices(&mut slices);
                        link.poll_write_vectored(&mut cx, &slices[..count])
                    }
                };
                match written {
                    Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Written::Failed,
                    Poll::Ready(Ok(bytes)) => {
                        meters.writes.add(1);
                        meters.written_bytes.add(bytes as u64);
                        outbox.consume(bytes);
                        *progress_ms = now_ms;
                    }
                    Poll::Pending => return Written::Blocked,
                }
            }
            match link.poll_flush(&mut cx) {
                Poll::Ready(Err(_)) => Written::Failed,
                Poll::Ready(Ok(())) | Poll::Pending => Written::All,
            }
        }
    }
}

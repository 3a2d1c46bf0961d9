//! Fan-out: from the log's tail to the outboxes of all subscribers. No system call is made here.

use std::sync::Arc;

use bytes::Bytes;

use super::Shard;
use super::dirty::Due;
use crate::channel::Channel;
use crate::connection::{Connection, Transport};
use crate::event::Event;
use crate::limits::{RUN_BYTES_MAX, TURN_BYTES_MAX, TURN_EVENTS_MAX};
use crate::shard::command::{BroadcastKind, Selection};
use crate::slow::Slow;
use crate::wire::{self, Encodings, Wire};

impl Shard {
    /// Fans out all events up to `position`.
    pub(crate) fn advance(&mut self, position: u64) {
        while self.position < position {
            let mut events = std::mem::take(&mut self.events);
            let wanted = usize::try_from(position - self.position).unwrap_or(usize::MAX);
            let tail = self
                .server
                .hub
                .log
                .tail(self.position, wanted.min(TURN_EVENTS_MAX), &mut events);
            if self.first_event_ms.is_none() {
                self.first_event_ms = events.first().map(|event| event.time_ms);
            }
            if tail.missed {
                self.fall_behind();
            }
            let run_bytes_max = RUN_BYTES_MAX.min(self.server.hub.limits.outbox_bytes);
            let mut bytes = 0;
            let mut rest = &events[..];
            while let Some((run, after)) = next_run(rest, run_bytes_max) {
                rest = after;
                self.fan_out(run);
                // Written in slices, so that a burst finds the outboxes empty and no event waits long.
                bytes += run.iter().map(|event| event.bytes()).sum::<usize>();
                if bytes > TURN_BYTES_MAX
                    && let Some(last) = run.last()
                {
                    bytes = 0;
                    self.position = last.seq;
                    self.flush_dirty();
                }
            }
            events.clear();
            self.events = events;
            self.position = tail.position;
            if self.position < position {
                self.flush_dirty();
            }
        }
    }

    /// This shard itself was too slow for the log's tail: each connection reads on from the log, which knows
    /// which channels have a gap.
    fn fall_behind(&mut self) {
        let from = self.position;
        for index in 0..self.connections.end() {
            if let Some(connection) = self.connections.get_mut(index)
                && connection.is_open()
                && connection.is_live()
                && !connection.subscriptions.is_empty()
            {
                connection.fall_back(from);
                self.note_dirty(index);
            }
        }
    }

    /// Fans out events that follow each other and go to the same channels: as one chunk, which costs each connection what one
    /// event does.
    fn fan_out(&mut self, run: Run<'_>) {
        let Some(first) = run.first() else { return };
        let server = Arc::clone(&self.server);
        let envelope = server.config.envelope;
        let limit = server.hub.limits.outbox_bytes;
        let mut encodings = Encodings::default();
        let mut encoded_for: Option<u32> = None;
        let mut reached = std::mem::take(&mut self.reached_buffer);
        self.reach(&first.draft.channels, &first.draft.except, &mut reached);
        let (mut delivered, mut lagged, mut dropped) = (0, 0, 0);
        let mut too_slow = Vec::new();
        for (index, channel) in reached.drain(..) {
            let Some(connection) = self.connections.get_mut(index) else {
                continue;
            };
            if !connection.is_live() {
                continue;
            }
            if encoded_for != Some(channel) {
                encodings = Encodings::default();
                encoded_for = Some(channel);
            }
            let name = self.channels.name(channel);
            let wire = connection.wire;
            let chunk = encodings.get(wire, || wire::run(wire, run, name, envelope, server.hub.epoch));
            if has_room(connection, chunk, limit) {
                if connection.is_lacking {
                    self.tell_losses(index);
                }
                self.connections[index].outbox.push(chunk.clone());
                delivered += run.len();
            } else {
                match self.channels.slow(channel) {
                    Slow::Lag => {
                        connection.fall_back(first.seq - 1);
                        lagged += 1;
                    }
                    Slow::Drop => {
                        connection.lose(channel);
                        dropped += run.len();
                    }
                    Slow::Close => too_slow.push(index),
                }
            }
            self.note_dirty(index);
        }
        self.meters.delivered.add(delivered as u64);
        self.meters.lagged.add(lagged);
        self.meters.slow_dropped.add(dropped as u64);
        self.reached_buffer = reached;
        too_slow.into_iter().for_each(|index| self.close_slow(index));
    }

    /// Delivers an event that is not logged.
    pub(crate) fn broadcast(&mut self, event: &Arc<Event>, kind: &BroadcastKind) {
        let server = Arc::clone(&self.server);
        let envelope = server.config.envelope.unlogged(self.position);
        let outbox_bytes_max = server.hub.limits.outbox_bytes;
        let ack = match kind {
            BroadcastKind::Plain | BroadcastKind::Volatile | BroadcastKind::Latest => None,
            BroadcastKind::WithAck { ack, .. } => Some(*ack),
        };
        let mut encodings = Encodings::default();
        let mut encoded_for: Option<u32> = None;
        let mut reached = std::mem::take(&mut self.reached_buffer);
        self.reach(&event.draft.channels, &event.draft.except, &mut reached);
        let (mut expected, mut delivered) = (0, 0);
        let mut too_slow = Vec::new();
        for (index, channel) in reached.drain(..) {
            let position = self.position;
            let Some(connection) = self.connections.get_mut(index) else {
                continue;
            };
            match kind {
                BroadcastKind::Volatile if !takes_volatile(connection) => {
                    self.meters.volatile_dropped.add(1);
                    continue;
                }
                BroadcastKind::Latest if !takes_volatile(connection) => {
                    connection.make_stale(channel);
                    continue;
                }
                _ => {}
            }
            if !connection.has_room_for_unlogged(outbox_bytes_max) {
                too_slow.push(index);
                continue;
            }
            // Only Socket.IO clients can acknowledge, and a poll's answer is a cursor, which this event moves none.
            let is_plain = connection.plain().is_some();
            if (is_plain && ack.is_some()) || connection.wire == Wire::Poll {
                continue;
            }
            if encoded_for != Some(channel) {
                encodings = Encodings::default();
                encoded_for = Some(channel);
            }
            let name = self.channels.name(channel);
            let wire = connection.wire;
            let chunk = encodings
                .get(wire, || wire::event(wire, event, name, envelope, server.hub.epoch, ack))
                .clone();
            if chunk.is_empty() {
                // Not for this kind of client.
                continue;
            }
            if let BroadcastKind::WithAck { ack, sink } = kind
                && let Some(client) = connection.client_mut()
            {
                client.expect_ack(*ack, sink.clone(), name.namespace(), &server.hub.gauges);
                expected += 1;
            }
            connection.push_unlogged(position, chunk);
            delivered += 1;
            self.note_dirty(index);
        }
        self.meters.delivered.add(delivered);
        self.reached_buffer = reached;
        too_slow.into_iter().for_each(|index| self.close_slow(index));
        if let BroadcastKind::WithAck { sink, .. } = kind {
            sink.expect(expected);
        }
    }

    /// The connections that a selection reaches, each with the first channel by which it does.
    pub(crate) fn select(&mut self, selection: &Selection) -> Vec<(u32, u32)> {
        let mut reached = Vec::new();
        self.reach(&selection.channels, &selection.except, &mut reached);
        reached
    }

    fn reach(&mut self, channels: &[Channel], except: &[Channel], reached: &mut Vec<(u32, u32)>) {
        // With one channel and no exception each subscriber is reached once as it is.
        let plain = channels.len() == 1 && except.is_empty();
        self.fanouts += 1;
        let mark = self.fanouts;
        for name in except {
            let Some(channel) = self.channels.find(name.as_str()) else {
                continue;
            };
            for subscriber in self.channels.subscribers(channel) {
                self.connections[subscriber.connection].seen = mark;
            }
        }
        for name in channels {
            let Some(channel) = self.channels.find(name.as_str()) else {
                continue;
            };
            for subscriber in self.channels.subscribers(channel) {
                if !plain {
                    let connection = &mut self.connections[subscriber.connection];
                    if connection.seen == mark {
                        continue;
                    }
                    connection.seen = mark;
                }
                reached.push((subscriber.connection, channel));
            }
        }
    }

    /// Notes that a connection has an event to write, within a turn, which ends with the flush.
    fn note_dirty(&mut self, index: u32) {
        let connection = &mut self.connections[index];
        if connection.due == Due::No {
            connection.due = Due::InTurn;
            self.dirty.push(index);
        }
    }
}

/// Events that follow each other in the log.
type Run<'a> = &'a [Arc<Event>];

/// The events at the beginning that go to the same channels without exception, and the others.
fn next_run(events: Run<'_>, bytes_max: usize) -> Option<(Run<'_>, Run<'_>)> {
    let first = events.first()?;
    let mut bytes = first.bytes();
    let mut more = 0;
    if first.draft.except.is_empty() {
        let same = |event: &Arc<Event>| event.draft.channels == first.draft.channels && event.draft.except.is_empty();
        let fits = |event: &&Arc<Event>| {
            bytes += event.bytes();
            bytes <= bytes_max && same(event)
        };
        more = events[1..].iter().take_while(fits).count();
    }
    Some(events.split_at(1 + more))
}

/// Whether the outbox takes this too. An empty one takes anything.
fn has_room(connection: &Connection, chunk: &Bytes, outbox_bytes_max: usize) -> bool {
    connection.outbox.is_empty() || connection.outbox.bytes() + chunk.len() <= outbox_bytes_max
}

/// Volatile events are for who can take them now.
pub(super) fn takes_volatile(connection: &Connection) -> bool {
    let writable = match &connection.transport {
        Transport::WebSocket(_) | Transport::Stream(_) | Transport::BareStream { .. } => !connection.blocked,
        Transport::Polling(polling) => polling.get.is_some(),
        Transport::Waiter(_) => false,
    };
    writable && connection.is_live() && connection.is_open()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::conformance::{channel, draft};

    #[test]
    fn a_run_is_of_the_same_channels_without_exceptions_and_not_too_long() {
        let event = |channels: &[&str], text: &str| {
            let draft = draft(channels, text);
            Event {
                seq: 0,
                time_ms: 0,
                draft,
            }
        };
        let mut events = vec![
            event(&["a"], "1"),
            event(&["a"], "2"),
            event(&["b"], "3"),
            event(&["a", "b"], "4"),
            event(&["a", "b"], "5"),
            event(&["a"], "6"),
            event(&["a"], "7"),
            event(&["a"], &"8".repeat(3_000)),
            event(&["a"], &"9".repeat(9_000)),
            event(&["a"], "10"),
        ];
        events[5].draft.except.push(channel("c"));
        let events: Vec<Arc<Event>> = events.into_iter().map(Arc::new).collect();
        let mut lengths = Vec::new();
        let mut rest = &events[..];
        while let Some((run, after)) = next_run(rest, 8_000) {
            lengths.push(run.len());
            rest = after;
        }
        assert_eq!(lengths, [2, 1, 2, 1, 2, 1, 1]);
    }
}

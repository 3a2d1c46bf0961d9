//! The latest values of conflated channels, for connections that lack them: new subscribers, and those who could not take one when
//! it came.

use std::sync::Arc;

use super::Shard;
use super::fanout::takes_volatile;
use crate::channel::Channel;
use crate::connection::{Connection, Key, Transport};
use crate::event::Event;
use crate::wire::{self, Envelope, Wire};

impl Shard {
    /// Asks for the latest values of a channel that the connection lacks, if it can take them: of one after another, so that a
    /// full outbox is the most that comes at once.
    pub(super) fn ask_for_latest(&mut self, index: u32) {
        let Some(pacer) = &self.server.pacer else { return };
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        if !takes_latest(connection) {
            return;
        }
        // Not always the first: its values may come faster than the client takes them.
        let count = connection.subscriptions.len().max(1);
        let first = usize::try_from(self.fanouts).unwrap_or_default() % count;
        let (head, tail) = connection.subscriptions.split_at_mut(first);
        let stale = tail.iter_mut().chain(head).find(|one| one.is_stale);
        let Some(subscription) = stale else {
            connection.is_lacking = false;
            return;
        };
        subscription.is_stale = false;
        let channel = self.channels.name(subscription.channel).clone();
        pacer.send_latest(&self.server.hub, connection.key, channel);
    }

    /// The latest values of a channel have come for a connection.
    pub(super) fn latest_came(&mut self, key: Key, name: &Channel, events: &[Arc<Event>], version: u64) {
        let server = Arc::clone(&self.server);
        let (epoch, limit) = (server.hub.epoch, server.hub.limits.outbox_bytes);
        let envelope = server.config.envelope.unlogged(self.position);
        // Then the next channel is asked for, if there is one.
        self.mark_dirty(key.index);
        let Some(channel) = self.channels.find(name.as_str()) else {
            return;
        };
        if !self.is_subscribed(key.index, name) {
            return;
        }
        let has_exceptions = events.iter().any(|event| !event.draft.except.is_empty());
        let for_it: Vec<Arc<Event>> = match has_exceptions {
            true => events
                .iter()
                .filter(|event| !self.is_excepted(key.index, event))
                .cloned()
                .collect(),
            false => Vec::new(),
        };
        let events = if has_exceptions { &for_it } else { events };
        let position = self.position;
        let Some(connection) = self.connections.get_mut(key.index) else {
            return;
        };
        if connection.key != key || events.is_empty() {
            return;
        }
        if !takes_latest(connection) || connection.outbox.bytes() > limit {
            return connection.make_stale(channel);
        }
        let wire = connection.wire;
        let encode = || wire::run(wire, events, name, envelope, epoch);
        let chunk = match envelope {
            // Others get the same.
            Envelope::None | Envelope::Metadata if !has_exceptions => self.latest.get(version, wire, name, encode),
            _ => encode(),
        };
        connection.push_unlogged(position, chunk);
        self.meters.delivered.add(events.len() as u64);
    }

    fn is_excepted(&self, index: u32, event: &Event) -> bool {
        event.draft.except.iter().any(|name| self.is_subscribed(index, name))
    }
}

/// Whether it can take the latest values now. They wait for the next GET of a client that polls, which else would never have one at
/// the right time.
fn takes_latest(connection: &Connection) -> bool {
    if connection.wire == Wire::Poll {
        return false;
    }
    let is_polling = matches!(connection.transport, Transport::Polling(_));
    takes_volatile(connection) || (is_polling && connection.is_live() && connection.is_open())
}

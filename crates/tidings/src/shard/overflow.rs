//! What becomes of an event for which a connection has no room: its channel says so.

use super::Shard;
use crate::channel::Channel;
use crate::connection::Connection;

impl Shard {
    /// The connection is closed since it can't keep up. What waits for it is let go, but for the chunk that may be half written.
    pub(super) fn close_slow(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        if !connection.is_open() {
            return;
        }
        tracing::debug!(connection = %connection.key, "a client that can't keep up is closed");
        connection.outbox.keep_first();
        self.meters.slow_closed.add(1);
        self.close_transport(index, 4413);
    }

    /// Tells a connection in which channels it has lost events up to here, if it has.
    pub(super) fn tell_losses(&mut self, index: u32) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let lost = connection.subscriptions.iter_mut().filter(|one| one.has_lost);
        let lost: Vec<Channel> = lost
            .map(|subscription| {
                subscription.has_lost = false;
                self.channels.name(subscription.channel).clone()
            })
            .collect();
        connection.is_lacking = connection.subscriptions.iter().any(|one| one.is_stale);
        if !lost.is_empty() {
            let position = self.position;
            self.tell_gap(index, &lost.iter().collect::<Vec<_>>(), position);
        }
    }
}

impl Connection {
    /// An event of this channel is dropped, of which the client has yet to be told.
    pub(super) fn lose(&mut self, channel: u32) {
        let subscription = self.subscriptions.iter_mut().find(|one| one.channel == channel);
        if let Some(subscription) = subscription {
            subscription.has_lost = true;
            self.is_lacking = true;
        }
    }

    /// Whether what is no event of the log can still wait here. It can't be made up for later, as those can.
    pub(super) fn has_room_for_unlogged(&mut self, outbox_bytes_max: usize) -> bool {
        let waiting = self.outbox.bytes() + self.lag().map_or(0, |lag| lag.deferred.bytes());
        waiting <= outbox_bytes_max.saturating_mul(2)
    }
}

//! Replay: a client that comes back is set back to where it was, and catches up as a slow one does.

use std::sync::Arc;

use super::Shard;
use crate::channel::Channel;
use crate::connection::{Connection, Key};
use crate::log::Since;
use crate::plain::{session, stream};
use crate::socketio::recovery::Room;
use crate::socketio::socket::SocketInner;
use crate::wire::{self, Wire};

impl Shard {
    /// Sets the connection back to `since` in these channels, to which it is subscribed, and leaves the others where they
    /// are. Until it has caught up it gets pages of the log, in one order over all channels: a connection has one cursor.
    pub(crate) fn replay(&mut self, index: u32, channels: &[Channel], since: Since) {
        let from = match since {
            Since::Known(seq) => seq.min(self.position),
            Since::Unknown => 0,
        };
        let starts: Vec<Room> = channels
            .iter()
            .map(|channel| Room::new(channel.clone(), from))
            .collect();
        self.set_back(index, &starts, from);
        if since == Since::Unknown {
            if let Some(lag) = self.at(index).and_then(Connection::lag) {
                lag.gaps_told.extend_from_slice(channels);
            }
            self.tell_gap(index, &channels.iter().collect::<Vec<_>>(), 0);
        }
    }

    /// As [`Shard::replay`], with a start for each channel, none before `from`.
    pub(crate) fn set_back(&mut self, index: u32, starts: &[Room], from: u64) {
        let position = self.position;
        let starts: Vec<(u32, u64)> = starts
            .iter()
            .filter_map(|room| Some((self.channels.find(room.channel.as_str())?, room.joined_at)))
            .collect();
        let Some(connection) = self.at(index) else { return };
        let delivered = connection.delivered(position);
        for subscription in &mut connection.subscriptions {
            let start = starts.iter().find(|(channel, _)| *channel == subscription.channel);
            subscription.joined_at = match start {
                Some((_, joined_at)) => *joined_at,
                None => subscription.joined_at.max(delivered),
            };
        }
        // What is being read is for other cursors.
        connection.fall_back(from.min(delivered));
        self.meters.replays.add(1);
        self.mark_dirty(index);
    }

    /// A socket enters rooms and gets what came after `since` there.
    pub(crate) fn join_since(&mut self, socket: &Arc<SocketInner>, channels: &[Channel], since: Since) {
        let Some(member) = self.member_id(socket) else { return };
        let Key { index, .. } = socket.key;
        for channel in channels {
            self.subscribe(index, member, channel);
        }
        self.replay(index, channels, since);
    }

    /// Tells a client which of its channels lost events that it should have had, and where the replay goes on: `gap` with
    /// `{channels, next}`.
    pub(crate) fn tell_gap(&mut self, index: u32, channels: &[&Channel], from: u64) {
        let names: Vec<&str> = channels.iter().map(|channel| channel.shown()).collect();
        let next = self.server.hub.id(from);
        self.meters.gaps.add(1);
        let Some(connection) = self.at(index) else { return };
        tracing::debug!(connection = %connection.key, channels = ?names, %next, "a client has a gap");
        match connection.wire {
            Wire::Json => connection
                .outbox
                .push(session::text(&tidings_protocol::plain::gap(&names, &next.to_string()))),
            Wire::SocketIo | Wire::Polling => {
                let arguments = serde_json::json!({ "channels": names, "next": next }).to_string();
                let namespaces = channels.iter().map(|channel| channel.namespace());
                let found = connection.client().map(|client| client.namespaces_of(namespaces));
                for namespace in found.unwrap_or_default() {
                    let mut packet = Vec::new();
                    tidings_protocol::socketio::write_event(&mut packet, &namespace, None, 0, "gap", &arguments, &[]);
                    connection.outbox.push(wire::frame(connection.wire, &packet, &[]));
                }
            }
            _ => connection.outbox.push(stream::gap(&names, next)),
        }
    }
}

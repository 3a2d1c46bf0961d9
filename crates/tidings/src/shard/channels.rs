//! Who is subscribed to what, on one shard.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::Shard;
use super::arena::Arena;
use super::places::{Keyed, Places};
use crate::channel::Channel;
use crate::connection::Subscription;
use crate::hub::Gauges;
use crate::server::Server;
use crate::slow::Slow;
use crate::tight;

pub(crate) struct Channels {
    by_name: Places,
    entries: Arena<Entry>,
    gauges: Arc<Gauges>,
}

struct Entry {
    name: Channel,
    /// Neither a namespace nor a socket's own.
    is_room: bool,
    /// Who subscribes gets its latest values.
    is_conflated: bool,
    slow: Slow,
    subscribers: SmallVec<[Subscriber; 1]>,
}

impl Keyed for Entry {
    type Key = str;

    fn key(&self) -> &str {
        self.name.as_str()
    }
}

/// A connection, and where in its list of subscriptions this one is.
#[derive(Clone, Copy)]
pub(crate) struct Subscriber {
    pub(crate) connection: u32,
    pub(crate) subscription: u32,
}

impl Channels {
    pub(super) fn new(gauges: Arc<Gauges>) -> Self {
        Self {
            by_name: Places::default(),
            entries: Arena::new(),
            gauges,
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.by_name.find(name, &self.entries)
    }

    /// The one copy of a channel's name that all its subscribers share.
    pub(crate) fn shared_name(&self, name: &str) -> Option<&Channel> {
        self.find(name).map(|channel| self.name(channel))
    }

    pub(crate) fn name(&self, channel: u32) -> &Channel {
        &self.entries[channel].name
    }

    /// All channels, each with how many subscribers it has.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Channel, usize)> {
        self.entries.iter().map(|entry| (&entry.name, entry.subscribers.len()))
    }

    /// What becomes of an event of the channel for which a subscriber has no room.
    pub(crate) fn slow(&self, channel: u32) -> Slow {
        self.entries[channel].slow
    }

    pub(crate) fn subscribers(&self, channel: u32) -> &[Subscriber] {
        &self.entries[channel].subscribers
    }

    fn get_or_insert(&mut self, name: &Channel, server: &Server) -> u32 {
        if let Some(channel) = self.find(name.as_str()) {
            return channel;
        }
        let is_room = name.room_name().is_some_and(|room| !server.socket_ids.is_one(room));
        if is_room {
            self.gauges.rooms.occupy(name);
        }
        let channel = self.entries.insert_with(|_| Entry {
            name: name.clone(),
            is_room,
            is_conflated: is_conflated(name, server),
            slow: server.slow(name),
            subscribers: SmallVec::new(),
        });
        self.by_name.insert(channel, &self.entries);
        channel
    }
}

fn is_conflated(name: &Channel, server: &Server) -> bool {
    server.pacer.as_ref().is_some_and(|pacer| pacer.is_conflated(name))
}

impl Shard {
    /// Asks again what the application says of each channel that has subscribers.
    pub(super) fn reconsider_channels(&mut self) {
        for entry in self.channels.entries.iter_mut() {
            entry.is_conflated = is_conflated(&entry.name, &self.server);
            entry.slow = self.server.slow(&entry.name);
        }
    }

    /// Subscribes a connection, for one of its sockets, to what comes after `self.position`.
    pub(crate) fn subscribe(&mut self, index: u32, member: u32, name: &Channel) {
        let joined_at = self.position;
        if self.is_subscribed(index, name) {
            return;
        }
        let channel = self.channels.get_or_insert(name, &self.server);
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let entry = &mut self.channels.entries[channel];
        let (subscribers, is_stale) = (&mut entry.subscribers, entry.is_conflated);
        let slot = u32::try_from(subscribers.len()).unwrap_or(u32::MAX);
        let subscription = u32::try_from(connection.subscriptions.len()).unwrap_or(u32::MAX);
        subscribers.push(Subscriber {
            connection: index,
            subscription,
        });
        let subscription = Subscription {
            channel,
            slot,
            member,
            joined_at,
            is_stale,
            has_lost: false,
        };
        tight::push(&mut connection.subscriptions, subscription);
        connection.is_lacking |= is_stale;
        let waited_for_page = connection.lag().is_some_and(|lag| lag.page.take().is_some());
        self.channels.gauges.subscriptions.fetch_add(1, Ordering::Relaxed);
        if waited_for_page || is_stale {
            // A page was for other channels: it is asked for again.
            self.mark_dirty(index);
        }
    }

    pub(crate) fn is_subscribed(&self, index: u32, name: &Channel) -> bool {
        let Some(channel) = self.channels.find(name.as_str()) else {
            return false;
        };
        let subscribers = self.channels.subscribers(channel);
        let Some(connection) = self.connections.get(index) else {
            return false;
        };
        // Look through the shorter of the two lists.
        if subscribers.len() < connection.subscriptions.len() {
            subscribers.iter().any(|subscriber| subscriber.connection == index)
        } else {
            connection
                .subscriptions
                .iter()
                .any(|subscription| subscription.channel == channel)
        }
    }

    pub(crate) fn unsubscribe(&mut self, index: u32, name: &Channel) {
        let Some(channel) = self.channels.find(name.as_str()) else {
            return;
        };
        let Some(connection) = self.connections.get(index) else {
            return;
        };
        if let Some(at) = connection
            .subscriptions
            .iter()
            .position(|subscription| subscription.channel == channel)
        {
            self.unsubscribe_at(index, at);
        }
    }

    /// Ends all subscriptions of one of a connection's sockets.
    pub(crate) fn unsubscribe_member(&mut self, index: u32, member: u32) {
        let mut at = 0;
        while let Some(subscription) = self
            .connections
            .get(index)
            .and_then(|connection| connection.subscriptions.get(at))
        {
            if subscription.member == member {
                self.unsubscribe_at(index, at);
            } else {
                at += 1;
            }
        }
    }

    pub(super) fn unsubscribe_all(&mut self, index: u32) {
        while let Some(last) = self
            .connections
            .get(index)
            .and_then(|connection| connection.subscriptions.len().checked_sub(1))
        {
            self.unsubscribe_at(index, last);
        }
    }

    /// Both lists close their holes with their last element, whose partner in the other list is told.
    fn unsubscribe_at(&mut self, index: u32, at: usize) {
        let connection = &mut self.connections[index];
        let waited_for_page = connection.lag().is_some_and(|lag| lag.page.take().is_some());
        let gone = connection.subscriptions.swap_remove(at);
        if let Some(moved) = connection.subscriptions.get(at) {
            self.channels.entries[moved.channel].subscribers[moved.slot as usize].subscription =
                u32::try_from(at).unwrap_or(u32::MAX);
        }
        let entry = &mut self.channels.entries[gone.channel];
        entry.subscribers.swap_remove(gone.slot as usize);
        if let Some(moved) = entry.subscribers.get(gone.slot as usize).copied() {
            self.connections[moved.connection].subscriptions[moved.subscription as usize].slot = gone.slot;
        }
        if entry.subscribers.is_empty()
            && let Some(entry) = self.channels.entries.remove(gone.channel)
        {
            self.channels.by_name.remove::<Entry>(entry.key(), gone.channel);
            if entry.is_room {
                self.channels.gauges.rooms.vacate(&entry.name);
            }
        }
        self.channels.gauges.subscriptions.fetch_sub(1, Ordering::Relaxed);
        if waited_for_page {
            self.mark_dirty(index);
        }
    }
}

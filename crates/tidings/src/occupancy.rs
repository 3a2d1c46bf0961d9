//! Which channels have subscribers, and how many.

use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::channel::Channel;
use crate::limits::HISTORY_EVENTS_MAX;
use crate::shard::Shard;
use crate::shard::command::Command;
use crate::socketio::io::Io;

/// How many rooms somebody is in, whichever shards deliver to them.
#[derive(Debug)]
pub(crate) struct Rooms {
    count: AtomicUsize,
    /// On how many shards each is. Empty where there is one shard.
    shards: Mutex<HashMap<Channel, u16>>,
    is_one_shard: bool,
}

impl Rooms {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            count: AtomicUsize::new(0),
            shards: Mutex::default(),
            is_one_shard: shards == 1,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// A shard has its first subscriber of a room.
    pub(crate) fn occupy(&self, room: &Channel) {
        if !self.is_one_shard {
            let mut shards = self.shards.lock();
            let shards = shards.entry(room.clone()).or_default();
            *shards += 1;
            if *shards > 1 {
                return;
            }
        }
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    /// A shard has no subscriber of a room any more.
    pub(crate) fn vacate(&self, room: &Channel) {
        if !self.is_one_shard {
            let mut all = self.shards.lock();
            let Some(shards) = all.get_mut(room) else { return };
            *shards -= 1;
            if *shards > 0 {
                return;
            }
            all.remove(room);
        }
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What is asked of each shard.
#[derive(Debug)]
pub(crate) struct Request {
    namespace: Arc<str>,
    prefix: Box<str>,
    after: Option<Box<str>>,
    limit: usize,
}

/// Part of the channels that have subscribers, in the order of their names.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ChannelsPage {
    /// The channels.
    pub channels: Vec<Occupied>,
    /// There are more behind these.
    pub more: bool,
}

/// A channel that has subscribers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Occupied {
    /// The room's name.
    pub channel: Arc<str>,
    /// How many connections are subscribed.
    pub subscribers: usize,
}

impl Io {
    /// The rooms of this namespace that somebody is in, in the order of their names, after `after`, at most `limit` (1 to
    /// 1,000) of them. Sockets' own rooms are left out. It looks at the names of all rooms: for people and for sampling, not for
    /// each request.
    pub async fn channels(&self, after: Option<&str>, limit: usize) -> ChannelsPage {
        self.channels_with_prefix("", after, limit).await
    }

    /// As [`Io::channels`], of those rooms alone whose names begin with `prefix`. A room whose whole name that is comes first.
    pub async fn channels_with_prefix(&self, prefix: &str, after: Option<&str>, limit: usize) -> ChannelsPage {
        let limit = limit.clamp(1, HISTORY_EVENTS_MAX);
        let (sender, mut replies) = mpsc::unbounded_channel();
        for namespace in self.everyone().namespaces() {
            let request = Arc::new(Request {
                namespace: Arc::clone(&namespace.path),
                prefix: Box::from(prefix),
                after: after.map(Box::from),
                // One more than is asked for tells whether there are more.
                limit: limit + 1,
            });
            self.server.hub.send_all(|| Command::Occupied {
                request: Arc::clone(&request),
                reply: sender.clone(),
            });
        }
        drop(sender);
        let mut counts: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        while let Some(part) = replies.recv().await {
            for Occupied { channel, subscribers } in part {
                *counts.entry(channel).or_default() += subscribers;
            }
        }
        let more = counts.len() > limit;
        let channels = counts.into_iter().take(limit);
        ChannelsPage {
            channels: channels
                .map(|(channel, subscribers)| Occupied { channel, subscribers })
                .collect(),
            more,
        }
    }
}

impl Shard {
    /// The first of this shard's rooms. Of several shards' lists, each this long, the first ones together are complete.
    pub(crate) fn occupied(&self, request: &Request) -> Vec<Occupied> {
        request.first(self.channels.iter(), |name| self.server.socket_ids.is_one(name))
    }
}

impl Request {
    fn first<'a>(
        &self,
        channels: impl Iterator<Item = (&'a Channel, usize)>,
        is_socket_id: impl Fn(&str) -> bool,
    ) -> Vec<Occupied> {
        // The last of those found so far is on top.
        let mut first: BinaryHeap<(&str, usize)> = BinaryHeap::new();
        for (channel, subscribers) in channels.filter(|(channel, _)| channel.namespace() == &*self.namespace) {
            let Some(name) = channel.room_name() else { continue };
            let is_late = first.len() >= self.limit && first.peek().is_some_and(|(last, _)| *last < name);
            let is_before = self.after.as_deref().is_some_and(|after| name <= after);
            if is_late || is_before || !name.starts_with(&*self.prefix) || is_socket_id(name) {
                continue;
            }
            first.push((name, subscribers));
            if first.len() > self.limit {
                first.pop();
            }
        }
        let occupied = first.into_sorted_vec().into_iter().map(|(name, subscribers)| Occupied {
            channel: Arc::from(name),
            subscribers,
        });
        occupied.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Occupied, Request};
    use crate::Tidings;
    use crate::channel::Channel;

    /// What a shard with these channels, each with so many subscribers, answers.
    fn first(channels: &[(&str, usize)], after: Option<&str>, limit: usize) -> Vec<(String, usize)> {
        first_with_prefix(channels, "", after, limit)
    }

    fn first_with_prefix(
        channels: &[(&str, usize)],
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<(String, usize)> {
        let io = Tidings::builder().shards(1).build();
        let request = Request {
            namespace: Arc::from("/"),
            prefix: Box::from(prefix),
            after: after.map(Box::from),
            limit,
        };
        let list = channels.iter().map(|(name, subscribers)| {
            let channel = match name.strip_prefix('/') {
                Some(_) => Channel::everyone(&Arc::from(*name)),
                None => Channel::room("/", name).unwrap(),
            };
            (channel, *subscribers)
        });
        let list: Vec<_> = list.collect();
        let borrowed = list.iter().map(|(channel, subscribers)| (channel, *subscribers));
        let occupied = request.first(borrowed, |name| io.is_socket_id(name));
        let pair = |Occupied { channel, subscribers }| (channel.to_string(), subscribers);
        occupied.into_iter().map(pair).collect()
    }

    #[test]
    fn a_room_is_counted_once_however_many_threads_deliver_to_it() {
        for shards in [1, 2] {
            let rooms = super::Rooms::new(shards);
            let room = |name| Channel::room("/", name).unwrap();
            rooms.occupy(&room("a"));
            rooms.occupy(&room("b"));
            if shards == 2 {
                rooms.occupy(&room("a"));
                rooms.vacate(&room("a"));
            }
            assert_eq!(rooms.count(), 2);
            rooms.vacate(&room("a"));
            rooms.vacate(&room("b"));
            assert_eq!((rooms.count(), rooms.shards.lock().len()), (0, 0));
        }
    }

    #[test]
    fn the_first_rooms_are_listed_in_the_order_of_their_names() {
        let channels = [("c", 3), ("a", 1), ("/", 9), ("/n", 9), ("b", 2), ("d", 4)];
        let list = |list: &[(&str, usize)]| -> Vec<(String, usize)> {
            list.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        assert_eq!(first(&channels, None, 2), list(&[("a", 1), ("b", 2)]));
        assert_eq!(first(&channels, Some("b"), 9), list(&[("c", 3), ("d", 4)]));
        assert_eq!(first(&channels, Some("d"), 9), []);
        assert_eq!(first(&[], None, 9), []);
    }

    #[test]
    fn rooms_with_a_prefix_are_listed_alone_the_one_of_that_name_first() {
        let channels = [("room:1", 3), ("room:10", 1), ("roo", 9), ("rooms", 2), ("room:2", 4)];
        let names = |prefix, after, limit| -> Vec<String> {
            let found = first_with_prefix(&channels, prefix, after, limit);
            found.into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names("room:", None, 2), ["room:1", "room:10"]);
        assert_eq!(names("room:", Some("room:10"), 9), ["room:2"]);
        assert_eq!(names("room:1", None, 1), ["room:1"]);
        assert_eq!(names("x", None, 9), [""; 0]);
    }
}

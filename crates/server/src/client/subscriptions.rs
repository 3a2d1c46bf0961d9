//! What one client is subscribed to.

use std::collections::HashSet;

/// A longer list grows as a [`Vec`] does, which begins with room for four.
const FEW: usize = 4;

/// The channels of one client.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    /// In the order of their names. Most clients have one or two: a table for each would take four times as much.
    channels: Vec<Subscription>,
    /// How many of them the client asked for.
    asked: usize,
}

#[derive(Debug)]
struct Subscription {
    channel: Box<str>,
    /// Whether the client counts as present in the channel.
    present: bool,
    /// Whether the client asked for it; its own channel comes by itself.
    asked: bool,
}

impl Subscriptions {
    /// Adds one that the server put the client into, which does not count; false when it is there already.
    pub(super) fn add_own(&mut self, channel: &str, present: bool) -> bool {
        self.insert(channel, present, false)
    }

    fn insert(&mut self, channel: &str, present: bool, asked: bool) -> bool {
        let Err(at) = self.find(channel) else { return false };
        if self.channels.len() < FEW {
            self.channels.reserve_exact(1);
        }
        let channel = channel.into();
        self.channels.insert(
            at,
            Subscription {
                channel,
                present,
                asked,
            },
        );
        self.asked += usize::from(asked);
        true
    }

    /// Where a channel is, or where it would be.
    fn find(&self, channel: &str) -> Result<usize, usize> {
        self.channels
            .binary_search_by(|subscription| (*subscription.channel).cmp(channel))
    }

    /// Whether it is subscribed to a channel.
    pub(crate) fn has(&self, channel: &str) -> bool {
        self.find(channel).is_ok()
    }

    /// Whether all these fit in beside those that are there. `max` 0 is no limit.
    pub(crate) fn have_room_for(&self, channels: &[String], max: usize) -> bool {
        let new: HashSet<&str> = channels
            .iter()
            .map(String::as_str)
            .filter(|channel| !self.has(channel))
            .collect();
        max == 0 || self.asked + new.len() <= max
    }

    /// Adds one that the client asked for; false when it is there already.
    pub(crate) fn add(&mut self, channel: &str, present: bool) -> bool {
        self.insert(channel, present, true)
    }

    /// Removes one; answers whether the client was present in it, nothing when it was not subscribed.
    pub(crate) fn remove(&mut self, channel: &str) -> Option<bool> {
        let at = self.find(channel).ok()?;
        let Subscription { present, asked, .. } = self.channels.remove(at);
        self.asked -= usize::from(asked);
        Some(present)
    }

    /// Their names.
    pub(crate) fn channels(&self) -> Vec<Box<str>> {
        let names = self.channels.iter().map(|subscription| subscription.channel.clone());
        names.collect()
    }

    /// Those in which the client is present.
    pub(super) fn present(&self) -> Vec<Box<str>> {
        let present = self.channels.iter().filter(|subscription| subscription.present);
        present.map(|subscription| subscription.channel.clone()).collect()
    }

    /// Forgets all; answers those in which the client was present.
    pub(super) fn take_present(&mut self) -> Vec<Box<str>> {
        self.asked = 0;
        let channels = std::mem::take(&mut self.channels);
        let present = channels.into_iter().filter(|subscription| subscription.present);
        present.map(|subscription| subscription.channel).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_what_was_asked_for_counts_and_only_once() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.add_own("user:ann", false);
        assert!(subscriptions.have_room_for(&list(&["a", "b", "a", "user:ann"]), 2));
        assert!(!subscriptions.have_room_for(&list(&["a", "b", "c"]), 2));
        assert!(subscriptions.add("a", false) && subscriptions.add("b", false));
        assert!(!subscriptions.add("a", false));
        assert!(!subscriptions.add("user:ann", false));
        assert!(subscriptions.have_room_for(&list(&["a", "b"]), 2));
        assert!(!subscriptions.have_room_for(&list(&["c"]), 2));
        assert!(subscriptions.have_room_for(&list(&["c"]), 0));
        assert_eq!(
            (subscriptions.remove("a"), subscriptions.remove("a")),
            (Some(false), None)
        );
        assert!(subscriptions.have_room_for(&list(&["c"]), 2));
    }

    #[test]
    fn leaving_the_own_channel_makes_no_room() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.add_own("user:ann", false);
        subscriptions.add("a", false);
        assert_eq!(subscriptions.remove("user:ann"), Some(false));
        assert!(!subscriptions.have_room_for(&list(&["b"]), 1));
    }

    #[test]
    fn at_the_end_it_knows_where_the_client_was_present() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.add("a", true);
        subscriptions.add("b", false);
        assert_eq!(subscriptions.take_present(), [Box::from("a")]);
        assert!(subscriptions.take_present().is_empty());
    }
}

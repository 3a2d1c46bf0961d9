//! Presence: which users are in a channel, however many connections each has.
//!
//! It is not logged: a client takes a snapshot and then follows `tidings:join` and `tidings:leave`. Who lost the connection is
//! there for a short grace more, so that a page that is loaded again, or a poll that comes back, makes no noise.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::error::Result;
use crate::socketio::io::Io;

/// Who is in the channels of a server. From [`Io::presence`].
#[derive(Debug)]
pub struct Presence<'a> {
    io: &'a Io,
}

#[derive(Debug)]
pub(crate) struct Present {
    grace: Duration,
    who: Mutex<Who>,
}

#[derive(Debug, Default)]
struct Who {
    channels: HashMap<String, BTreeMap<Arc<str>, User>>,
    /// Who has lost the last connection, in the order of the times at which they are gone.
    leaving: VecDeque<Leaving>,
}

#[derive(Debug)]
struct User {
    /// None: it is there for its grace only.
    connections: usize,
    info: Option<Arc<RawValue>>,
    /// When it is gone, if it does not come back.
    gone_at: Option<Instant>,
}

#[derive(Debug)]
struct Leaving {
    at: Instant,
    channel: String,
    user: Arc<str>,
}

impl Present {
    pub(crate) fn new(grace: Duration) -> Self {
        Self {
            grace,
            who: Mutex::default(),
        }
    }
}

/// A user in a channel.
#[derive(Debug, Clone, Serialize)]
pub struct PresentUser {
    /// The user's id.
    pub user: Arc<str>,
    /// What others may know of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<Arc<RawValue>>,
}

/// Part of the users in a channel, in the order of their ids.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct PresencePage {
    /// The users.
    pub users: Vec<PresentUser>,
    /// How many there are in all.
    pub count: usize,
}

impl Io {
    /// Who is in the rooms of this namespace.
    pub fn presence(&self) -> Presence<'_> {
        Presence { io: self }
    }
}

impl Presence<'_> {
    fn present(&self) -> &Present {
        &self.io.server.present
    }

    /// One more connection of a user is in a channel. With the first, all subscribers get `tidings:join` with
    /// `{channel, user, info}`. What others may know of the user is what the last one says.
    ///
    /// # Errors
    /// `invalid_channel` when the name can't be a channel's.
    pub fn enter(&self, channel: &str, user: &str, info: Option<Arc<RawValue>>) -> Result<()> {
        crate::channel::check(channel)?;
        let mut who = self.present().who.lock();
        let users = who.channels.entry_ref(channel).or_default();
        if let Some(present) = users.get_mut(user) {
            present.connections += 1;
            present.gone_at = None;
            present.info = info;
            return Ok(());
        }
        users.insert(
            Arc::from(user),
            User {
                connections: 1,
                info: info.clone(),
                gone_at: None,
            },
        );
        // Under the lock, so that joins and leaves go out in the order in which they happened.
        self.tell("tidings:join", channel, user, info.as_deref());
        Ok(())
    }

    /// What others may know of a user is this from now on, where it is there: whoever asks sees it, and no event tells of it.
    pub fn update(&self, channel: &str, user: &str, info: Option<Arc<RawValue>>) {
        let mut who = self.present().who.lock();
        let users = who.channels.get_mut(channel);
        if let Some(present) = users.and_then(|users| users.get_mut(user)) {
            present.info = info;
        }
    }

    /// One connection of a user less, since it left. With the last, all subscribers get `tidings:leave`.
    pub fn leave(&self, channel: &str, user: &str) {
        let mut who = self.present().who.lock();
        if let Some(present) = who.one_less(channel, user)
            && present.connections == 0
        {
            self.remove(&mut who, channel, user);
        }
    }

    /// One connection of a user less, since it was lost: the user may come back. With the last, all subscribers get
    /// `tidings:leave` when the [grace](crate::Builder::presence_grace) is over, a second later at the most.
    pub fn lose(&self, channel: &str, user: &str) {
        let grace = self.present().grace;
        if grace.is_zero() {
            return self.leave(channel, user);
        }
        let mut who = self.present().who.lock();
        let at = Instant::now() + grace;
        if let Some(present) = who.one_less(channel, user)
            && present.connections == 0
        {
            present.gone_at = Some(at);
            who.leaving.push_back(Leaving {
                at,
                channel: channel.to_owned(),
                user: Arc::from(user),
            });
        }
    }

    /// Who did not come back within the grace is gone.
    pub(crate) fn expire(&self, now: Instant) {
        let mut who = self.present().who.lock();
        while who.leaving.front().is_some_and(|leaving| leaving.at <= now)
            && let Some(Leaving { at, channel, user }) = who.leaving.pop_front()
        {
            let present = who.channels.get(&channel).and_then(|users| users.get(&user));
            if present.is_some_and(|present| present.gone_at == Some(at)) {
                self.remove(&mut who, &channel, &user);
            }
        }
    }

    fn remove(&self, who: &mut Who, channel: &str, user: &str) {
        let Some(users) = who.channels.get_mut(channel) else {
            return;
        };
        let info = users.remove(user).and_then(|user| user.info);
        if users.is_empty() {
            who.channels.remove(channel);
        }
        self.tell("tidings:leave", channel, user, info.as_deref());
    }

    /// How many users are in a channel, at no cost.
    pub fn count(&self, channel: &str) -> usize {
        self.present().who.lock().channels.get(channel).map_or(0, BTreeMap::len)
    }

    /// The users in a channel whose ids come after `after`, at most `limit` of them.
    pub fn users(&self, channel: &str, after: Option<&str>, limit: usize) -> PresencePage {
        let who = self.present().who.lock();
        let Some(users) = who.channels.get(channel) else {
            return PresencePage {
                users: Vec::new(),
                count: 0,
            };
        };
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = users.range::<str, _>((start, Bound::Unbounded)).take(limit);
        let page = page.map(|(user, present)| PresentUser {
            user: Arc::clone(user),
            info: present.info.clone(),
        });
        PresencePage {
            users: page.collect(),
            count: users.len(),
        }
    }

    fn tell(&self, event: &str, channel: &str, user: &str, info: Option<&RawValue>) {
        #[derive(Serialize)]
        struct Change<'a> {
            channel: &'a str,
            user: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            info: Option<&'a RawValue>,
        }
        self.io.to(channel).emit_unlogged(event, Change { channel, user, info });
    }
}

impl Who {
    fn one_less(&mut self, channel: &str, user: &str) -> Option<&mut User> {
        let present = self.channels.get_mut(channel)?.get_mut(user)?;
        present.connections = present.connections.checked_sub(1)?;
        Some(present)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use crate::Tidings;

    #[test]
    fn several_connections_of_a_user_are_one() {
        let io = Tidings::builder().shards(1).build();
        let presence = io.presence();
        for user in ["b", "a", "b"] {
            presence.enter("room", user, None).unwrap();
        }
        let names = |after, limit| -> Vec<String> {
            presence
                .users("room", after, limit)
                .users
                .iter()
                .map(|user| user.user.to_string())
                .collect()
        };
        assert_eq!(
            (names(None, 10), names(Some("a"), 10), names(None, 1)),
            (vec!["a".into(), "b".into()], vec!["b".into()], vec!["a".into()])
        );
        presence.leave("room", "b");
        assert_eq!(presence.users("room", None, 10).count, 2);
        presence.leave("room", "b");
        presence.leave("room", "a");
        presence.leave("room", "a");
        assert_eq!(presence.users("room", None, 10).count, 0);
        assert!(io.server.present.who.lock().channels.is_empty());
    }

    #[test]
    fn what_is_known_of_a_user_is_what_was_said_last() {
        let io = Tidings::builder().shards(1).build();
        let presence = io.presence();
        let info = |text: &str| Some(Arc::from(serde_json::value::to_raw_value(text).unwrap()));
        let known = || {
            let users = presence.users("room", None, 10).users;
            users
                .into_iter()
                .next()
                .and_then(|user| user.info)
                .map(|info| info.get().to_owned())
        };
        presence.update("room", "a", info("nobody is there"));
        assert_eq!(presence.count("room"), 0);
        presence.enter("room", "a", info("first")).unwrap();
        presence.update("room", "b", info("another"));
        presence.update("room", "a", info("second"));
        assert_eq!((presence.count("room"), known().as_deref()), (1, Some("\"second\"")));
        presence.leave("room", "a");
        assert_eq!(presence.count("room"), 0);
    }

    #[test]
    fn who_comes_back_within_the_grace_was_never_gone() {
        let io = Tidings::builder()
            .shards(1)
            .presence_grace(Duration::from_secs(3_600))
            .build();
        let presence = io.presence();
        let later = |seconds| Instant::now() + Duration::from_secs(seconds);
        for user in ["a", "b"] {
            presence.enter("room", user, None).unwrap();
            presence.lose("room", user);
        }
        assert_eq!(presence.count("room"), 2);
        presence.enter("room", "a", None).unwrap();
        presence.expire(later(3_601));
        assert_eq!(presence.count("room"), 1);
        // It left, and the loss of before is no longer its own.
        presence.lose("room", "a");
        presence.enter("room", "a", None).unwrap();
        presence.leave("room", "a");
        presence.enter("room", "a", None).unwrap();
        presence.expire(later(3_601));
        assert_eq!(presence.count("room"), 1);
        presence.leave("room", "a");
        let who = io.server.present.who.lock();
        assert!(who.channels.is_empty() && who.leaving.is_empty());
    }
}

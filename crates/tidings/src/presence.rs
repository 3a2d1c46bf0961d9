//! Presence: which users are in a channel, however many connections each has.
//!
//! It is not logged: a client takes a snapshot and then follows `tidings:join` and `tidings:leave`.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

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

#[derive(Debug, Default)]
pub(crate) struct Present {
    channels: Mutex<HashMap<String, BTreeMap<Arc<str>, User>>>,
}

#[derive(Debug)]
struct User {
    connections: usize,
    info: Option<Arc<RawValue>>,
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
    /// `{channel, user, info}`.
    ///
    /// # Errors
    /// `invalid_channel` when the name can't be a channel's.
    pub fn enter(&self, channel: &str, user: &str, info: Option<Arc<RawValue>>) -> Result<()> {
        crate::channel::check(channel)?;
        let mut channels = self.present().channels.lock();
        let users = channels.entry_ref(channel).or_default();
        if let Some(present) = users.get_mut(user) {
            present.connections += 1;
            return Ok(());
        }
        users.insert(
            Arc::from(user),
            User {
                connections: 1,
                info: info.clone(),
            },
        );
        // Under the lock, so that joins and leaves go out in the order in which they happened.
        self.tell("tidings:join", channel, user, info.as_deref());
        Ok(())
    }

    /// One connection of a user less. With the last, all subscribers get `tidings:leave`.
    pub fn leave(&self, channel: &str, user: &str) {
        let mut channels = self.present().channels.lock();
        let Some(users) = channels.get_mut(channel) else { return };
        let Some(present) = users.get_mut(user) else { return };
        present.connections -= 1;
        if present.connections > 0 {
            return;
        }
        let info = users.remove(user).and_then(|user| user.info);
        if users.is_empty() {
            channels.remove(channel);
        }
        self.tell("tidings:leave", channel, user, info.as_deref());
    }

    /// The users in a channel whose ids come after `after`, at most `limit` of them.
    pub fn users(&self, channel: &str, after: Option<&str>, limit: usize) -> PresencePage {
        let channels = self.present().channels.lock();
        let Some(users) = channels.get(channel) else {
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

#[cfg(test)]
mod tests {
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
        assert!(io.server.present.channels.lock().is_empty());
    }
}

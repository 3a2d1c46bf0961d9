//! The inbox: how far each user has read in each channel, the same on all of a user's devices, and how much is left.
//!
//! A mark is the id up to which a user has read; it never goes back. What is unread is counted from there when somebody asks: the
//! events that the channel retains after the mark, without those that the user published.

mod marks;

use std::sync::Arc;

use serde::Serialize;

use crate::channel::Channel;
use crate::error::{Code, Error, Result};
use crate::id::EventId;
use crate::log::Since;
use crate::socketio::io::Io;
use crate::wire::READ;

pub(crate) use marks::Marks;

/// What users have read. From [`Io::inbox`].
#[derive(Debug)]
pub struct Inbox<'a> {
    io: &'a Io,
}

/// What a user has not read of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Unread {
    /// How many events that others published the channel retains after the mark: exact up to 1,000.
    pub unread: usize,
    /// There are more than `unread` says, or may be: only so many are looked at.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// The mark: the id up to which the user has read. None before the first; then all that is retained is unread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<EventId>,
}

impl Io {
    /// What users have read in the rooms of this namespace: marks that are kept by the server, with a store also across
    /// restarts.
    ///
    /// ```
    /// # async fn run() -> tidings::Result<()> {
    /// # let io = tidings::Tidings::builder().shards(1).build();
    /// let first = io.to("user:ann").emit("invoice", 1).await?.unwrap();
    /// io.to("user:ann").emit("invoice", 2).await?;
    /// assert_eq!(io.inbox().unread("ann", "user:ann").await?.unread, 2);
    ///
    /// // On one of Ann's devices she has seen the first; her others hear of it.
    /// let left = io.inbox().read("ann", "user:ann", first).await?;
    /// assert_eq!((left.unread, left.read), (1, Some(first)));
    /// # Ok(()) }
    /// # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
    /// ```
    pub fn inbox(&self) -> Inbox<'_> {
        Inbox { io: self }
    }
}

impl Inbox<'_> {
    /// A user has read a channel up to this id. When that moves the mark, all connections in the room `user:<user>` get
    /// `tidings:read` with `{channel, read, unread}`; a plain WebSocket gets a message of type `read`, an event stream the named event
    /// `tidings:read`. An id at the mark or before it changes nothing. Whether the user may read the channel is for
    /// the caller to say.
    ///
    /// The answer comes when the mark is kept: in memory, or where there is a store as an event is with
    /// [`Durability::Process`](crate::Durability::Process). 1,000,000 marks are kept, 1,000 of one user; those that were moved longest ago
    /// give way. It is done to its end also when nobody waits for the answer.
    ///
    /// # Errors
    /// `invalid_id` for an id of another log, or from the future; `invalid_channel` when the name can't be a channel's;
    /// `bad_request` when there can be no room `user:<user>`; `store_full`, `unavailable` or `draining` when the mark can't be kept.
    pub async fn read(&self, user: &str, channel: &str, id: EventId) -> Result<Unread> {
        let asked = Asked::new(self.io, user, channel)?;
        let server = &self.io.server;
        let Since::Known(seq) = server.hub.log.check(id) else {
            return Err(Error::coded(
                Code::InvalidId,
                "this id is not of this log, or not yet given: name one that the channel has delivered",
            ));
        };
        if !server.marks.advance(user, &asked.channel, seq)? {
            return asked.answer().await;
        }
        tokio::spawn(async move { asked.announce().await }).await?
    }

    /// What a user has not read of a channel. It costs a range of the log: from memory where that has all of it, else some
    /// microseconds an unread event, on a thread that may wait for the disk.
    ///
    /// # Errors
    /// As [`Inbox::read`], but for what is wrong with an id; `unavailable` when the store can't be read.
    pub async fn unread(&self, user: &str, channel: &str) -> Result<Unread> {
        Asked::new(self.io, user, channel)?.answer().await
    }
}

/// A question about a user and a channel.
struct Asked {
    io: Io,
    user: Arc<str>,
    channel: Channel,
    /// The room of the user's devices.
    devices: String,
}

impl Asked {
    fn new(io: &Io, user: &str, channel: &str) -> Result<Self> {
        let devices = format!("user:{user}");
        if user.is_empty() || crate::channel::check(&devices).is_err() {
            return Err(Error::new("a user has 1 to 250 bytes and no control characters"));
        }
        Ok(Self {
            channel: io.channel(channel)?,
            io: io.clone(),
            user: Arc::from(user),
            devices,
        })
    }

    /// Counts from the mark, once that is kept: nobody is told what a crash could take back.
    async fn answer(&self) -> Result<Unread> {
        let hub = &self.io.server.hub;
        let mark = self.io.server.marks.get(&self.user, &self.channel);
        hub.settled().await;
        let after = mark.unwrap_or(0);
        let counted = match hub.log.count_tail(&self.channel, after, &self.user) {
            Some(counted) => counted,
            None => {
                let (channel, user) = (self.channel.clone(), Arc::clone(&self.user));
                hub.read(move |log| log.count(&channel, after, &user)).await?
            }
        };
        Ok(Unread {
            unread: counted.events,
            more: counted.more,
            read: mark.map(|seq| hub.id(seq)),
        })
    }

    /// Answers, and tells the user's devices.
    async fn announce(self) -> Result<Unread> {
        #[derive(Serialize)]
        struct Moved<'a> {
            channel: &'a str,
            #[serde(flatten)]
            unread: Unread,
        }
        let unread = self.answer().await?;
        let moved = Moved {
            channel: self.channel.shown(),
            unread,
        };
        let seq = unread.read.map_or(0, |id| id.seq());
        let server = &self.io.server;
        // Who has moved it further meanwhile tells that: no device hears of an older mark after a newer one.
        server.marks.while_at(&self.user, &self.channel, seq, || {
            self.io.to(&self.devices).emit_unlogged(READ, moved);
        });
        match server.hub.log.failure() {
            // It is kept in mind, and written when the store can be; asked again then, it is answered.
            Some(error) => Err(error),
            None => Ok(unread),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use tempfile::TempDir;
    use tokio::runtime::Runtime;

    use super::*;
    use crate::{Retention, Tidings};

    const CHANNELS: [&str; 3] = ["kept:a", "kept:b", "mem:c"];
    const USERS: [&str; 2] = ["ann", "bob"];

    fn open(folder: &Path) -> Io {
        let kept = |channel: &str| channel.starts_with("kept:").then(|| Retention::new().keep(20));
        Tidings::builder().shards(2).store(folder).history(kept).build()
    }

    /// What history has of others after the mark.
    async fn expected(io: &Io, user: &str, channel: &str, mark: Option<EventId>) -> usize {
        let page = io.history(channel).limit(1_000).await.unwrap();
        let after = mark.map_or(0, |id| id.seq());
        let is_unread = |id: EventId, by: Option<&str>| id.seq() > after && by != Some(user);
        let events = page.events.iter();
        events
            .filter(|event| is_unread(event.id, event.user.as_deref()))
            .count()
    }

    #[derive(Debug, Clone)]
    enum Step {
        Publish {
            channel: usize,
            by: Option<usize>,
        },
        /// Up to this part of the log.
        Read {
            user: usize,
            channel: usize,
            part: f64,
        },
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            12 => (0..3_usize, prop::option::of(0..2_usize)).prop_map(|(channel, by)| Step::Publish { channel, by }),
            6 => (0..2_usize, 0..3_usize, 0.0..=1.0).prop_map(|(user, channel, part)| Step::Read { user, channel, part }),
            1 => Just(Step::Restart),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20, max_shrink_iters: 100, ..ProptestConfig::default() })]

        /// Whatever is published and read, and however often it is opened again: a mark is the highest id that was read, and what is
        /// unread is what history has of others after it.
        #[test]
        fn a_mark_never_goes_back_and_what_is_unread_is_what_comes_after_it(steps in prop::collection::vec(step(), 1..80)) {
            let folder = TempDir::new().unwrap();
            Runtime::new().unwrap().block_on(async {
                let mut io = open(folder.path());
                let mut marks = [[None; CHANNELS.len()]; USERS.len()];
                for step in steps {
                    match step {
                        Step::Publish { channel, by } => {
                            let mut to = io.to(CHANNELS[channel]);
                            if let Some(by) = by {
                                to = to.publisher(USERS[by]);
                            }
                            to.emit("e", 1).await.unwrap();
                        }
                        Step::Read { user, channel, part } => {
                            let seq = (io.cursor().seq() as f64 * part) as u64;
                            let id = EventId::new(io.cursor().epoch(), seq);
                            let mark: &mut Option<EventId> = &mut marks[user][channel];
                            if seq > mark.map_or(0, |id| id.seq()) {
                                *mark = Some(id);
                            }
                            let answer = io.inbox().read(USERS[user], CHANNELS[channel], id).await.unwrap();
                            assert_eq!(answer.read, *mark);
                            assert_eq!(answer.unread, expected(&io, USERS[user], CHANNELS[channel], *mark).await);
                        }
                        Step::Restart => {
                            io.close().await;
                            drop(io);
                            io = open(folder.path());
                        }
                    }
                }
                for (user, marks) in USERS.iter().zip(marks) {
                    for (channel, mark) in CHANNELS.iter().zip(marks) {
                        let unread = expected(&io, user, channel, mark).await;
                        let answer = io.inbox().unread(user, channel).await.unwrap();
                        assert_eq!(answer, Unread { unread, more: false, read: mark }, "{user} {channel}");
                    }
                }
                io.close().await;
            });
        }
    }

    #[tokio::test]
    async fn what_cant_be_is_refused_and_changes_nothing() {
        let io = Tidings::builder().shards(1).build();
        let id = io.to("a").emit("e", 1).await.unwrap().unwrap();
        let future = EventId::new(id.epoch(), id.seq() + 1);
        let foreign = "aaaaaaaa-1".parse().unwrap();
        for (user, channel, id, code) in [
            ("ann", "a", future, "invalid_id"),
            ("ann", "a", foreign, "invalid_id"),
            ("ann", "/a", id, "invalid_channel"),
            ("ann", "", id, "invalid_channel"),
            ("", "a", id, "bad_request"),
            ("a\0b", "a", id, "bad_request"),
            (&"x".repeat(251), "a", id, "bad_request"),
        ] {
            let error = io.inbox().read(user, channel, id).await.unwrap_err();
            assert_eq!(error.code(), code, "{user:?} {channel:?} {id}");
        }
        assert!(io.inbox().read(&"x".repeat(250), "a", id).await.is_ok());
        let pattern = io.of("/shop-{id}");
        assert_eq!(
            pattern.inbox().unread("ann", "a").await.unwrap_err().code(),
            "invalid_channel"
        );
        let unread = io.inbox().unread("ann", "a").await.unwrap();
        assert_eq!(serde_json::to_string(&unread).unwrap(), r#"{"unread":1}"#);
        // A room of another namespace is another channel.
        io.inbox().read("ann", "a", id).await.unwrap();
        io.of("/shop").to("a").emit("e", 1).await.unwrap();
        assert_eq!(io.of("/shop").inbox().unread("ann", "a").await.unwrap().unread, 1);
        assert_eq!(io.inbox().unread("ann", "a").await.unwrap().unread, 0);
        io.close().await;
    }

    #[tokio::test]
    async fn above_a_thousand_it_says_that_there_are_more() {
        let io = Tidings::builder().shards(1).build();
        for number in 0..1_001 {
            io.to("a").emit("e", number).await.unwrap();
        }
        let unread = io.inbox().unread("ann", "a").await.unwrap();
        assert_eq!(
            serde_json::to_string(&unread).unwrap(),
            r#"{"unread":1000,"more":true}"#
        );
        let first = EventId::new(io.cursor().epoch(), 1);
        let unread = io.inbox().read("ann", "a", first).await.unwrap();
        let json = format!(r#"{{"unread":1000,"read":"{first}"}}"#);
        assert_eq!(serde_json::to_string(&unread).unwrap(), json);
        io.close().await;
    }
}

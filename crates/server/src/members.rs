//! Channels that a back end has put users into by the server API. They hold for all of a user's connections, on whatever
//! transport, until the back end takes them back; with `data` after a restart too.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tidings::{Code, Error, Result};

use crate::journal::Journal;

/// The file in `data`: a line for each change.
const FILE: &str = "members.jsonl";

/// How many there can be in all: at some 200 bytes each 200 MB.
const MAX: usize = 1_000_000;

/// Into how many channels a user can be put.
pub(crate) const CHANNELS_MAX: usize = 1_000;

/// All there are.
#[derive(Default)]
pub(crate) struct Members {
    state: RwLock<State>,
    /// Where changes are kept. It is taken first, so that they are kept in their order.
    journal: Mutex<Option<Journal>>,
}

#[derive(Default)]
struct State {
    by_user: HashMap<Box<str>, BTreeSet<Arc<str>>>,
    /// Over all users.
    count: usize,
}

/// A change, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Join { user: Box<str>, channel: Box<str> },
    Leave { user: Box<str>, channel: Box<str> },
}

impl Members {
    /// Takes up those that are kept in a folder, and keeps changes there. The folder must be nobody else's by then.
    ///
    /// # Errors
    /// When the file can't be read or written.
    pub(crate) fn keep_in(&self, folder: &Path) -> io::Result<()> {
        let path = folder.join(FILE);
        let mut state = self.state.write();
        Journal::read(&path, |line: Line| state.apply(&line))?;
        *self.journal.lock() = Some(Journal::begin(&path, state.lines())?);
        Ok(())
    }

    /// Whether a user was put into a channel.
    pub(crate) fn hold(&self, user: &str, channel: &str) -> bool {
        let state = self.state.read();
        state
            .by_user
            .get(user)
            .is_some_and(|channels| channels.contains(channel))
    }

    /// The channels that a user was put into, by their names.
    pub(crate) fn channels(&self, user: &str) -> Vec<Arc<str>> {
        let state = self.state.read();
        let channels = state.by_user.get(user);
        channels
            .map(|channels| channels.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Puts a user into a channel. It waits for the disk.
    ///
    /// # Errors
    /// `too_many_channels` when the user is in as many as one can be; `store_full` when there are too many in all;
    /// `unavailable` when it can't be kept: then nothing has changed.
    pub(crate) fn join(&self, user: &str, channel: &str) -> Result<()> {
        self.change(&Line::Join {
            user: user.into(),
            channel: channel.into(),
        })
    }

    /// Takes a user out of a channel. It waits for the disk.
    ///
    /// # Errors
    /// `unavailable` when it can't be kept: then nothing has changed.
    pub(crate) fn leave(&self, user: &str, channel: &str) -> Result<()> {
        self.change(&Line::Leave {
            user: user.into(),
            channel: channel.into(),
        })
    }

    fn change(&self, line: &Line) -> Result<()> {
        let mut journal = self.journal.lock();
        if !self.state.read().is_changed_by(line)? {
            return Ok(());
        }
        if let Some(journal) = &mut *journal {
            journal.append(line).map_err(|error| {
                tracing::error!(%error, "who is in a channel can't be kept");
                Journal::refusal(&error, "it could not be kept, and nothing has changed: try again")
            })?;
        }
        self.state.write().apply(line);
        self.tidy(&mut journal);
        Ok(())
    }

    /// Who joins and leaves again and again must not fill the disk.
    fn tidy(&self, journal: &mut Option<Journal>) {
        let state = self.state.read();
        if let Some(journal) = journal.as_mut().filter(|journal| journal.is_stale(state.count))
            && let Err(error) = journal.begin_anew(state.lines())
        {
            // It is tried again with the next change.
            tracing::warn!(%error, "a file can't be written anew");
        }
    }
}

impl State {
    /// Whether it makes a difference; an error where there is no room for it.
    fn is_changed_by(&self, line: &Line) -> Result<bool> {
        match line {
            Line::Leave { user, channel } => Ok(self.of(user).is_some_and(|channels| channels.contains(&**channel))),
            Line::Join { user, channel } => {
                let channels = self.of(user);
                if channels.is_some_and(|channels| channels.contains(&**channel)) {
                    return Ok(false);
                }
                if channels.is_some_and(|channels| channels.len() >= CHANNELS_MAX) {
                    let problem = format!("a user can be put into {CHANNELS_MAX} channels");
                    return Err(Error::coded(Code::TooManyChannels, problem));
                }
                if self.count >= MAX {
                    let problem = format!("users are in {MAX} channels in all, and no more fit");
                    return Err(Error::coded(Code::StoreFull, problem));
                }
                Ok(true)
            }
        }
    }

    fn of(&self, user: &str) -> Option<&BTreeSet<Arc<str>>> {
        self.by_user.get(user)
    }

    fn apply(&mut self, line: &Line) {
        match line {
            Line::Join { user, channel } => {
                let channels = self.by_user.entry(user.clone()).or_default();
                self.count += usize::from(channels.insert(Arc::from(&**channel)));
            }
            Line::Leave { user, channel } => {
                let Some(channels) = self.by_user.get_mut(user) else {
                    return;
                };
                self.count -= usize::from(channels.remove(&**channel));
                if channels.is_empty() {
                    self.by_user.remove(user);
                }
            }
        }
    }

    fn lines(&self) -> impl Iterator<Item = Line> {
        self.by_user.iter().flat_map(|(user, channels)| {
            channels.iter().map(|channel| Line::Join {
                user: user.clone(),
                channel: Box::from(&**channel),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A folder that is gone when the test ends.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tidings-{}-members-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn kept_in(folder: &Folder) -> Members {
        let members = Members::default();
        members.keep_in(&folder.0).unwrap();
        members
    }

    fn names(members: &Members, user: &str) -> Vec<String> {
        members.channels(user).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn who_was_put_into_a_channel_is_there_until_taken_out_also_after_a_restart() {
        let folder = Folder::new("restart");
        let members = kept_in(&folder);
        for channel in ["b", "a", "c", "a"] {
            members.join("ann", channel).unwrap();
        }
        members.join("bob", "a").unwrap();
        members.leave("ann", "c").unwrap();
        members.leave("ann", "c").unwrap();
        members.leave("eve", "a").unwrap();
        let check = |members: &Members| {
            assert_eq!(names(members, "ann"), ["a", "b"]);
            assert_eq!(names(members, "bob"), ["a"]);
            assert!(members.hold("ann", "a") && !members.hold("ann", "c") && !members.hold("eve", "a"));
            assert_eq!(members.state.read().count, 3);
        };
        check(&members);
        drop(members);
        let path = folder.0.join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(b"{\"join\":{\"user\":\"ann\",\"chan");
        std::fs::write(&path, bytes).unwrap();
        let again = kept_in(&folder);
        check(&again);
        again.leave("bob", "a").unwrap();
        drop(again);
        assert!(names(&kept_in(&folder), "bob").is_empty());
    }

    #[test]
    fn joining_and_leaving_for_ever_does_not_fill_the_disk() {
        let folder = Folder::new("churn");
        let members = kept_in(&folder);
        members.join("ann", "a").unwrap();
        // As if so many changes had been kept, without waiting for a disk each time.
        {
            let lines = std::iter::repeat_n(
                Line::Join {
                    user: "ann".into(),
                    channel: "a".into(),
                },
                11_000,
            );
            *members.journal.lock() = Some(Journal::begin(&folder.0.join(FILE), lines).unwrap());
        }
        members.join("ann", "b").unwrap();
        let text = std::fs::read_to_string(folder.0.join(FILE)).unwrap();
        assert_eq!(text.lines().count(), 2, "written anew");
        members.join("ann", "c").unwrap();
        drop(members);
        assert_eq!(names(&kept_in(&folder), "ann"), ["a", "b", "c"]);
    }

    #[test]
    fn a_user_can_be_in_so_many() {
        let members = Members::default();
        for number in 0..CHANNELS_MAX {
            members.join("ann", &number.to_string()).unwrap();
        }
        let refused = members.join("ann", "one more").unwrap_err();
        assert_eq!(refused.code(), "too_many_channels");
        members.join("ann", "7").unwrap();
        members.join("bob", "one more").unwrap();
        members.leave("ann", "7").unwrap();
        members.join("ann", "one more").unwrap();
    }
}

//! Tokens that no longer hold though their time is not over: those of a user that were issued until some moment, and single ones by
//! their `jti`. With `data` they are kept there, and hold after a restart too.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use tidings::{Code, Error, Result};

use crate::journal::Journal;
use crate::token::Claims;

/// The file in `data`: a line for each.
const FILE: &str = "revocations.jsonl";

/// How many there can be: at 100 bytes each some 100 MB.
const MAX: usize = 1_000_000;

/// How long one is kept when there are too many, in seconds: no token should hold for a year.
const KEPT_S: u64 = 366 * 24 * 3_600;

/// All there are.
#[derive(Default)]
pub(crate) struct Revocations {
    state: RwLock<State>,
    /// Where they are kept.
    journal: Mutex<Option<Journal>>,
}

#[derive(Default)]
struct State {
    /// Until when a user's tokens were issued that hold no more, in Unix seconds.
    users: HashMap<Box<str>, u64>,
    /// When a token was revoked, by its `jti`.
    tokens: HashMap<Box<str>, u64>,
}

/// One, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// All of a user's tokens that were issued until then.
    User { sub: Box<str>, until: u64 },
    /// One token.
    Token { jti: Box<str>, at: u64 },
}

impl Revocations {
    /// Takes up those that are kept in a folder, and keeps new ones there. The folder must be nobody else's by then.
    ///
    /// # Errors
    /// When the file can't be read or written.
    pub(crate) fn keep_in(&self, folder: &Path) -> io::Result<()> {
        let path = folder.join(FILE);
        let mut state = self.state.write();
        Journal::read(&path, |line: Line| state.add(&line))?;
        // Anew: nothing that was cut short may stand before what comes.
        *self.journal.lock() = Some(Journal::begin(&path, state.lines())?);
        Ok(())
    }

    /// Whether a token holds no more. One of a revoked user that doesn't say when it was issued does not.
    pub(crate) fn cover(&self, claims: &Claims) -> bool {
        let state = self.state.read();
        let by_user = state
            .users
            .get(&*claims.sub)
            .is_some_and(|until| claims.iat.is_none_or(|issued| issued <= *until));
        by_user || claims.jti.as_deref().is_some_and(|jti| state.tokens.contains_key(jti))
    }

    /// Revokes the tokens of a user that were issued until now. It waits for the disk.
    ///
    /// # Errors
    /// `store_full` when there are too many; `unavailable` when it can't be kept: then it holds until the end of the process.
    pub(crate) fn revoke_user(&self, sub: &str) -> Result<()> {
        self.revoke(&Line::User {
            sub: sub.into(),
            until: now_s(),
        })
    }

    /// Revokes one token.
    ///
    /// # Errors
    /// As [`Revocations::revoke_user`].
    pub(crate) fn revoke_token(&self, jti: &str) -> Result<()> {
        self.revoke(&Line::Token {
            jti: jti.into(),
            at: now_s(),
        })
    }

    fn revoke(&self, line: &Line) -> Result<()> {
        self.state.write().make_room_for(line)?;
        // Not under the lock of the state, which every connection asks.
        let mut journal = self.journal.lock();
        let Some(journal) = &mut *journal else { return Ok(()) };
        journal.append(line).map_err(|error| {
            tracing::error!(%error, "a revocation can't be kept");
            Journal::refusal(&error, "it holds now, but could not be kept: try again")
        })
    }
}

impl State {
    fn make_room_for(&mut self, line: &Line) -> Result<()> {
        if self.users.len() + self.tokens.len() >= MAX && !self.has(line) {
            let oldest = now_s().saturating_sub(KEPT_S);
            self.users.retain(|_, time| *time >= oldest);
            self.tokens.retain(|_, time| *time >= oldest);
        }
        if self.users.len() + self.tokens.len() >= MAX && !self.has(line) {
            let problem = format!("there are {MAX} revocations, and no more fit");
            return Err(Error::coded(Code::StoreFull, problem));
        }
        self.add(line);
        Ok(())
    }

    fn has(&self, line: &Line) -> bool {
        match line {
            Line::User { sub, .. } => self.users.contains_key(sub),
            Line::Token { jti, .. } => self.tokens.contains_key(jti),
        }
    }

    fn add(&mut self, line: &Line) {
        let (of, name, time) = match line {
            Line::User { sub, until } => (&mut self.users, sub, until),
            Line::Token { jti, at } => (&mut self.tokens, jti, at),
        };
        let known = of.entry(name.clone()).or_default();
        *known = (*known).max(*time);
    }

    fn lines(&self) -> impl Iterator<Item = Line> {
        let users = self.users.iter().map(|(sub, until)| Line::User {
            sub: sub.clone(),
            until: *until,
        });
        let tokens = self.tokens.iter().map(|(jti, at)| Line::Token {
            jti: jti.clone(),
            at: *at,
        });
        users.chain(tokens)
    }
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::token::Grants;

    fn claims(sub: &str, iat: Option<u64>, jti: Option<&str>) -> Claims {
        Claims {
            sub: sub.to_owned(),
            exp: u64::MAX,
            channels: Grants::default(),
            info: None,
            jti: jti.map(str::to_owned),
            iat,
        }
    }

    /// A folder that is gone when the test ends.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tidings-{}-revocations-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn check(revocations: &Revocations) {
        let now = now_s();
        for (claims, is_revoked) in [
            (claims("ann", Some(now - 60), None), true),
            (claims("ann", Some(now + 60), None), false),
            (claims("ann", None, None), true),
            (claims("bob", Some(now - 60), Some("1")), true),
            (claims("bob", Some(now + 60), Some("1")), true),
            (claims("bob", Some(now - 60), Some("2")), false),
            (claims("bob", None, None), false),
        ] {
            assert_eq!(revocations.cover(&claims), is_revoked, "{claims:?}");
        }
    }

    fn kept_in(folder: &Folder) -> Revocations {
        let revocations = Revocations::default();
        revocations.keep_in(&folder.0).unwrap();
        revocations
    }

    #[test]
    fn what_is_revoked_holds_no_more_also_after_a_restart() {
        let folder = Folder::new("restart");
        let revocations = kept_in(&folder);
        assert!(!revocations.cover(&claims("ann", Some(1), Some("1"))));
        revocations.revoke_user("ann").unwrap();
        revocations.revoke_token("1").unwrap();
        check(&revocations);
        drop(revocations);
        // The last line was cut short by a crash, within a letter.
        let path = folder.0.join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend_from_slice(b"{\"user\":{\"sub\":\"Bj\xc3");
        std::fs::write(&path, bytes).unwrap();
        let again = kept_in(&folder);
        check(&again);
        again.revoke_token("3").unwrap();
        drop(again);
        let third = kept_in(&folder);
        check(&third);
        assert!(third.cover(&claims("eve", None, Some("3"))));
    }

    #[test]
    fn without_a_folder_they_hold_until_the_end() {
        let revocations = Revocations::default();
        revocations.revoke_user("ann").unwrap();
        revocations.revoke_token("1").unwrap();
        check(&revocations);
    }

    #[test]
    fn what_is_no_revocation_is_passed_over() {
        let folder = Folder::new("bad");
        std::fs::create_dir_all(&folder.0).unwrap();
        let path = folder.0.join(FILE);
        std::fs::write(&path, "nonsense\n{}\n{\"token\":{\"jti\":\"1\",\"at\":1000}}\n").unwrap();
        assert!(kept_in(&folder).cover(&claims("ann", None, Some("1"))));
        let kept = std::fs::read_to_string(&path).unwrap();
        assert_eq!(kept, "{\"token\":{\"jti\":\"1\",\"at\":1000}}\n");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let error = Revocations::default().keep_in(&folder.0).unwrap_err().to_string();
        assert!(error.contains(FILE), "{error}");
    }

    #[test]
    fn the_later_of_two_moments_counts() {
        let mut state = State::default();
        for until in [10, 30, 20] {
            state
                .make_room_for(&Line::User {
                    sub: "ann".into(),
                    until,
                })
                .unwrap();
        }
        assert_eq!(state.users["ann"], 30);
    }
}

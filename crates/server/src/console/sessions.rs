//! Who is signed in: in memory, so that a new start signs everybody out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::api::keys::Hash;
use crate::token::{Secret, SecretError};

/// How long a session lasts.
pub(super) const SESSION: Duration = Duration::from_secs(12 * 3_600);

/// Sessions at once. One more ends the oldest.
const SESSIONS_MAX: usize = 100;

/// All there are, the oldest first.
#[derive(Default)]
pub(super) struct Sessions(Mutex<VecDeque<Session>>);

struct Session {
    /// Of what its cookie holds.
    token: Hash,
    end: Instant,
    /// Goes with the session, which is how what depends on it hears of that.
    alive: watch::Sender<()>,
}

/// A request within a session.
#[derive(Clone)]
pub(super) struct Visit {
    end: Instant,
    alive: watch::Receiver<()>,
}

impl Sessions {
    /// Begins one, and answers what its cookie is to hold.
    ///
    /// # Errors
    /// When the system has no random bytes to give.
    pub(super) fn begin(&self, now: Instant) -> Result<String, SecretError> {
        let token = Secret::random()?;
        let mut all = self.0.lock();
        all.retain(|session| session.end > now);
        while all.len() >= SESSIONS_MAX {
            all.pop_front();
        }
        all.push_back(Session {
            token: Hash::of(token.bytes()),
            end: now + SESSION,
            alive: watch::channel(()).0,
        });
        Ok(String::from_utf8_lossy(token.bytes()).into_owned())
    }

    /// The session whose cookie holds this.
    pub(super) fn find(&self, token: &str) -> Option<Visit> {
        self.find_at(token, Instant::now())
    }

    fn find_at(&self, token: &str, now: Instant) -> Option<Visit> {
        let token = Hash::of(token.as_bytes());
        let all = self.0.lock();
        let session = all
            .iter()
            .find(|session| session.token.is(&token) && session.end > now)?;
        Some(Visit {
            end: session.end,
            alive: session.alive.subscribe(),
        })
    }

    /// Ends one.
    pub(super) fn end(&self, token: &str) {
        let token = Hash::of(token.as_bytes());
        self.0.lock().retain(|session| !session.token.is(&token));
    }
}

impl Visit {
    /// Waits until the session is over.
    pub(super) async fn over(mut self) {
        let signed_out = async { while self.alive.changed().await.is_ok() {} };
        // Whichever comes first.
        let _ = tokio::time::timeout_at(self.end.into(), signed_out).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_lasts_until_its_time_is_over_or_it_is_ended() {
        let sessions = Sessions::default();
        let now = Instant::now();
        let token = sessions.begin(now).unwrap();
        assert_eq!(token.len(), 64);
        assert!(
            sessions
                .find_at(&token, now + SESSION - Duration::from_secs(1))
                .is_some()
        );
        assert!(sessions.find_at(&token, now + SESSION).is_none());
        assert!(sessions.find(&token[1..]).is_none() && sessions.find("").is_none());
        let visit = sessions.find(&token).unwrap();
        sessions.end(&token);
        assert!(sessions.find(&token).is_none());
        visit.over().await;
    }

    #[test]
    fn there_are_so_many_and_no_more() {
        let sessions = Sessions::default();
        let now = Instant::now();
        let tokens: Vec<String> = (0..=SESSIONS_MAX).map(|_| sessions.begin(now).unwrap()).collect();
        assert!(sessions.find(&tokens[0]).is_none(), "the oldest is gone");
        assert!(tokens[1..].iter().all(|token| sessions.find(token).is_some()));
        sessions.begin(now + SESSION).unwrap();
        assert_eq!(sessions.0.lock().len(), 1, "those whose time is over are not kept");
    }
}

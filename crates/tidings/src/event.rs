//! An event: what is published once and delivered to every subscriber.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::channel::Channel;
use crate::error::{Code, Error};
use crate::limits::PUBLISH_KEY_BYTES_MAX;

/// The longest event name, in bytes.
pub const EVENT_NAME_BYTES_MAX: usize = 128;

/// What an event says, without where it goes.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// The event's name.
    pub(crate) name: Arc<str>,
    /// Its arguments as emitted: JSON values with commas between, without the brackets. Always UTF-8.
    pub(crate) arguments: Bytes,
    /// The bytes that `arguments` stands for with `{"_placeholder":true,"num":n}`.
    pub(crate) attachments: Vec<Bytes>,
}

impl Message {
    pub(crate) fn arguments(&self) -> &str {
        // Made from a `String` or from text that a codec has checked.
        std::str::from_utf8(&self.arguments).unwrap_or_default()
    }

    /// The bytes it keeps in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.name.len() + self.arguments.len() + self.attachments.iter().map(|bytes| bytes.len() + 32).sum::<usize>()
    }
}

/// An event that the log has not yet given its place.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// Each subscriber of any of these gets it once.
    pub(crate) channels: SmallVec<[Channel; 1]>,
    /// But not who is subscribed to one of these.
    pub(crate) except: SmallVec<[Channel; 1]>,
    pub(crate) message: Message,
    /// The publisher's `sub`, where a user published it.
    pub(crate) user: Option<Arc<str>>,
    /// Makes a publish that is tried again the same one.
    pub(crate) key: Option<PublishKey>,
}

/// Under which a publish may be tried again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PublishKey {
    /// Whose key it is: a user's `sub`; empty for the server.
    pub(crate) publisher: Arc<str>,
    pub(crate) key: Arc<str>,
}

/// An event with its place in the log.
#[derive(Debug)]
pub(crate) struct Event {
    /// Its position in the one sequence; 0 for one that was never logged.
    pub(crate) seq: u64,
    /// Unix milliseconds, never less than those of the event before.
    pub(crate) time_ms: u64,
    pub(crate) draft: Draft,
}

impl Event {
    /// An event that the log does not get: it has no place in the sequence.
    pub(crate) fn unlogged(draft: Draft) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            seq: 0,
            time_ms: u64::try_from(now.as_millis()).unwrap_or(0),
            draft,
        }
    }

    /// The bytes it keeps in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + 64 + self.draft.message.bytes()
    }
}

/// Whether an application may publish under `name`.
///
/// # Errors
/// `bad_request` when it is empty, longer than 128 bytes, has control characters, or is one that
/// Socket.IO or Tidings gives a meaning of its own.
///
/// ```
/// assert!(tidings::check_event_name("chat:message").is_ok());
/// assert!(tidings::check_event_name("disconnect").is_err());
/// ```
pub fn check_name(name: &str) -> Result<(), Error> {
    let problem = if name.is_empty() {
        "an event name can't be empty"
    } else if name.len() > EVENT_NAME_BYTES_MAX {
        "an event name has at most 128 bytes"
    } else if name.chars().any(char::is_control) {
        "an event name can't have control characters"
    } else if is_reserved(name) {
        "this event name is reserved"
    } else {
        return Ok(());
    };
    Err(Error::coded(Code::BadRequest, problem))
}

/// Whether a publish may be known by `key`.
///
/// # Errors
/// `bad_request` when it is empty, longer than 128 bytes, or has control characters.
pub(crate) fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() || key.len() > PUBLISH_KEY_BYTES_MAX || key.chars().any(char::is_control) {
        let problem = "a `key` has 1 to 128 bytes and no control characters";
        return Err(Error::coded(Code::BadRequest, problem));
    }
    Ok(())
}

/// Names that clients take for something else than an application's event.
pub(crate) fn is_reserved(name: &str) -> bool {
    tidings_protocol::socketio::is_reserved_event(name)
        || matches!(name, "gap" | "expiring" | "open" | "error")
        || name.starts_with("tidings:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_at_the_limit_and_past_it() {
        assert!(check_name(&"x".repeat(EVENT_NAME_BYTES_MAX)).is_ok());
        for bad in [
            "",
            "a\tb",
            "connect",
            "disconnecting",
            "gap",
            "expiring",
            "tidings:join",
            &"x".repeat(EVENT_NAME_BYTES_MAX + 1),
        ] {
            assert_eq!(check_name(bad).unwrap_err().code(), "bad_request", "{bad:?}");
        }
    }
}

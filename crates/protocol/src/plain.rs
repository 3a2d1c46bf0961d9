//! The messages of a plain WebSocket: what a client without any library sends and gets, one JSON object each.
//!
//! | `type` | other fields (in brackets: may be absent or `null`) |
//! | --- | --- |
//! | `subscribe` | `channels`, \[`since`\] |
//! | `unsubscribe` | `channels` |
//! | `publish` | `channel`, `event`, \[`data`, `key`, `volatile`\] |
//! | `history` | `channel`, \[`before` or `after`, `limit`\] |
//! | `presence` | `channel`, \[`after`, `limit`\] |
//! | `read` | `channel`, `until`: the id up to which it is read (`id` is the request's own) |
//! | `unread` | `channel` |
//! | `auth` | `token` |
//! | `ping` | |
//!
//! Each may have an `id`, a string of at most 64 bytes or an integer, by which the answer finds its request; it is written
//! back as it came. A field that a message does not have is refused: a misspelt `since` would else be a replay that silently does not
//! happen. So is a field that is there twice.
//!
//! ```
//! use tidings_protocol::plain::{self, Kind};
//!
//! let request = plain::parse(r#"{"type":"subscribe","id":1,"channels":["news"]}"#)?;
//! assert!(matches!(&request.kind, Kind::Subscribe { channels, since: None } if channels == &["news"]));
//! if let Some(id) = request.id {
//!     let answer = plain::ok(id, r#"{"cursor":"k3v9x1qa-42"}"#);
//!     assert_eq!(answer, br#"{"type":"ok","id":1,"result":{"cursor":"k3v9x1qa-42"}}"#);
//! }
//!
//! let error = plain::parse(r#"{"type":"subscribe","id":"x","channels":"news"}"#).unwrap_err();
//! let answer = plain::error(error.id, error.code, &error.message);
//! assert_eq!(
//!     String::from_utf8(answer)?,
//!     r#"{"type":"error","id":"x","code":"bad_request","message":"`channels` has to be a list of strings"}"#
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod fields;
mod parse;
mod write;

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

pub use parse::{parse, request_id};
pub use write::{error, expiring, gap, join, leave, ok, pong, welcome};

use crate::json::{Reader, string_text};

/// The longest request id that is a string, in bytes; as many digits may one have that is a number.
pub const REQUEST_ID_BYTES_MAX: usize = 64;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// By which the answer finds it. Without one there is no `ok`.
    pub id: Option<RequestId<'a>>,
    /// What it asks.
    pub kind: Kind<'a>,
}

/// What a client asks. Names, ids, keys and limits are as they came: what they may be is for others to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// To get what is published in these channels.
    Subscribe {
        /// Their names, at least one, and as many as a message holds; a name may be there twice.
        channels: Vec<Cow<'a, str>>,
        /// And what was published after this id.
        since: Option<Cow<'a, str>>,
    },
    /// No longer to get it.
    Unsubscribe {
        /// Their names, at least one, and as many as a message holds; a name may be there twice.
        channels: Vec<Cow<'a, str>>,
    },
    /// To publish an event.
    Publish {
        /// Where.
        channel: Cow<'a, str>,
        /// Its name.
        event: Cow<'a, str>,
        /// Raw JSON, checked to be well-formed; `null` if it was left out. See
        /// [`arguments_from_data`](crate::json::arguments_from_data).
        data: &'a str,
        /// By which a retry is told from a new event.
        key: Option<Cow<'a, str>>,
        /// Whether it may be lost, and is not kept.
        volatile: bool,
    },
    /// To get a page of what a channel has kept: before an id, after an id (never both), or the newest.
    History {
        /// Of which channel.
        channel: Cow<'a, str>,
        /// Older than this.
        before: Option<Cow<'a, str>>,
        /// Newer than this.
        after: Option<Cow<'a, str>>,
        /// How many at most.
        limit: Option<u64>,
    },
    /// To learn who is in a channel.
    Presence {
        /// Of which channel.
        channel: Cow<'a, str>,
        /// The users behind this one.
        after: Option<Cow<'a, str>>,
        /// How many at most.
        limit: Option<u64>,
    },
    /// To note how far the user has read.
    Read {
        /// In which channel.
        channel: Cow<'a, str>,
        /// The id of the last event that was read.
        until: Cow<'a, str>,
    },
    /// To learn how many events the user has not read.
    Unread {
        /// In which channel.
        channel: Cow<'a, str>,
    },
    /// To say who one is, at first or anew.
    Auth {
        /// The proof.
        token: Token<'a>,
    },
    /// Only an answer.
    Ping,
}

/// A request's id as the client wrote it, a JSON string or integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId<'a>(&'a str);

impl<'a> RequestId<'a> {
    /// The id that this JSON is; nothing for what can be none.
    pub fn of_json(json: &'a str) -> Option<Self> {
        let valid = if json.starts_with('"') {
            string(json).is_some_and(|text| text.len() <= REQUEST_ID_BYTES_MAX)
        } else {
            let digits = json.strip_prefix('-').unwrap_or(json);
            json.len() <= REQUEST_ID_BYTES_MAX
                && !digits.is_empty()
                && digits.bytes().all(|byte| byte.is_ascii_digit())
                && (digits == "0" || !digits.starts_with('0'))
        };
        valid.then_some(Self(json))
    }

    /// Its JSON, as it is written back.
    pub fn as_json(self) -> &'a str {
        self.0
    }

    /// The same, to outlive the message that it came in.
    pub fn to_json(self) -> Box<str> {
        self.0.into()
    }
}

/// What a whole text says that should be one JSON string.
fn string(json: &str) -> Option<Cow<'_, str>> {
    let mut reader = Reader::new(json);
    let raw = reader.string().ok()?.raw;
    if raw.len() == json.len() {
        string_text(raw)
    } else {
        None
    }
}

/// A token, which no log gets to see.
#[derive(Clone, PartialEq, Eq)]
pub struct Token<'a>(Cow<'a, str>);

impl Deref for Token<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Why a message was refused. It tells nothing of a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Error<'a> {
    /// The id of the request, if it was understood that far.
    pub id: Option<RequestId<'a>>,
    /// `invalid_json` for what is not JSON, else `bad_request`.
    pub code: &'static str,
    /// What was wrong, for the client's author; it names the field.
    pub message: String,
}

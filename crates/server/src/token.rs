//! Tokens: who a client is and what it may do, signed by the back end.
//!
//! A token is a JWT (RFC 7519), signed with a shared secret or with the private half of a pair (RFC 7518 section 3.1).
//! [`Verifier`] checks one with the [`Key`]s it has, [`sign()`] makes one with a secret.
//! No error here ever holds a token, or a part of one that a reader could use.

mod key;
mod key_set;
mod secret;
mod sign;
mod verify;

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use key::{Key, PublicKind};
pub(crate) use key_set::{KeySet, Source, parse as parse_key_set, read_file as read_key_set};
pub(crate) use secret::{SECRET_BYTES_MIN, Secret, SecretError, random_hex};
pub(crate) use sign::{NewToken, sign};
pub(crate) use verify::{Verifier, VerifierOptions};

use crate::rules::{Action, OWN_CHANNEL_PREFIX, Pattern};

/// The longest `sub`, in bytes: `user:<sub>` must fit a channel's name.
pub(crate) const USER_BYTES_MAX: usize = 250;

/// The longest `info`, in bytes of JSON: everyone in a channel is sent it.
pub(crate) const INFO_BYTES_MAX: usize = 1_024;

/// The longest token, in bytes: what a request's head may hold by default.
pub(crate) const TOKEN_BYTES_MAX: usize = 16_384;

/// By how much the clock of who made a token may be ahead of ours, in seconds. It counts for `nbf` only: `exp` is
/// the instant at which the client's connections close, so it has none.
pub(crate) const LEEWAY_S: u64 = 5;

/// By how much `iat` may lie ahead, in seconds: a token from the future would outlive the revocation of its user's tokens.
pub(crate) const AHEAD_S: u64 = 60;

/// The longest `jti`, in bytes.
pub(crate) const JTI_BYTES_MAX: usize = 250;

/// What a verified token says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// The user: 1 to 250 bytes without control characters.
    pub(crate) sub: String,
    /// When it ends, in Unix seconds, at most the year 9999.
    pub(crate) exp: u64,
    /// The channels it grants where a rule says `claims`.
    #[serde(default)]
    pub(crate) channels: Grants,
    /// What presence shows of the user, at most 1,024 bytes of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) info: Option<Value>,
    /// The token's own id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) jti: Option<String>,
    /// When it was issued, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) iat: Option<u64>,
}

/// The patterns of channels that a token grants.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Grants {
    /// For subscribing, history and presence.
    #[serde(default)]
    pub(crate) subscribe: Vec<Pattern>,
    /// For publishing.
    #[serde(default)]
    pub(crate) publish: Vec<Pattern>,
}

impl Claims {
    /// Whether the token's `channels` grant it. `{user}` in them is the token's own `sub`.
    pub(crate) fn grants(&self, action: Action, channel: &str) -> bool {
        let patterns = match action {
            Action::Subscribe | Action::History | Action::Presence => &self.channels.subscribe,
            Action::Publish => &self.channels.publish,
        };
        patterns.iter().any(|pattern| pattern.matches_user(channel, &self.sub))
    }

    /// Whether a channel is the user's own, which nobody else may read.
    pub(crate) fn owns(&self, channel: &str) -> bool {
        channel.strip_prefix(OWN_CHANNEL_PREFIX) == Some(&self.sub)
    }

    /// When it ends.
    pub(crate) fn end(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.exp)
    }
}

/// Why a token is refused. The message is for the client; [`TokenError::code`] is what programs look at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    /// Not a token, or one that can't be used.
    #[error("{0}")]
    Unusable(String),
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is still to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Signed with another key, or changed since.
    #[error("the token's signature does not match this server's key")]
    Signature,
    /// Signed with a key that is none of those there are.
    #[error("the token is signed with a key that is none of this server's")]
    UnknownKey,
    /// The keys could not be read yet.
    #[error("this server could not read the keys of tokens yet; try again")]
    NoKeys,
    /// Another algorithm than those of the keys.
    #[error("the token's algorithm is none of those that go with this server's keys: {0}")]
    Algorithm(String),
    /// `aud` names somebody else, or nobody where it must.
    #[error("the token is not for this server: its `aud` has none of the names in `[auth] audience`")]
    Audience,
    /// `iss` is somebody else, or nobody where it must be somebody.
    #[error("the token's `iss` is none of those in `[auth] issuer`")]
    Issuer,
}

impl TokenError {
    /// The code that clients see.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            TokenError::Unusable(_) => "unauthenticated",
            TokenError::Expired => "token_expired",
            TokenError::NotYetValid => "token_not_yet_valid",
            TokenError::Signature | TokenError::UnknownKey => "token_signature",
            TokenError::NoKeys => "unavailable",
            TokenError::Algorithm(_) => "token_algorithm",
            TokenError::Audience => "token_audience",
            TokenError::Issuer => "token_issuer",
        }
    }
}

/// Why a text can't be a user's `sub`; none when it can.
pub(crate) fn user_problem(user: &str) -> Option<&'static str> {
    if user.is_empty() {
        Some("is empty")
    } else if user.len() > USER_BYTES_MAX {
        Some("is longer than 250 bytes")
    } else if user.chars().any(char::is_control) {
        Some("has control characters")
    } else {
        None
    }
}

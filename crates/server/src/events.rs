//! What a client can ask for: one file for each event. Each answers with `{ok: true, …}`, or with
//! `{ok: false, code, message}` for what it refuses, which then has changed nothing.

mod arguments;
mod auth;
mod history;
mod hook;
mod on;
mod other;
pub(crate) mod presence;
mod publish;
mod read;
mod subscribe;
mod unread;
mod unsubscribe;

use serde::Deserialize;
use tidings::{Code, Error, EventId, Io, Result};

/// Handles all of them, and what is none of them: the events of `[[on]]`, and those that the back end answers.
pub(crate) fn register(io: &Io, attachments_max: usize) {
    other::register(io, attachments_max);
    io.on("subscribe", subscribe::subscribe);
    io.on("unsubscribe", unsubscribe::unsubscribe);
    io.on("publish", publish::publish);
    io.on("history", history::history);
    io.on("presence", presence::presence);
    io.on("read", read::read);
    io.on("unread", unread::unread);
    io.on("auth", auth::auth);
}

/// One channel, or several.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Channels {
    One(String),
    Several(Vec<String>),
}

impl Channels {
    const EXPECTED: &str = "a channel's name, or a list of them";

    fn into_list(self) -> Vec<String> {
        match self {
            Channels::One(channel) => vec![channel],
            Channels::Several(channels) => channels,
        }
    }
}

/// An event's id, as clients send it.
///
/// # Errors
/// `invalid_id` when it is none.
pub(crate) fn parse_id(text: &str) -> Result<EventId> {
    text.parse().map_err(|_| {
        let problem = format!("{text:?} is no event id: it has the form <epoch>-<seq>");
        Error::coded(Code::InvalidId, problem)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_its_form() {
        assert_eq!(parse_id("k3v9x1qa-42").unwrap().seq(), 42);
        for text in ["", "x", "k3v9x1qa-042", "k3v9x1qa", "K3V9X1QA-1"] {
            assert_eq!(parse_id(text).unwrap_err().code(), "invalid_id", "{text}");
        }
    }
}

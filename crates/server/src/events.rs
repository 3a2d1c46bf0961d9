//! What a client can ask for: one file for each event. Each answers with `{ok: true, …}`, or with
//! `{ok: false, code, message}` for what it refuses, which then has changed nothing.

mod arguments;
mod presence;
mod publish;
mod subscribe;
mod unsubscribe;

use serde::Deserialize;
use tidings::Io;

/// Handles all of them.
pub(crate) fn register(io: &Io) {
    io.on("subscribe", subscribe::subscribe);
    io.on("unsubscribe", unsubscribe::unsubscribe);
    io.on("publish", publish::publish);
    io.on("presence", presence::presence);
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

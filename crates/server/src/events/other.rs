//! Events that the server does not know itself: what `[[on]]` says of them, or the back end.

use std::sync::Arc;

use serde::Serialize;
use tidings::{Code, Error, Event, Io, Socket, State};

use super::arguments::Arguments;
use super::{hook, on, publish};
use crate::access::Access;
use crate::client::Client;

/// The answer.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    On(publish::Answer),
    Hook(hook::Answer),
}

/// Handles them. What the configuration names is looked up each time, since it may change.
pub(super) fn register(io: &Io, attachments_max: usize) {
    io.on_unknown(
        async move |socket: Socket<Client>,
                    io: Io,
                    State(access): State<Arc<Access>>,
                    event: Event,
                    arguments: Arguments| {
            if let Some(rule) = access.on(event.name()) {
                let answer = on::publish(&rule, &socket, &io, &access, &event, arguments).await;
                return answer.map(Answer::On);
            }
            match &access.hooks {
                Some(hooks) => hook::ask(hooks, &socket, &io, &event, attachments_max)
                    .await
                    .map(Answer::Hook),
                None => Err(unknown()),
            }
        },
    );
}

/// What is said of an event that nobody handles.
pub(super) fn unknown() -> Error {
    Error::coded(Code::UnknownEvent, "nothing handles an event of this name")
}

//! `publish` (channel, event, data): everyone who is subscribed there gets it, the data as it was sent.

use std::sync::Arc;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidings::{Error, Event, EventId, Io, Raw, Result, Socket, State};

use super::arguments::Arguments;
use crate::access::Access;
use crate::client::Client;
use crate::rules::Action;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    key: Option<IgnoredAny>,
    /// It may be lost, and is not kept.
    volatile: Option<bool>,
}

/// The answer.
#[derive(Serialize)]
pub(super) struct Answer {
    ok: bool,
    /// The event's id; none for a volatile one.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<EventId>,
    /// Whether it was there already, under its key.
    duplicate: bool,
}

/// Publishes as the client's user. Without data it is `null`.
pub(super) async fn publish(
    socket: Socket<Client>,
    io: Io,
    State(access): State<Arc<Access>>,
    event: Event,
    mut arguments: Arguments,
) -> Result<Answer> {
    let channel: String = arguments.next("a channel's name")?;
    let name: String = arguments.next("an event's name")?;
    let data = arguments.next_raw();
    let options: Options = arguments.options()?;
    if options.key.is_some() {
        return Err(Error::new(
            "`key` comes with a later version: this one can't recognise what it has already",
        ));
    }
    let client = socket.user();
    access.check_for_socket(&io, Action::Publish, &channel, client.claims())?;
    let mut to = io.to(&channel);
    if let Some(user) = &client.user {
        to = to.publisher(Arc::clone(&user.sub));
    }
    if options.volatile == Some(true) {
        to = to.volatile();
    }
    let data = data.as_deref().unwrap_or(RawValue::NULL);
    let id = to.emit(&name, Raw::new(data, event.attachments())).await?;
    Ok(Answer {
        ok: true,
        id,
        duplicate: false,
    })
}

//! `publish` (channel, event, data, options): everyone who is subscribed there gets it, the data as it was sent.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidings::{Emitted, Event, EventId, Io, Raw, Result, Socket, State};

use super::arguments::Arguments;
use crate::access::Access;
use crate::client::Client;
use crate::rules::Action;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The same content is published once under one key.
    key: Option<String>,
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
    let client = socket.user();
    access.check_for_socket(&io, Action::Publish, &channel, client)?;
    let mut to = io.to(&channel);
    if let Some(user) = &client.user {
        to = to.publisher(Arc::clone(&user.sub));
    }
    if options.volatile == Some(true) {
        to = to.volatile();
    }
    if let Some(key) = options.key {
        to = to.key(key);
    }
    let data = data.as_deref().unwrap_or(RawValue::NULL);
    answer(to.emit(&name, Raw::new(data, event.attachments()))).await
}

/// The answer to a publish, once it is kept.
pub(super) async fn answer(emitted: Emitted) -> Result<Answer> {
    let receipt = emitted.receipt().await?;
    Ok(Answer {
        ok: true,
        id: receipt.map(|receipt| receipt.id),
        duplicate: receipt.is_some_and(|receipt| receipt.duplicate),
    })
}

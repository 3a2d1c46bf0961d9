//! The events of `[hooks]`: the back end answers them, and says what is published then.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use tidings::{Broadcast, Emitted, Event, Io, Raw, Result, Socket};

use crate::client::Client;
use crate::hooks::{self, Draft, Hooks};

/// The answer.
#[derive(Serialize)]
pub(super) struct Answer {
    ok: bool,
    /// What the back end replied, as it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

/// Asks the back end. The client's further events wait meanwhile.
pub(super) async fn ask(
    hooks: &Hooks,
    socket: &Socket<Client>,
    io: &Io,
    event: &Event,
    attachments_max: usize,
) -> Result<Answer> {
    let client = socket.user();
    let Some(visit) = client.visit.as_ref().filter(|_| hooks.answer_event(event.name())) else {
        return Err(super::other::unknown());
    };
    let values: Vec<Box<RawValue>> = event.args()?;
    let args = values.iter().map(|value| in_json(value, event));
    let args = args.collect::<Result<Vec<_>>>()?;
    let reply = hooks
        .event(visit, client.claims().as_deref(), event.name(), &args)
        .await?;
    // All are looked at before the first is published.
    let drafts = reply.publish.into_iter().map(|draft| {
        let data = draft.data.as_deref().unwrap_or(RawValue::NULL);
        let data = Raw::from_json(data.get(), attachments_max)?;
        let to = audience(client, io, &draft);
        to.check(&draft.event, &data)?;
        Ok((to, draft, data))
    });
    // What is wrong with them is not the client's to mend.
    let drafts = drafts.collect::<Result<Vec<_>>>().map_err(|error| {
        tracing::warn!(%error, "the back end's answer has an event that can't be published");
        hooks::unavailable()
    })?;
    let published: Vec<Emitted> = drafts
        .into_iter()
        .map(|(to, draft, data)| to.emit(&draft.event, data))
        .collect();
    for emitted in published {
        emitted.receipt().await?;
    }
    Ok(Answer {
        ok: true,
        data: reply.reply,
    })
}

/// An argument as it was sent, with its bytes in it.
fn in_json(value: &RawValue, event: &Event) -> Result<Box<RawValue>> {
    let raw = Raw::new(value, event.attachments());
    Ok(RawValue::from_string(raw.to_json().into_owned())?)
}

/// Whom it goes to, as the client's user's. It need not be allowed to publish: the back end is trusted.
fn audience(client: &Client, io: &Io, draft: &Draft) -> Broadcast {
    let mut to = io.to(&draft.channel);
    if let Some(user) = &client.user {
        to = to.publisher(Arc::clone(&user.sub));
    }
    if let Some(key) = &draft.key {
        to = to.key(key.as_str());
    }
    to
}

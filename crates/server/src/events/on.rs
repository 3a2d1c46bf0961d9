//! The events of `[[on]]`: a client's event is published to a channel, as the client's user, without a back end.

use std::sync::Arc;

use serde_json::value::RawValue;
use tidings::{Event, Io, Raw, Result, Socket};

use super::arguments::Arguments;
use super::publish::{Answer, answer};
use crate::access::Access;
use crate::client::Client;
use crate::on::On;
use crate::rules::Action;

/// Publishes the first argument, under the event's own name. The client must be allowed to publish there.
pub(super) async fn publish(
    rule: &On,
    socket: &Socket<Client>,
    io: &Io,
    access: &Access,
    event: &Event,
    mut arguments: Arguments,
) -> Result<Answer> {
    let data = arguments.next_raw();
    arguments.end()?;
    let data = data.as_deref().unwrap_or(RawValue::NULL);
    let client = socket.user();
    let sub = client.user.as_ref().map(|user| &user.sub);
    let fill = |template: &crate::template::Template| template.fill(data, sub.map(|sub| &**sub));
    let channel = fill(&rule.to)?;
    access.check_for_socket(io, Action::Publish, &channel, client)?;
    let mut to = io.to(&channel);
    if let Some(sub) = sub {
        to = to.publisher(Arc::clone(sub));
    }
    if rule.volatile {
        to = to.volatile();
    }
    if let Some(key) = &rule.key {
        to = to.key(fill(key)?);
    }
    answer(to.emit(event.name(), Raw::new(data, event.attachments()))).await
}

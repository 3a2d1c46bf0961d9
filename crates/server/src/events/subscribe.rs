//! `subscribe` (channel or list of channels): from now on the client gets what is published there.

use std::sync::Arc;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use tidings::{Code, Error, EventId, Io, Result, Socket, State};

use super::Channels;
use super::arguments::Arguments;
use crate::access::Access;
use crate::client::Client;
use crate::rules::Action;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    since: Option<IgnoredAny>,
}

/// The answer.
#[derive(Serialize)]
pub(super) struct Subscribed {
    ok: bool,
    /// What is published after this event reaches the client.
    cursor: EventId,
}

/// All of the channels, or none when one of them is forbidden or too many.
pub(super) async fn subscribe(
    socket: Socket<Client>,
    io: Io,
    State(access): State<Arc<Access>>,
    mut arguments: Arguments,
) -> Result<Subscribed> {
    let channels = arguments.next::<Channels>(Channels::EXPECTED)?.into_list();
    let options: Options = arguments.options()?;
    if options.since.is_some() {
        return Err(Error::new(
            "`since` comes with a later version: this one can't replay what was missed",
        ));
    }
    let client = socket.user();
    let decisions = channels
        .iter()
        .map(|channel| access.check_for_socket(&io, Action::Subscribe, channel, client.claims()))
        .collect::<Result<Vec<_>>>()?;
    if !client
        .subscriptions
        .lock()
        .have_room_for(&channels, access.subscriptions_max)
    {
        let message = format!("a client may have {} subscriptions", access.subscriptions_max);
        return Err(Error::coded(Code::TooManyChannels, message));
    }
    // Before the first join: what is published in between comes after it.
    let cursor = io.cursor();
    for (channel, decision) in channels.iter().zip(decisions) {
        let present = client.user.as_ref().filter(|_| decision.presence);
        if !client.subscriptions.lock().add(channel, present.is_some()) {
            continue;
        }
        socket.try_join(channel)?;
        if let Some(user) = present {
            io.presence().enter(channel, &user.sub, user.info.clone())?;
        }
    }
    Ok(Subscribed { ok: true, cursor })
}

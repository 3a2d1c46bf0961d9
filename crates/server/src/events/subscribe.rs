//! `subscribe` (channel or list of channels, options): from now on the client gets what is published there, and with
//! `since` first what was published after that event.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings::{Code, Error, EventId, Io, Result, Socket, State};

use super::arguments::Arguments;
use super::{Channels, parse_id};
use crate::access::Access;
use crate::client::Client;
use crate::rules::Action;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The last id that the client has seen, on whatever transport.
    since: Option<String>,
}

/// The answer.
#[derive(Serialize)]
pub(super) struct Subscribed {
    ok: bool,
    /// What is published after this event reaches the client: `since` where it is known, else the newest event.
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
    if channels.is_empty() {
        return Err(Error::new("name a channel, or several"));
    }
    let options: Options = arguments.options()?;
    let since = options.since.as_deref().map(parse_id).transpose()?;
    let client = socket.user();
    let decisions = channels
        .iter()
        .map(|channel| access.check_for_socket(&io, Action::Subscribe, channel, client))
        .collect::<Result<Vec<_>>>()?;
    if !client
        .subscriptions
        .lock()
        .have_room_for(&channels, access.subscriptions_max)
    {
        let message = format!("a client may have {} subscriptions", access.subscriptions_max);
        return Err(Error::coded(Code::TooManyChannels, message));
    }
    let names: Vec<&str> = channels.iter().map(String::as_str).collect();
    access.ask_to_subscribe(client, &names).await?;
    // Where the client stands: what is kept by now is before it.
    let tail = io.cursor();
    let mut new = Vec::new();
    for (channel, decision) in channels.iter().zip(decisions) {
        let present = client.user.as_ref().filter(|_| decision.presence);
        if !client.subscriptions.lock().add(channel, present.is_some()) {
            continue;
        }
        new.push(channel);
        if let Some(user) = present {
            io.presence().enter(channel, &user.sub, client.info())?;
        }
    }
    let cursor = match since {
        Some(since) => socket.join_since(&channels, since)?,
        // Not `join`, which begins with what is published from now on: what is being written to the disk right now comes
        // after the cursor too.
        None if !new.is_empty() => socket.join_since(&new, tail)?,
        None => tail,
    };
    Ok(Subscribed { ok: true, cursor })
}

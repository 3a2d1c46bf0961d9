//! `unsubscribe` (channel or list of channels): the client gets nothing more from there.

use serde::Serialize;
use tidings::{Io, Result, Socket};

use super::Channels;
use super::arguments::Arguments;
use crate::access::check_name;
use crate::client::Client;

/// The answer.
#[derive(Serialize)]
pub(super) struct Unsubscribed {
    ok: bool,
}

/// Channels that the client is not subscribed to are nothing to complain about.
pub(super) async fn unsubscribe(socket: Socket<Client>, io: Io, mut arguments: Arguments) -> Result<Unsubscribed> {
    let channels = arguments.next::<Channels>(Channels::EXPECTED)?.into_list();
    arguments.end()?;
    channels.iter().try_for_each(|channel| check_name(channel))?;
    for channel in &channels {
        end_subscription(&socket, &io, channel);
    }
    Ok(Unsubscribed { ok: true })
}

/// Nothing more comes to the client from there, and it is no more present in it.
pub(super) fn end_subscription(socket: &Socket<Client>, io: &Io, channel: &str) {
    let client = socket.user();
    let Some(was_present) = client.subscriptions.lock().remove(channel) else {
        return;
    };
    socket.leave(channel);
    if let Some(user) = client.user.as_ref().filter(|_| was_present) {
        io.presence().leave(channel, &user.sub);
    }
}

//! `unsubscribe` (channel or list of channels): the client gets nothing more from there.

use serde::Serialize;
use tidings::{Result, Socket};

use super::Channels;
use super::arguments::Arguments;
use crate::access::check_name;
use crate::client::{Client, take_out_of};

/// The answer.
#[derive(Serialize)]
pub(super) struct Unsubscribed {
    ok: bool,
}

/// Channels that the client is not subscribed to are nothing to complain about.
pub(super) async fn unsubscribe(socket: Socket<Client>, mut arguments: Arguments) -> Result<Unsubscribed> {
    let channels = arguments.next::<Channels>(Channels::EXPECTED)?.into_list();
    arguments.end()?;
    channels.iter().try_for_each(|channel| check_name(channel))?;
    for channel in &channels {
        take_out_of(&socket, channel);
    }
    Ok(Unsubscribed { ok: true })
}

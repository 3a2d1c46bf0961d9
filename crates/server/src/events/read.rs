//! `read` (channel, id): the user has read the channel up to this event, on all devices.

use std::sync::Arc;

use tidings::{Io, Result, Socket, State};

use super::arguments::Arguments;
use super::parse_id;
use super::unread::{Answer, user_of};
use crate::access::Access;
use crate::client::Client;
use crate::rules::Action;

/// Who may read a channel's history may mark it.
pub(super) async fn read(
    socket: Socket<Client>,
    io: Io,
    State(access): State<Arc<Access>>,
    mut arguments: Arguments,
) -> Result<Answer> {
    let channel: String = arguments.next("a channel's name")?;
    let id: String = arguments.next("the id of the last event that was read")?;
    arguments.end()?;
    let user = user_of(&socket)?;
    access.check_for_socket(&io, Action::History, &channel, socket.user())?;
    access.ask_to_read(socket.user(), &channel).await?;
    let unread = io.inbox().read(&user, &channel, parse_id(&id)?).await?;
    Ok(Answer::of(unread))
}

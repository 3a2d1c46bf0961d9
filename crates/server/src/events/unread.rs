//! `unread` (channel): how many events the user has not read there, and up to which it has.

use std::sync::Arc;

use serde::Serialize;
use tidings::{Error, Io, Result, Socket, State, Unread};

use super::arguments::Arguments;
use crate::access::Access;
use crate::client::Client;
use crate::rules::Action;

/// The answer, to `read` too.
#[derive(Serialize)]
pub(super) struct Answer {
    ok: bool,
    #[serde(flatten)]
    unread: Unread,
}

impl Answer {
    pub(super) fn of(unread: Unread) -> Self {
        Self { ok: true, unread }
    }
}

/// Who may read a channel's history may ask.
pub(super) async fn unread(
    socket: Socket<Client>,
    io: Io,
    State(access): State<Arc<Access>>,
    mut arguments: Arguments,
) -> Result<Answer> {
    let channel: String = arguments.next("a channel's name")?;
    arguments.end()?;
    let user = user_of(&socket)?;
    access.check_for_socket(&io, Action::History, &channel, socket.user())?;
    access.ask_to_read(socket.user(), &channel).await?;
    Ok(Answer::of(io.inbox().unread(&user, &channel).await?))
}

/// Whose marks they are.
///
/// # Errors
/// `unauthenticated` for who came without a token.
pub(super) fn user_of(socket: &Socket<Client>) -> Result<Arc<str>> {
    let user = socket.user().user.as_ref().map(|user| Arc::clone(&user.sub));
    user.ok_or_else(|| {
        Error::unauthenticated("what is read is kept for users, and this connection has none: connect with a token")
    })
}

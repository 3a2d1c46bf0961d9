//! `presence` (channel): who is there, in the order of their names, a page at a time.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings::{Error, Io, PresentUser, Result, Socket, State};

use super::arguments::Arguments;
use crate::access::Access;
use crate::client::Client;
use crate::rules::Action;

/// Users on a page unless the client says how many.
pub(crate) const USERS: usize = 100;

/// Users on a page at the most.
pub(crate) const USERS_MAX: usize = 1_000;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Begins after this user.
    after: Option<String>,
    limit: Option<usize>,
}

/// The answer.
#[derive(Serialize)]
pub(super) struct Page {
    ok: bool,
    users: Vec<PresentUser>,
    /// How many there are in all.
    count: usize,
}

/// Who may subscribe may see who is there, where the channel's rule keeps it.
pub(super) async fn presence(
    socket: Socket<Client>,
    io: Io,
    State(access): State<Arc<Access>>,
    mut arguments: Arguments,
) -> Result<Page> {
    let channel: String = arguments.next("a channel's name")?;
    let options: Options = arguments.options()?;
    let limit = options.limit.unwrap_or(USERS);
    if !(1..=USERS_MAX).contains(&limit) {
        return Err(Error::new(format!("`limit` is a number from 1 to {USERS_MAX}")));
    }
    access.check_for_socket(&io, Action::Presence, &channel, socket.user())?;
    access.ask_to_read(socket.user(), &channel).await?;
    let page = io.presence().users(&channel, options.after.as_deref(), limit);
    Ok(Page {
        ok: true,
        users: page.users,
        count: page.count,
    })
}

//! `history` (channel, options): what the channel retains, a page at a time, the newest without `before` and `after`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings::{Error, Io, Published, Result, Socket, State};

use super::arguments::Arguments;
use super::parse_id;
use crate::access::Access;
use crate::api::history::{EVENTS, EVENTS_MAX};
use crate::client::Client;
use crate::rules::Action;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Events before this one.
    before: Option<String>,
    /// Events after this one.
    after: Option<String>,
    limit: Option<usize>,
}

/// The answer.
#[derive(Serialize)]
pub(super) struct Page {
    ok: bool,
    /// Oldest first.
    events: Vec<Published>,
    /// There is more in the direction that was asked for.
    more: bool,
}

/// Who may subscribe may read it.
pub(super) async fn history(
    socket: Socket<Client>,
    io: Io,
    State(access): State<Arc<Access>>,
    mut arguments: Arguments,
) -> Result<Page> {
    let channel: String = arguments.next("a channel's name")?;
    let options: Options = arguments.options()?;
    access.check_for_socket(&io, Action::History, &channel, socket.user())?;
    let limit = options.limit.unwrap_or(EVENTS);
    if !(1..=EVENTS_MAX).contains(&limit) {
        return Err(Error::new(format!("`limit` is a number from 1 to {EVENTS_MAX}")));
    }
    let mut query = io.history(&channel).limit(limit);
    if let Some(before) = &options.before {
        query = query.before(parse_id(before)?);
    }
    if let Some(after) = &options.after {
        query = query.after(parse_id(after)?);
    }
    access.ask_to_read(socket.user(), &channel).await?;
    let page = query.await?;
    Ok(Page {
        ok: true,
        events: page.events,
        more: page.more,
    })
}

//! `auth` (a token): a fresh one before the old one ends, so that the client need not come again.

use std::sync::Arc;

use serde::Serialize;
use tidings::{Error, Result, Socket, State};

use super::arguments::Arguments;
use crate::access::Access;
use crate::client::{Client, Credential, Door, show_again, take_out_of};
use crate::rules::Action;

/// The answer.
#[derive(Serialize)]
pub(super) struct Renewed {
    ok: bool,
    /// Subscriptions that the new token does not grant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ended: Vec<Box<str>>,
}

/// From now on the new token holds. Subscriptions that it does not grant end. One that is refused changes nothing: the old one
/// holds until its end.
pub(super) async fn auth(
    socket: Socket<Client>,
    State(access): State<Arc<Access>>,
    State(door): State<Arc<Door>>,
    mut arguments: Arguments,
) -> Result<Renewed> {
    let token: String = arguments.next("a token")?;
    arguments.end()?;
    let client = socket.user();
    let claims = door.claims(&token).await?;
    if client.user.is_none() {
        return Err(Error::unauthenticated(
            "this socket came without a token, and stays nobody's; open a new connection with the token",
        ));
    }
    let Some(user) = client.user.as_ref().filter(|user| *user.sub == *claims.sub) else {
        return Err(Error::unauthenticated(
            "the token is another user's; open a new connection for it",
        ));
    };
    let end = claims.end();
    user.renew(Credential::of(claims)?);
    socket.expires_at(end);
    let channels = client.subscriptions.lock().channels().into_iter();
    let mut ended: Vec<Box<str>> = channels
        .filter(|channel| access.check_client(Action::Subscribe, channel, client).is_err())
        .collect();
    ended.sort_unstable();
    for channel in &ended {
        take_out_of(&socket, channel);
    }
    show_again(&socket);
    Ok(Renewed { ok: true, ended })
}

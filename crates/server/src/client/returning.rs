//! A client that comes back to its session: the back end is asked again about the rooms that it finds itself in.

use tidings::{Code, Result, Socket};

use super::Client;
use crate::access::Access;
use crate::rules::Action;

/// Takes the client out of the rooms that the back end no longer lets it into.
///
/// # Errors
/// `unavailable` when the back end does not answer: the client comes again, and its session waits.
pub(super) async fn ask_again(access: &Access, socket: &Socket<Client>) -> Result<()> {
    let client = socket.user();
    let rooms: Vec<String> = socket.rooms().into_iter().filter(|room| *room != socket.id()).collect();
    let names: Vec<&str> = rooms.iter().map(String::as_str).collect();
    // Of all at once, since that is the usual answer; which of them it is not has to be asked one by one.
    if is_refused(access.ask_to_subscribe(client, &names).await)? {
        for name in names {
            if is_refused(access.ask_to_subscribe(client, &[name]).await)? {
                socket.leave(name);
            }
        }
    }
    Ok(())
}

/// The same of the rooms that it may no longer be in since they were looked at, as when its user was taken out meanwhile.
pub(super) fn check_again(access: &Access, socket: &Socket<Client>) {
    let client = socket.user();
    for room in socket.rooms().into_iter().filter(|room| *room != socket.id()) {
        if access.check_client(Action::Subscribe, &room, client).is_err() {
            socket.leave(&room);
        }
    }
}

fn is_refused(outcome: Result<()>) -> Result<bool> {
    match outcome {
        Ok(()) => Ok(false),
        Err(error) if error.code() == Code::Forbidden.as_str() => Ok(true),
        Err(error) => Err(error),
    }
}

//! May this client do that there? The rules, the names of channels, and what a refusal says.

use tidings::{CHANNEL_BYTES_MAX, Code, Error, Io, Result};

use crate::rules::{Action, Decision, Rules, is_channel_name};
use crate::token::Claims;

/// What clients may do.
pub(crate) struct Access {
    /// Who may do what in which channel.
    pub(crate) rules: Rules,
    /// Subscriptions that one client may ask for; 0 is no limit.
    pub(crate) subscriptions_max: usize,
}

impl Access {
    /// What the rules say of a channel that `user` (none: an anonymous client) may do `action` in.
    ///
    /// # Errors
    /// `invalid_channel` when no channel can have that name, else `forbidden`, for what does not exist too.
    pub(crate) fn check(&self, io: &Io, action: Action, channel: &str, user: Option<&Claims>) -> Result<Decision> {
        check_name(channel)?;
        let decision = self.rules.decide(action, channel, user);
        // A socket's own room is where answers meant for it alone arrive.
        if decision.allowed && !io.is_socket_id(channel) {
            Ok(decision)
        } else {
            Err(forbidden(action, channel))
        }
    }
}

/// Whether clients can name such a channel.
///
/// # Errors
/// `invalid_channel` when they can't.
pub(crate) fn check_name(channel: &str) -> Result<()> {
    if is_channel_name(channel) {
        return Ok(());
    }
    let message =
        format!("a channel's name has 1 to {CHANNEL_BYTES_MAX} bytes, no control characters and no `/` in front");
    Err(Error::coded(Code::InvalidChannel, message))
}

fn forbidden(action: Action, channel: &str) -> Error {
    let what = match action {
        Action::Subscribe => "subscribe to",
        Action::Publish => "publish to",
        Action::Presence => "see who is in",
    };
    Error::forbidden(format!("you may not {what} {channel:?}"))
}

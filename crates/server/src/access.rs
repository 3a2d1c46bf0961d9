//! May this client do that there? The rules, the names of channels, and what a refusal says.

use std::collections::HashMap;
use std::sync::Arc;

use tidings::{CHANNEL_BYTES_MAX, Code, Error, Io, Pacing, Result};

use crate::client::Client;
use crate::config::Config;
use crate::hooks::Hooks;
use crate::on::On;
use crate::rules::{Action, Decision, Paces, Rules, is_channel_name};
use crate::swap::Swap;
use crate::token::Claims;

/// What clients may do.
pub(crate) struct Access {
    /// Who may do what in which channel.
    rules: Swap<Rules>,
    paces: Swap<Paces>,
    /// What clients' events do, by name.
    on: Swap<HashMap<String, Arc<On>>>,
    /// Subscriptions that one client may ask for; 0 is no limit.
    pub(crate) subscriptions_max: usize,
    /// The back end, which is asked too.
    pub(crate) hooks: Option<Arc<Hooks>>,
}

impl Access {
    /// That of a configuration.
    pub(crate) fn new(config: &Config, hooks: Option<Arc<Hooks>>) -> Self {
        Self {
            rules: Swap::new(config.rules.clone()),
            paces: Swap::new(config.rules.paces()),
            on: Swap::new(by_event(&config.on)),
            subscriptions_max: config.limits.subscriptions,
            hooks,
        }
    }

    /// Takes over what another configuration says. Who is subscribed stays so.
    pub(crate) fn follow(&self, config: &Config) {
        self.paces.set(config.rules.paces());
        self.rules.set(config.rules.clone());
        self.on.set(by_event(&config.on));
    }

    /// The rules as they are now.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        self.rules.get()
    }

    /// How often what is published in a channel is passed on.
    pub(crate) fn pacing(&self, channel: &str) -> Option<Pacing> {
        self.paces.get().of(channel)
    }

    /// What an event of a client does by itself.
    pub(crate) fn on(&self, event: &str) -> Option<Arc<On>> {
        self.on.get().get(event).cloned()
    }

    /// What the rules say of a channel that `user` (none: an anonymous client) may do `action` in.
    ///
    /// # Errors
    /// `invalid_channel` when no channel can have that name, else `forbidden`, for what does not exist too. Presence that
    /// is not kept is `not_found` for who may subscribe, and `forbidden` for everybody else.
    pub(crate) fn check(&self, action: Action, channel: &str, user: Option<&Claims>) -> Result<Decision> {
        check_name(channel)?;
        let decision = self.rules().decide(action, channel, user);
        if decision.allowed {
            return Ok(decision);
        }
        if action == Action::Presence && self.rules().decide(Action::Subscribe, channel, user).allowed {
            return Err(no_presence(channel));
        }
        Err(forbidden(action, channel))
    }

    /// As [`Access::check`] for a client, which may also read what the back end put it into.
    ///
    /// # Errors
    /// As [`Access::check`].
    pub(crate) fn check_client(&self, action: Action, channel: &str, client: &Client) -> Result<Decision> {
        let claims = client.claims();
        let checked = self.check(action, channel, claims.as_deref());
        if checked.is_ok() || !client.is_granted(channel) {
            return checked;
        }
        let Decision { presence, .. } = self.rules().decide(action, channel, claims.as_deref());
        match action {
            Action::Subscribe | Action::History => Ok(Decision {
                allowed: true,
                presence,
            }),
            Action::Presence if presence => Ok(Decision {
                allowed: true,
                presence,
            }),
            Action::Presence | Action::Publish => checked,
        }
    }

    /// As [`Access::check_client`], where the library does not see to it that nobody gets into a socket's own room, in which
    /// answers meant for it alone arrive.
    ///
    /// # Errors
    /// As [`Access::check`].
    pub(crate) fn check_for_socket(&self, io: &Io, action: Action, channel: &str, client: &Client) -> Result<Decision> {
        if io.is_socket_id(channel) {
            return Err(forbidden(action, channel));
        }
        self.check_client(action, channel, client)
    }

    /// Asks the back end, where it has a word in that, whether a client may subscribe to channels that the rules allow it.
    ///
    /// # Errors
    /// `forbidden` when it may not; `unavailable` when the back end does not answer.
    pub(crate) async fn ask_to_subscribe(&self, client: &Client, channels: &[&str]) -> Result<()> {
        match (&self.hooks, &client.visit) {
            (Some(hooks), Some(visit)) => {
                // What it was put into it was asked for once.
                let asked_for: Vec<&str> = channels
                    .iter()
                    .copied()
                    .filter(|channel| !client.is_granted(channel))
                    .collect();
                hooks.may_subscribe(visit, client.claims().as_deref(), &asked_for).await
            }
            _ => Ok(()),
        }
    }

    /// The same for seeing what is in a channel, and what was. Who is subscribed was asked about.
    ///
    /// # Errors
    /// As [`Access::ask_to_subscribe`].
    pub(crate) async fn ask_to_read(&self, client: &Client, channel: &str) -> Result<()> {
        match (&self.hooks, &client.visit) {
            (Some(hooks), Some(visit)) if !client.subscriptions.lock().has(channel) && !client.is_granted(channel) => {
                hooks.may_read(visit, client.claims().as_deref(), channel).await
            }
            _ => Ok(()),
        }
    }
}

fn by_event(rules: &[On]) -> HashMap<String, Arc<On>> {
    let named = rules.iter().map(|on| (on.event.clone(), Arc::new(on.clone())));
    named.collect()
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

pub(crate) fn no_presence(channel: &str) -> Error {
    Error::coded(
        Code::NotFound,
        format!("{channel:?} does not keep who is there: its rule has no `presence = true`"),
    )
}

/// What is said to who may not do that there.
pub(crate) fn forbidden(action: Action, channel: &str) -> Error {
    let what = match action {
        Action::Subscribe => "subscribe to",
        Action::History => "read the history of",
        Action::Publish => "publish to",
        Action::Presence => "see who is in",
    };
    Error::forbidden(format!("you may not {what} {channel:?}"))
}

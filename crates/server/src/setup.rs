//! The configuration, as the library takes it.

use std::sync::Arc;
use std::time::Duration;

use tidings::{Io, Recovery, Retention, Tidings};

use crate::access::Access;
use crate::api::Api;
use crate::client::{self, Door};
use crate::config::{Config, Limits};
use crate::events;
use crate::hooks::Hooks;
use crate::members::Members;
use crate::reload::Live;
use crate::revocations::Revocations;
use crate::rules::History;
use crate::token::KeySet;

/// The server, its API, and what of both follows the configuration. `keys` are those of the configuration's `jwks`, `hooks` those that were started.
///
/// # Errors
/// When the store can't be opened, or the system has no thread or file descriptor left.
pub(crate) fn server(
    config: &Config,
    keys: Option<Arc<KeySet>>,
    hooks: Option<Arc<Hooks>>,
) -> anyhow::Result<(Io, Arc<Api>, Live)> {
    let access = Arc::new(Access::new(config, hooks.clone()));
    let revocations = Arc::new(Revocations::default());
    let members = Arc::new(Members::default());
    let door = Door::new(
        config,
        keys,
        Arc::clone(&revocations),
        Arc::clone(&members),
        hooks.clone(),
    );
    let door = Arc::new(door);
    let limits = limits(&config.limits);
    let attachments_max = limits.attachments;
    let mut builder = Tidings::builder()
        .origin_setting("allowed_origins")
        .limits(limits)
        .handshake_timeout(config.limits.handshake)
        .with_metadata()
        .recovery(Recovery::default().window(session(&config.limits)))
        .report_errors(true)
        .forget_headers()
        .state(Arc::clone(&access))
        .state(Arc::clone(&door));
    for origin in &config.allowed_origins {
        builder = builder.allowed_origin(origin);
    }
    for network in &config.trusted_proxies {
        builder = builder.trusted_proxy(network.address(), network.prefix_bits());
    }
    if let Some(cookie) = &config.auth.cookie {
        builder = builder.token_cookie(cookie.as_str());
    }
    if config.dev {
        builder = builder.loopback_only();
    }
    if let Some(folder) = &config.data {
        let access = Arc::clone(&access);
        builder = builder
            .store(folder)
            .durability(config.durability)
            .history(move |channel| access.rules().history(channel).map(retention));
    }
    let (pacing, slow) = (Arc::clone(&access), Arc::clone(&access));
    builder = builder
        .pacing(move |channel| pacing.pacing(channel))
        .slow(move |channel| slow.rules().slow(channel));
    let io = builder.try_build()?;
    if let Some(folder) = &config.data {
        // Only now: the store has seen to it that nobody else uses the folder.
        revocations.keep_in(folder)?;
        members.keep_in(folder)?;
    }
    client::register(&io, &door, &access);
    events::register(&io, attachments_max);
    io.on_error(|socket, error| match error.source() {
        Some(_) => tracing::error!(socket, %error, "an event could not be handled"),
        None => tracing::debug!(socket, %error, "an event was refused"),
    });
    let api = Arc::new(Api::new(config, &io, &door, &access, revocations, members));
    let live = Live {
        io: io.clone(),
        access,
        door,
        api: Arc::clone(&api),
    };
    Ok((io, api, live))
}

/// How long a session waits for its client. The library holds so many at the most, also where that is without a limit.
fn session(limits: &Limits) -> Duration {
    const LONGEST: Duration = Duration::from_secs(365 * 24 * 3_600);
    match limits.session {
        Duration::ZERO => LONGEST,
        time => time,
    }
}

fn retention(history: History) -> Retention {
    let mut retention = Retention::new();
    if let Some(events) = history.keep {
        retention = retention.keep(events);
    }
    if let Some(time) = history.time {
        retention = retention.time(time);
    }
    if let Some(bytes) = history.bytes {
        retention = retention.bytes(bytes);
    }
    retention
}

/// Where zero means no limit and the library has no word for that, there is a number that nobody reaches.
fn limits(config: &Limits) -> tidings::Limits {
    const NONE: usize = i32::MAX as usize;
    let or_none = |limit: usize| if limit == 0 { NONE } else { limit };
    let mut limits = tidings::Limits::default();
    limits.message_bytes = or_none(config.message_bytes);
    limits.messages_per_second = config.messages_per_second;
    limits.messages_burst = match config.messages_burst {
        0 => u32::MAX,
        burst => burst,
    };
    limits.outbox_bytes = or_none(config.outbox_bytes);
    limits.attachments = or_none(config.attachments);
    limits.subscriptions = config.subscriptions;
    limits.connections = config.connections;
    limits.connections_per_ip = config.connections_per_ip;
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_no_limit() {
        let none = Limits {
            message_bytes: 0,
            messages_per_second: 0,
            messages_burst: 0,
            outbox_bytes: 0,
            attachments: 0,
            session: Duration::ZERO,
            ..Limits::default()
        };
        assert!(session(&none) > Duration::from_secs(24 * 3_600));
        assert_eq!(session(&Limits::default()), Duration::from_secs(120));
        let limits = limits(&none);
        assert!(limits.message_bytes > 1 << 30 && limits.outbox_bytes > 1 << 30 && limits.attachments > 1 << 30);
        assert_eq!((limits.messages_per_second, limits.messages_burst), (0, u32::MAX));
    }
}

//! SIGHUP: the configuration is read again, and what can change while the server runs is changed. Nobody is dropped. One that is
//! wrong changes nothing.

use std::sync::Arc;

use tidings::Io;

use crate::access::Access;
use crate::api::Api;
use crate::client::Door;
use crate::config::{Auth, Config, Sources};
use crate::console::Settings;
use crate::swap::Swap;

/// The parts of a server that follow its configuration.
pub(crate) struct Live {
    pub(crate) io: Io,
    pub(crate) access: Arc<Access>,
    pub(crate) door: Arc<Door>,
    pub(crate) api: Arc<Api>,
}

/// Reads the configuration again.
pub(crate) struct Reload {
    sources: Sources,
    /// That with which the server was started.
    first: Config,
    live: Live,
    /// What the console shows.
    shown: Arc<Swap<Settings>>,
}

impl Reload {
    pub(crate) fn new(sources: Sources, first: Config, live: Live, shown: Arc<Swap<Settings>>) -> Self {
        Self {
            sources,
            first,
            live,
            shown,
        }
    }

    /// Does so. May wait for the disk.
    pub(crate) fn run(&self) {
        if self.first.dev {
            tracing::warn!("SIGHUP: with --dev the configuration stays as it is; start the server again");
            return;
        }
        let config = match Config::load(&self.sources) {
            Ok(config) => config,
            Err(error) => {
                tracing::error!("SIGHUP: the configuration is wrong, and the one before stays in use:\n{error}");
                return;
            }
        };
        self.live.access.follow(&config);
        self.live.io.reconsider_channels();
        self.live.door.follow(&config);
        self.reload_tls(&config);
        let in_use = self.in_use(&config);
        self.live.api.follow(&in_use);
        self.shown.set(Settings::of(&in_use));
        let later: Vec<&str> = self.needs_restart(&config);
        if later.is_empty() {
            tracing::info!("SIGHUP: the configuration was read again");
        } else {
            tracing::warn!(keys = ?later, "SIGHUP: the configuration was read again; these take a new start");
        }
    }

    /// What is in use now: of the new configuration what could change, of the first the rest.
    fn in_use(&self, config: &Config) -> Config {
        let first = self.first.clone();
        let auth = Auth {
            cookie: first.auth.cookie.clone(),
            jwks: first.auth.jwks.clone(),
            ..config.auth.clone()
        };
        Config {
            rules: config.rules.clone(),
            on: config.on.clone(),
            api: config.api.clone(),
            given: config.given.clone(),
            auth,
            ..first
        }
    }

    fn reload_tls(&self, config: &Config) {
        if let (Some(tls), Some(_)) = (&self.first.tls, &config.tls)
            && let Err(error) = tls.reload()
        {
            tracing::error!(%error, "SIGHUP: the certificate can't be read, and the one before stays in use");
        }
    }

    /// The keys that have changed since the server was started, and can't change while it runs.
    fn needs_restart(&self, config: &Config) -> Vec<&'static str> {
        let (before, now) = (fixed(&self.first), fixed(config));
        let pairs = before.into_iter().zip(now);
        pairs
            .filter(|((_, before), (_, now))| before != now)
            .map(|((key, _), _)| key)
            .collect()
    }
}

/// What can't change, as text: secrets are not in it.
fn fixed(config: &Config) -> [(&'static str, String); 13] {
    let tls = config.tls.as_ref().map(|tls| format!("{tls:?}"));
    [
        ("listen", config.listen.to_string()),
        ("admin.listen", format!("{:?}", config.admin_listen)),
        ("admin.password", format!("{}", config.console_password.is_some())),
        ("drain", format!("{:?}", config.drain)),
        ("data", format!("{:?}", config.data)),
        ("durability", format!("{:?}", config.durability)),
        ("allowed_origins", format!("{:?}", config.allowed_origins)),
        ("trusted_proxies", format!("{:?}", config.trusted_proxies)),
        ("auth.cookie", format!("{:?}", config.auth.cookie)),
        ("auth.jwks", format!("{:?}", config.auth.jwks)),
        ("hooks", format!("{:?}", config.hooks)),
        ("limits", format!("{:?}", config.limits)),
        ("tls", tls.unwrap_or_default()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_a_new_start_is_named() {
        let of = |text: &str| {
            let text = format!("auth.hs256 = \"0123456789abcdef0123456789abcdef\"\n{text}");
            Config::of_text(&text).unwrap()
        };
        let changed = |text: &str| {
            let (before, now) = (fixed(&of("")), fixed(&of(text)));
            let pairs = before.into_iter().zip(now);
            pairs
                .filter(|(before, now)| before != now)
                .map(|(before, _)| before.0)
                .collect::<Vec<_>>()
        };
        assert!(changed("channels = [{ match = \"a\", subscribe = \"user\" }]").is_empty());
        assert_eq!(changed("listen = \"127.0.0.1:1\""), ["listen"]);
        assert_eq!(changed("limits.attachments = 3\ndrain = \"1s\""), ["drain", "limits"]);
        assert_eq!(changed("auth.cookie = \"c\""), ["auth.cookie"]);
    }
}

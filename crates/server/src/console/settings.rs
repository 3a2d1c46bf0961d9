//! `GET /console/api/config`: what is set, by whom, and what has its default. Of a secret it says whether there is one, and no more.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use tidings::{Durability, Edge, Slow};

use crate::config::{Auth, Config, Given, Limits};
use crate::hooks;
use crate::on::On;
use crate::rules::{By, Form, History, Pace, Policy, Rule};

/// All that can be set, in the order of `config example`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Settings {
    settings: Vec<Setting>,
}

#[derive(Debug, Clone, Serialize)]
struct Setting {
    /// As it stands in the file: `limits.session`, `channels.1` for the first of them.
    key: String,
    /// As text; none where it is not set and has no default.
    value: Option<String>,
    /// Where it was set; none where it has its default.
    source: Option<String>,
}

impl Settings {
    pub(crate) fn of(config: &Config) -> Self {
        // Each by its name: what the configuration gets and is not shown here does not compile.
        let Config {
            dev,
            listen,
            drain,
            allowed_origins,
            trusted_proxies,
            data,
            durability,
            auth,
            api,
            admin_listen,
            console_password,
            rules,
            on,
            hooks,
            limits,
            tls,
            given,
        } = config;
        let mut list = List {
            given,
            settings: Vec::new(),
        };
        list.add("listen", listen);
        list.add("drain", time(*drain));
        list.add_some("allowed_origins", words(allowed_origins));
        list.add_some("trusted_proxies", words(trusted_proxies));
        list.add_some("data", data.as_ref().map(|data| data.display()));
        let durability = match durability {
            Durability::Power => "power",
            _ if data.is_some() => "process",
            _ => "memory",
        };
        list.add("durability", durability);
        list.add_auth(auth);
        list.add_secret("api.key", api.key.is_some());
        for (at, key) in api.keys.iter().enumerate() {
            let scopes = words(key.scopes()).unwrap_or_default();
            list.add_numbered("api.keys", at, format!("{} · {scopes}", key.name()));
        }
        let admin = admin_listen
            .as_ref()
            .map_or_else(|| "off".to_owned(), SocketAddr::to_string);
        list.add("admin.listen", admin);
        list.add_secret("admin.password", console_password.is_some());
        for (at, of) in rules.iter().enumerate() {
            list.add_numbered("channels", at, format!("{} · {}", of.pattern, rule(of)));
        }
        for (at, on) in on.iter().enumerate() {
            list.add_numbered("on", at, event(on));
        }
        list.add_hooks(hooks.as_ref());
        list.add_limits(limits);
        list.add_secret("tls.cert", tls.is_some());
        list.add_secret("tls.key", tls.is_some());
        if *dev {
            list.settings.push(Setting {
                key: "--dev".to_owned(),
                value: Some("for trying out: this machine only".to_owned()),
                source: Some("--dev".to_owned()),
            });
        }
        Self {
            settings: list.settings,
        }
    }
}

struct List<'a> {
    given: &'a Given,
    settings: Vec<Setting>,
}

impl List<'_> {
    fn add(&mut self, key: &str, value: impl Display) {
        self.add_some(key, Some(value));
    }

    fn add_some(&mut self, key: &str, value: Option<impl Display>) {
        self.settings.push(Setting {
            key: key.to_owned(),
            value: value.map(|value| value.to_string()),
            source: self.given.at(key).map(ToString::to_string),
        });
    }

    fn add_secret(&mut self, key: &str, is_set: bool) {
        self.add(key, if is_set { "set" } else { "not set" });
    }

    /// One of a list, `at` from 0; people count from 1.
    fn add_numbered(&mut self, key: &str, at: usize, value: String) {
        self.settings.push(Setting {
            key: format!("{key}.{}", at + 1),
            value: Some(value),
            source: self.given.at(&format!("{key}.{at}")).map(ToString::to_string),
        });
    }

    fn add_auth(&mut self, auth: &Auth) {
        let Auth {
            secret,
            keys: _,
            jwks,
            audience,
            issuer,
            anonymous,
            cookie,
        } = auth;
        self.add_secret("auth.hs256", secret.is_some());
        for key in ["auth.rs256", "auth.es256", "auth.eddsa"] {
            self.add_secret(key, self.given.at(key).is_some());
        }
        // A URL is shown without its query, which may hold a key.
        self.add_some("auth.jwks", jwks.as_ref());
        self.add_some("auth.audience", words(audience));
        self.add_some("auth.issuer", words(issuer));
        self.add("auth.anonymous", anonymous);
        self.add_some("auth.cookie", cookie.as_ref());
    }

    fn add_hooks(&mut self, hooks: Option<&hooks::Settings>) {
        let Some(hooks) = hooks else {
            return self.add_some("hooks", None::<&str>);
        };
        let hooks::Settings {
            url,
            secret: _,
            connect,
            disconnect,
            subscribe,
            events,
            timeout,
        } = hooks;
        // Shown without its query, which may hold a key.
        self.add("hooks.url", url);
        self.add_secret("hooks.secret", true);
        self.add("hooks.connect", connect);
        self.add("hooks.disconnect", disconnect);
        self.add_some("hooks.subscribe", words(subscribe));
        self.add_some("hooks.events", words(events));
        self.add("hooks.timeout", time(*timeout));
    }

    fn add_limits(&mut self, limits: &Limits) {
        let Limits {
            message_bytes,
            messages_per_second,
            messages_burst,
            outbox_bytes,
            subscriptions,
            attachments,
            headers_bytes,
            handshake,
            session,
            connections,
            connections_per_ip,
            connections_per_user,
        } = limits;
        self.add("limits.message_bytes", message_bytes);
        self.add("limits.messages_per_second", messages_per_second);
        self.add("limits.messages_burst", messages_burst);
        self.add("limits.outbox_bytes", outbox_bytes);
        self.add("limits.subscriptions", subscriptions);
        self.add("limits.attachments", attachments);
        self.add("limits.headers_bytes", headers_bytes);
        self.add("limits.handshake", time(*handshake));
        self.add("limits.session", time(*session));
        self.add("limits.connections", connections);
        self.add("limits.connections_per_ip", connections_per_ip);
        self.add("limits.connections_per_user", connections_per_user);
    }
}

/// What a rule says of its channels, in a line.
pub(super) fn rule(rule: &Rule) -> String {
    let Rule {
        pattern: _,
        subscribe,
        publish,
        presence,
        history,
        pace,
        slow,
    } = rule;
    let mut parts = vec![
        format!("subscribe {}", name(*subscribe)),
        format!("publish {}", name(*publish)),
    ];
    parts.extend(presence.then(|| "presence".to_owned()));
    parts.extend(history.map(kept));
    parts.extend(pace.as_ref().map(paced));
    match slow {
        Slow::Close => parts.push("slow close".to_owned()),
        Slow::Drop => parts.push("slow drop".to_owned()),
        _ => {}
    }
    parts.join(" · ")
}

fn kept(history: History) -> String {
    let History { keep, time: age, bytes } = history;
    let bounds = [
        keep.map(|events| format!("{events} events")),
        age.map(|age| format!("for {}", time(age))),
        bytes.map(|bytes| format!("{bytes} bytes")),
    ];
    let bounds: Vec<String> = bounds.into_iter().flatten().collect();
    format!("history {}", bounds.join(", "))
}

fn paced(pace: &Pace) -> String {
    let Pace { form, every, by } = pace;
    let form = match form {
        Form::Conflate { keep } => match keep {
            Some(keep) => format!("conflate, kept {},", time(*keep)),
            None => "conflate".to_owned(),
        },
        Form::Throttle { edge: Edge::Leading } => "throttle, leading,".to_owned(),
        Form::Throttle { edge: Edge::Trailing } => "throttle, trailing,".to_owned(),
        Form::Throttle { .. } => "throttle".to_owned(),
        Form::Debounce => "debounce".to_owned(),
    };
    let by = match by {
        None => String::new(),
        Some(By::Event) => " by event".to_owned(),
        Some(By::Field(field)) => format!(" by {field}"),
    };
    format!("{form} {}{by}", time(*every))
}

fn event(on: &On) -> String {
    let On {
        event,
        to,
        key,
        volatile,
    } = on;
    let key = key.as_ref().map_or_else(String::new, |key| format!(" · key {key}"));
    let volatile = if *volatile { " · volatile" } else { "" };
    format!("{event} · to {to}{key}{volatile}")
}

fn name(policy: Policy) -> &'static str {
    let named = Policy::ALL.into_iter().find(|(_, known)| *known == policy);
    named.map_or("nobody", |(name, _)| name)
}

fn time(time: Duration) -> String {
    match time {
        Duration::ZERO => "0".to_owned(),
        time => humantime::format_duration(time).to_string(),
    }
}

/// Several in one line; none where there is none.
fn words<T: Display>(list: &[T]) -> Option<String> {
    let words: Vec<String> = list.iter().map(ToString::to_string).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Sources};

    const MARK: &str = "s3cret";

    /// Everything that can be a secret, with a mark in it, and the rest of what can be set.
    fn settings() -> Settings {
        let folder = std::env::temp_dir().join(format!("tidings-console-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let secret = |end: &str| format!("{MARK}-0123456789abcdef0123456789-{end}");
        std::fs::write(folder.join("password"), secret("password")).unwrap();
        let text = format!(
            r#"
            listen = "127.0.0.1:0"
            data = "data"
            trusted_proxies = ["10.0.0.0/8"]
            [auth]
            hs256 = ["{}", {{ env = "JWT_SECRET" }}]
            jwks = {{ url = "http://127.0.0.1:1/keys?key={MARK}" }}
            audience = "chat"
            [api]
            key = {{ env = "API_KEY" }}
            keys = [{{ name = "billing", sha256 = "{:064x}", scopes = ["publish:room:*", "read"] }}]
            [admin]
            password = {{ file = "password" }}
            [[channels]]
            match = "room:*"
            subscribe = "claims"
            presence = true
            history = {{ keep = 5, for = "1d" }}
            [[channels]]
            match = "cursor:*"
            subscribe = "user"
            conflate = {{ by = "data.id", every = "50ms" }}
            [[on]]
            event = "say"
            to = "room:{{data.room}}"
            "#,
            secret("hs256"),
            0xfeed_face_u64,
        );
        std::fs::write(folder.join("tidings.toml"), text).unwrap();
        let (jwt, api, session) = (secret("jwt"), secret("api"), "3m");
        let environment = Environment::from([
            ("JWT_SECRET", jwt.as_str()),
            ("API_KEY", api.as_str()),
            ("TIDINGS_LIMITS__SESSION", session),
        ]);
        let config = Config::load(&Sources {
            file: Some(folder.join("tidings.toml")),
            environment,
            listen: Some("127.0.0.1:7".to_owned()),
            ..Sources::default()
        });
        std::fs::remove_dir_all(&folder).unwrap();
        Settings::of(&config.unwrap())
    }

    #[test]
    fn no_secret_is_shown() {
        let settings = settings();
        let shown = serde_json::to_string(&settings).unwrap();
        assert!(!shown.contains(MARK) && !shown.contains("feedface"), "{shown}");
        for key in ["auth.hs256", "api.key", "admin.password"] {
            let setting = settings.settings.iter().find(|setting| setting.key == key).unwrap();
            assert_eq!(setting.value.as_deref(), Some("set"), "{key}");
        }
    }

    #[test]
    fn each_key_says_what_it_is_and_where_that_was_set() {
        let settings = settings().settings;
        let of = |key: &str| {
            let setting = settings.iter().find(|setting| setting.key == key).unwrap();
            (setting.value.as_deref(), setting.source.as_deref())
        };
        assert_eq!(of("listen"), (Some("127.0.0.1:7"), Some("--listen")));
        assert_eq!(of("drain"), (Some("20s"), None));
        assert_eq!(of("trusted_proxies"), (Some("10.0.0.0/8"), Some("file, line 4")));
        assert_eq!(of("allowed_origins"), (None, None));
        assert_eq!(of("auth.rs256"), (Some("not set"), None));
        assert_eq!(of("auth.jwks").0, Some("http://127.0.0.1:1/keys"));
        assert_eq!(of("api.keys.1").0, Some("billing · publish:room:*, read"));
        assert_eq!(of("limits.session"), (Some("3m"), Some("TIDINGS_LIMITS__SESSION")));
        assert_eq!(
            of("channels.1").0,
            Some("room:* · subscribe claims · publish nobody · presence · history 5 events, for 1day")
        );
        assert_eq!(
            of("channels.2").0,
            Some("cursor:* · subscribe user · publish nobody · conflate 50ms by {data.id}")
        );
        assert_eq!(of("on.1").0, Some("say · to room:{data.room}"));
    }
}

//! What can be set and what is said about what can't. A check is a text, and what its errors must hold.

use super::*;
use crate::api::keys::ApiKeys;
use crate::rules::{Action, History, Policy, Rule};
use crate::token::Verifier;

const KEY: &str = "hs256 = \"0123456789abcdef0123456789abcdef\"\n";

fn sources() -> Sources {
    Sources {
        file: Some(PathBuf::from("/etc/tidings.toml")),
        ..Sources::default()
    }
}

fn with(environment: Environment) -> Sources {
    Sources {
        environment,
        ..sources()
    }
}

fn dev() -> Sources {
    Sources { dev: true, ..sources() }
}

fn good(text: &str, sources: &Sources) -> Config {
    Config::read(text, sources).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// A text with a key, and what it sets.
fn set(text: &str) -> Config {
    good(&format!("{text}\n[auth]\n{KEY}"), &sources())
}

fn error(text: &str, sources: &Sources) -> String {
    match Config::read(text, sources) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error.to_string(),
    }
}

/// The errors of a text must be these lines, each given by what it must hold.
#[track_caller]
fn check(text: &str, sources: &Sources, lines: &[&[&str]]) {
    let error = error(text, sources);
    assert_eq!(error.lines().count(), lines.len(), "{text}\n{error}");
    for (line, parts) in error.lines().zip(lines) {
        for part in *parts {
            assert!(line.contains(part), "{part:?} is not in {line:?}");
        }
    }
}

/// One wrong line, the first, in a text that is good otherwise.
#[track_caller]
fn check_line(line: &str, parts: &[&str]) {
    let text = format!("{line}\n[auth]\n{KEY}");
    let error = error(&text, &sources());
    assert!(error.starts_with("/etc/tidings.toml:1: "), "{error}");
    check(&text, &sources(), &[parts]);
}

#[test]
fn a_key_is_all_it_takes_and_the_rest_has_the_defaults() {
    let config = set("");
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(
        config.admin_listen.map(|address| address.to_string()).as_deref(),
        Some("127.0.0.1:9080")
    );
    assert_eq!(config.drain, Duration::from_secs(20));
    assert!(config.allowed_origins.is_empty() && config.trusted_proxies.is_empty() && !config.dev);
    assert!(config.auth.secret.is_some() && !config.auth.anonymous && config.auth.cookie.is_none());
    assert!(config.rules.is_empty() && config.data.is_none());
    assert!(config.api.key.is_none() && config.api.keys.is_empty());
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.limits.message_bytes, 1_000_000);
    assert_eq!(config.limits.handshake, Duration::from_secs(10));
}

#[test]
fn every_key_sets_what_it_says() {
    let text = r#"
        listen = "[::1]:1"
        drain = "1m 30s"
        allowed_origins = ["HTTPS://App.Example:443", "http://localhost:3000"]
        trusted_proxies = ["10.0.0.0/8", "::1"]
        data = "kept"
        durability = "power"
        [auth]
        hs256 = "0123456789abcdef0123456789abcdef"
        audience = "chat"
        issuer = ["a", "b"]
        anonymous = true
        cookie = "session"
        [api]
        key = "fedcba9876543210fedcba9876543210"
        [[api.keys]]
        name = "billing"
        sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
        scopes = ["publish:room:*", "read"]
        [admin]
        listen = "off"
        [[channels]]
        match = "room:*"
        history = { keep = 1000, for = "30d", bytes = 1_000_000 }
        subscribe = "claims"
        publish = "user"
        presence = true
        [limits]
        message_bytes = 1
        messages_per_second = 2
        messages_burst = 3
        outbox_bytes = 4
        subscriptions = 5
        attachments = 6
        headers_bytes = 7
        handshake = "8s"
        session = 0
        connections = 10
        connections_per_ip = 11
        connections_per_user = 12
    "#;
    let config = good(text, &sources());
    assert_eq!(
        (config.listen.to_string(), config.admin_listen),
        ("[::1]:1".to_owned(), None)
    );
    assert_eq!(config.drain, Duration::from_secs(90));
    assert_eq!(config.allowed_origins, ["https://app.example", "http://localhost:3000"]);
    assert_eq!(config.trusted_proxies[0].prefix_bits(), 8);
    let Auth {
        audience,
        issuer,
        anonymous,
        cookie,
        ..
    } = config.auth;
    assert_eq!(
        (audience, issuer),
        (vec!["chat".to_owned()], vec!["a".to_owned(), "b".to_owned()])
    );
    assert_eq!((anonymous, cookie.as_deref()), (true, Some("session")));
    assert_eq!(
        (config.data, config.durability),
        (Some(PathBuf::from("/etc/kept")), Durability::Power)
    );
    let keys = ApiKeys::new(config.api.key.as_ref(), &config.api.keys);
    assert!(
        keys.find(b"fedcba9876543210fedcba9876543210")
            .unwrap()
            .may_publish("news")
    );
    let billing = keys.find(b"hello").unwrap();
    assert!(billing.name() == "billing" && billing.may_read() && !billing.may_publish("news"));
    let mut rules = Rules::default();
    let pattern = "room:*".parse().unwrap();
    let history = Some(History {
        keep: Some(1_000),
        time: Some(Duration::from_secs(30 * 24 * 3_600)),
        bytes: Some(1_000_000),
    });
    rules
        .push(Rule {
            pattern,
            subscribe: Policy::Claims,
            publish: Policy::User,
            presence: true,
            history,
        })
        .unwrap();
    assert_eq!(config.rules, rules);
    assert_eq!((rules.history("room:1"), rules.history("news")), (history, None));
    let limits = Limits {
        message_bytes: 1,
        messages_per_second: 2,
        messages_burst: 3,
        outbox_bytes: 4,
        subscriptions: 5,
        attachments: 6,
        headers_bytes: 7,
        handshake: Duration::from_secs(8),
        session: Duration::ZERO,
        connections: 10,
        connections_per_ip: 11,
        connections_per_user: 12,
    };
    assert_eq!(config.limits, limits);
}

#[test]
fn the_example_is_good_complete_and_says_the_defaults() {
    let example = Config::example().unwrap();
    let config = good(&example, &Sources::default());
    assert_eq!(config.limits, Limits::default());
    assert_eq!(
        (config.listen, config.admin_listen, config.drain),
        (LISTEN, Some(ADMIN_LISTEN), DRAIN)
    );
    assert!(config.trusted_proxies.is_empty());
    assert_eq!(
        (config.data, config.durability),
        (Some(PathBuf::from("./tidings-data")), Durability::default())
    );
    assert_eq!(config.rules.history("room:1").unwrap().keep, Some(1_000));
    for key in keys::TABLES.iter().flat_map(|keys| keys.known) {
        let stands = |line: &str| {
            let line = line.trim_start_matches("# ");
            line.contains(&format!("{key} = ")) || line == format!("[{key}]") || line == format!("[[{key}]]")
        };
        assert!(example.lines().any(stands), "{key} is not in the example");
    }
    assert_ne!(example, Config::example().unwrap(), "the secret is made anew");
    // What stands in comments is good as well.
    let uncommented = example
        .replace("# audience", "audience")
        .replace("# issuer", "issuer")
        .replace("# cookie", "cookie")
        .replace("# key = {", "key = {")
        .replace("# keys = ", "keys = ");
    let environment = Environment::from([("TIDINGS_API_KEY", "fedcba9876543210fedcba9876543210")]);
    let sources = Sources {
        environment,
        ..Sources::default()
    };
    let config = good(&uncommented, &sources);
    assert!(config.auth.cookie.is_some() && config.api.key.is_some());
    assert_eq!(config.api.keys.len(), 1);
}

#[test]
fn without_a_key_it_says_what_to_set() {
    for text in ["", "listen = \"127.0.0.1:0\"", "[auth]\nanonymous = false"] {
        check(
            text,
            &sources(),
            &[&[
                "hs256",
                "JWT_SECRET",
                "TIDINGS_AUTH__HS256",
                "anonymous = true",
                "--dev",
                "openssl",
            ]],
        );
    }
    let config = good("[auth]\nanonymous = true", &sources());
    assert!(config.auth.secret.is_none() && config.auth.anonymous);
}

#[test]
fn a_key_can_stand_in_a_variable_or_a_file() {
    let environment = Environment::from([("JWT_SECRET", "0123456789abcdef0123456789abcdef")]);
    let literal = set("").auth.secret;
    assert_eq!(
        good("[auth]\nhs256 = { env = \"JWT_SECRET\" }", &with(environment))
            .auth
            .secret,
        literal
    );

    let folder = std::env::temp_dir().join(format!("tidings-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("key"), "0123456789abcdef0123456789abcdef\n").unwrap();
    let beside = Sources {
        file: Some(folder.join("tidings.toml")),
        ..Sources::default()
    };
    let secret = Config::read("[auth]\nhs256 = { file = \"key\" }", &beside).map(|config| config.auth.secret);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(secret.unwrap(), literal);
}

#[test]
fn a_key_that_cannot_be_is_refused_and_never_shown() {
    let environment = || Environment::from([("SHORT", "s3cret"), ("EMPTY", "")]);
    for (value, part) in [
        ("\"s3cret\"", "6 bytes; HS256 wants at least 32"),
        ("\"\"", "0 bytes"),
        ("{ env = \"SHORT\" }", "6 bytes"),
        ("{ env = \"EMPTY\" }", "0 bytes"),
        ("{ env = \"NOWHERE\" }", "`NOWHERE` is not set"),
        ("{ file = \"/nowhere/key\" }", "/nowhere/key can't be read"),
        ("{ env = \"A\", file = \"B\" }", "both"),
        ("{}", "empty table"),
        ("{ evn = \"A\" }", "did you mean `env`"),
        ("{ env = 1 }", "a text"),
        ("[\"s3cret\"]", "the secret in quotes"),
        ("true", "the secret in quotes"),
    ] {
        let error = error(&format!("[auth]\nhs256 = {value}"), &with(environment()));
        assert!(error.starts_with("/etc/tidings.toml:2: `auth.hs256`: "), "{error}");
        assert!(error.contains(part) && !error.contains("s3cret"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let error = error("[auth]\nhs256 = \"s3cret", &sources());
    assert!(
        error.starts_with("/etc/tidings.toml:2: not TOML") && !error.contains("s3cret"),
        "{error}"
    );
}

#[test]
fn a_secret_is_in_no_debug_output() {
    let config = set("");
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
}

#[test]
fn unknown_keys_are_named_with_what_was_meant() {
    check_line("lisen = \"x\"", &["`lisen` is not a key", "did you mean `listen`"]);
    check_line("hs256 = \"s3cret\"", &["`hs256` belongs in `[auth]`"]);
    check(
        &format!(
            "[auth]\n{KEY}hs265 = \"s3cret\"\n[limits]\nsubscription = 2\n[[channels]]\nmatch = \"*\"\nsubscrib = \"user\"\n[admn]\nx = 1\n"
        ),
        &sources(),
        &[
            &["/etc/tidings.toml:3: `auth.hs265` is not a key; did you mean `hs256`?"],
            &["/etc/tidings.toml:5: `limits.subscription`", "`subscriptions`"],
            &["/etc/tidings.toml:8: `channels.subscrib`", "`subscribe`"],
            &["/etc/tidings.toml:9: `admn`", "`admin`"],
        ],
    );
}

#[test]
fn what_comes_with_later_versions_is_refused() {
    for (text, key) in [
        ("[broker]", "broker"),
        ("[hooks]\nurl = \"u\"", "hooks"),
        ("[[on]]\nevent = \"e\"", "on"),
        ("auth.rs256 = \"k\"", "auth.rs256"),
        ("auth.es256 = \"k\"", "auth.es256"),
        ("auth.eddsa = \"k\"", "auth.eddsa"),
        ("auth.jwks = { url = \"u\" }", "auth.jwks"),
        ("admin.password = \"s3cret\"", "admin.password"),
        ("channels = [{ match = \"a\", slow = \"drop\" }]", "channels.slow"),
        (
            "channels = [{ match = \"a\", conflate = { by = \"id\" } }]",
            "channels.conflate",
        ),
        (
            "channels = [{ match = \"a\", throttle = { every = \"1s\" } }]",
            "channels.throttle",
        ),
        ("channels = [{ match = \"a\", debounce = \"1s\" }]", "channels.debounce"),
    ] {
        let text = format!("auth.anonymous = true\n{text}");
        check(
            &text,
            &sources(),
            &[&[
                "/etc/tidings.toml:2: ",
                &format!("`{key}` is not supported yet by this version"),
            ]],
        );
    }
    check_line(
        "listen = \"unix:/run/tidings\"",
        &["`listen`", "`unix:` is not supported yet by this version"],
    );
}

#[test]
fn a_value_that_cannot_be_is_named_with_what_was_meant() {
    for (line, parts) in [
        ("listen = 8080", ["`listen`: 8080 given", "\"127.0.0.1:8080\""]),
        ("listen = \"8080\"", ["\"8080\" is no address", "\"127.0.0.1:8080\""]),
        ("listen = \":8080\"", ["\":8080\" is no address", "\"0.0.0.0:8080\""]),
        ("listen = \"localhost:x\"", ["\"localhost:x\" is no address", ""]),
        ("listen = \"127.0.0.1:65536\"", ["is no address", ""]),
        ("drain = 20", ["`drain`: 20 has no unit", "\"20s\""]),
        ("drain = \"20\"", ["\"20\" is no time", "\"20s\""]),
        ("drain = \"-1s\"", ["is no time", "\"20s\""]),
        ("drain = 1.5", ["a number with a fraction given", "\"20s\""]),
        ("drain = \"1000y\"", ["is too long", "365 days"]),
        (
            "allowed_origins = [\"app.example/path\"]",
            ["`allowed_origins`", "\"https://app.example\""],
        ),
        ("allowed_origins = [\"*\"]", ["every web page", ""]),
        ("allowed_origins = [1]", ["1 given", "a text in quotes"]),
        ("allowed_origins = true", ["true given", "a list of texts"]),
        (
            "trusted_proxies = [\"10.0.0.1/8\"]",
            ["`trusted_proxies`", "\"10.0.0.0/8\""],
        ),
        ("admin = 1", ["`admin`: 1 given", "`[admin]`"]),
        ("channels = 1", ["`channels`: 1 given", "`[[channels]]`"]),
        ("channels = [1]", ["`channels`: 1 given", "`[[channels]]`"]),
        (
            "channels.match = \"*\"",
            ["`channels`: a table given", "`[[channels]]`"],
        ),
        (
            "limits = { connections = -1 }",
            ["`limits.connections`: -1 given", "0 (no limit) or more"],
        ),
        (
            "limits = { connections = \"many\" }",
            ["\"many\" given", "a whole number"],
        ),
        ("limits = { connections = \"1\" }", ["\"1\" given", "a whole number"]),
        (
            "limits = { messages_burst = 4294967296 }",
            ["4294967296 given", "too large"],
        ),
        (
            "limits = { message_bytes = 99999999999999999999999 }",
            ["given", "message_bytes"],
        ),
        (
            "limits = { handshake = 5 }",
            ["`limits.handshake`: 5 has no unit", "\"20s\""],
        ),
        (
            "admin = { listen = \"of\" }",
            ["`admin.listen`: \"of\" is no address", ""],
        ),
        (
            "channels = [{ subscribe = \"user\" }]",
            ["`channels.match`: is missing", "\"room:*\""],
        ),
        ("channels = [{ match = \"\" }]", ["`channels.match`", "can't be empty"]),
        (
            "channels = [{ match = \"a{b\" }]",
            ["\"a{b\" is no pattern", "`room:{id}`"],
        ),
        (
            "channels = [{ match = \"a\", subscribe = \"everyone\" }]",
            ["\"everyone\" given", "anyone, user, claims, owner, nobody"],
        ),
        (
            "channels = [{ match = \"a\", publish = \"owner\" }]",
            ["`channels.match`: `owner` needs `{user}`", ""],
        ),
        (
            "channels = [{ match = \"user:*\", subscribe = \"user\" }]",
            ["nobody else", ""],
        ),
        (
            "channels = [{ match = \"*\" }, { match = \"a\" }]",
            ["can never match", "`*` comes first"],
        ),
        (
            "channels = [{ match = \"a\", presence = \"yes\" }]",
            ["\"yes\" given", "true or false"],
        ),
    ] {
        check_line(line, &parts);
    }
    let secret = "s3cret".repeat(20);
    let error = error(&format!("auth.anonymous = true\nlisten = \"{secret}\""), &sources());
    assert!(
        !error.contains(&secret) && error.contains("more than 80 characters"),
        "{error}"
    );
    for (key, value, part) in [
        ("cookie", "\"a b\"", "no name of a cookie"),
        ("anonymous", "1", "true or false"),
        ("audience", "1", "a list"),
    ] {
        check(
            &format!("[auth]\n{KEY}{key} = {value}"),
            &sources(),
            &[&[":3: ", &format!("`auth.{key}`"), part]],
        );
    }
}

#[test]
fn everything_wrong_is_told_at_once() {
    check(
        "drain = 1\nlisten = 2\nhooks = \"x\"\n",
        &sources(),
        &[
            &[":1: `drain`"],
            &[":2: `listen`"],
            &[":3: `hooks`"],
            &["/etc/tidings.toml: ", "hs256"],
        ],
    );
}

#[test]
fn the_environment_wins_over_the_file_and_the_flag_over_both() {
    let environment = || {
        Environment::from([
            ("TIDINGS_LISTEN", "127.0.0.1:2"),
            ("TIDINGS_AUTH__HS256", "0123456789abcdef0123456789abcdef"),
            ("TIDINGS_AUTH__ANONYMOUS", "true"),
            ("TIDINGS_ADMIN__LISTEN", "off"),
            ("TIDINGS_ALLOWED_ORIGINS", "https://a.example, https://b.example"),
            ("TIDINGS_LIMITS__CONNECTIONS", "7"),
            ("TIDINGS_LIMITS__SESSION", "0"),
            ("TIDINGS_DRAIN", "50ms"),
            ("TIDINGS_PORT", "tcp://10.0.0.1:8080"),
        ])
    };
    let text = "listen = \"127.0.0.1:1\"\n[limits]\nconnections = 1\nattachments = 3\n";
    let config = good(text, &with(environment()));
    assert_eq!((config.listen.port(), config.admin_listen), (2, None));
    assert_eq!((config.limits.connections, config.limits.attachments), (7, 3));
    assert_eq!(
        (config.limits.session, config.drain),
        (Duration::ZERO, Duration::from_millis(50))
    );
    assert_eq!(config.allowed_origins, ["https://a.example", "https://b.example"]);
    assert!(config.auth.anonymous && config.auth.secret.is_some());
    let flagged = Sources {
        listen: Some("127.0.0.1:3".to_owned()),
        ..with(environment())
    };
    assert_eq!(good(text, &flagged).listen.port(), 3);
}

#[test]
fn a_wrong_variable_is_named() {
    check(
        &format!("[auth]\n{KEY}"),
        &with(Environment::from([
            ("TIDINGS_AUTH__HS265", "s3cret"),
            ("TIDINGS_CHANNELS__0__MATCH", "*"),
            ("TIDINGS_DRAIN", "soon"),
            ("TIDINGS_LIMIT__CONNECTIONS", "1"),
            ("TIDINGS_LIMITS__CONNECTIONS", "many"),
        ])),
        &[
            &["TIDINGS_AUTH__HS265: `auth.hs265` is not a key; did you mean `hs256`?"],
            &["TIDINGS_CHANNELS__0__MATCH: `channels`", "in the file only"],
            &["TIDINGS_DRAIN: `drain`: \"soon\" is no time"],
            &["TIDINGS_LIMITS__CONNECTIONS: `limits.connections`: \"many\" given"],
            &["TIDINGS_LIMIT__CONNECTIONS: `limit` is not a key; did you mean `limits`?"],
        ],
    );
    check(
        "",
        &with(Environment::from([("TIDINGS_AUTH__HS256", "s3cret")])),
        &[&["TIDINGS_AUTH__HS256: `auth.hs256`: ", "6 bytes"]],
    );
}

#[test]
fn events_are_kept_where_data_says() {
    let data = |text: &str, sources: &Sources| good(&format!("{text}\n[auth]\n{KEY}"), sources).data;
    let flagged = Sources {
        data: Some("flag".to_owned()),
        ..with(Environment::from([("TIDINGS_DATA", "variable")]))
    };
    for (text, sources, folder) in [
        ("data = \"d\"", &sources(), Some("/etc/d")),
        ("data = \"/var/d\"", &sources(), Some("/var/d")),
        ("", &sources(), None),
        // As seen from where the command was given.
        (
            "data = \"d\"",
            &with(Environment::from([("TIDINGS_DATA", "variable")])),
            Some("variable"),
        ),
        ("data = \"d\"", &flagged, Some("flag")),
    ] {
        assert_eq!(data(text, sources), folder.map(PathBuf::from), "{text}");
    }
    let flagged_alone = Sources {
        data: Some(String::new()),
        dev: true,
        ..Sources::default()
    };
    let error = Config::load(&flagged_alone).unwrap_err();
    assert!(
        error.is_usage() && error.to_string().starts_with("--data: `data`: \"\" is no folder"),
        "{error}"
    );

    check_line("data = 1", &["`data`: 1 given", "a text in quotes"]);
    check_line(
        "durability = \"power\"",
        &["`durability`: \"power\" given, but no `data`"],
    );
    check_line(
        "durability = \"disk\"",
        &["`durability`: \"disk\" given", "\"process\"", "\"power\""],
    );
    check_line("durability = \"memory\"", &["\"process\"", "\"power\""]);
    check_line("data = \"\"\ndurability = \"power\"", &["`data`: \"\" is no folder"]);
    assert_eq!(
        set("data = \"d\"\ndurability = \"process\"").durability,
        Durability::Process
    );
}

#[test]
fn history_says_what_a_channel_keeps() {
    let history = |value: &str| {
        let config = set(&format!(
            "data = \"d\"\nchannels = [{{ match = \"a\", history = {value} }}]"
        ));
        config.rules.history("a").unwrap()
    };
    assert_eq!(history("{ keep = 1 }"), History::keep(1));
    assert_eq!(history("{ for = \"1h\" }").time, Some(Duration::from_secs(3_600)));
    assert_eq!(
        history("{ for = \"10y\" }")
            .time
            .map(|time| time.as_secs() / 31_000_000),
        Some(10)
    );
    assert_eq!(history("{ bytes = 7, keep = 2 }").bytes, Some(7));

    for (value, parts) in [
        ("{}", ["an empty table given", "`keep`, `for` and `bytes`"]),
        ("1000", ["1000 given", "{ keep = 1000"]),
        ("{ keep = 0 }", ["`keep`: 0 given", "1 or more"]),
        ("{ keep = -1 }", ["`keep`: -1 given", "1 or more"]),
        ("{ keep = \"all\" }", ["`keep`: \"all\" given", "1 or more"]),
        (
            "{ keep = 99999999999999999999999 }",
            ["`keep`: 99999999999999999999999 given", "too large"],
        ),
        ("{ bytes = 0 }", ["`bytes`: 0 given", "1 or more"]),
        ("{ for = \"0s\" }", ["`for`: \"0s\" given", "more than nothing"]),
        ("{ for = 30 }", ["`for`: 30 has no unit", "\"20s\""]),
        ("{ for = \"1000y\" }", ["is too long", "100 years"]),
        ("{ kepe = 1 }", ["`history.kepe` is not a key", "did you mean `keep`"]),
    ] {
        let line = format!("channels = [{{ match = \"a\", history = {value} }}]");
        let text = format!("{line}\ndata = \"d\"\n[auth]\n{KEY}");
        check(
            &text,
            &sources(),
            &[&["/etc/tidings.toml:1: `channels.history`: ", parts[0], parts[1]]],
        );
    }
    let kept = "channels = [{ match = \"a\", history = { keep = 1 } }]";
    check_line(
        kept,
        &[
            "`channels.history`: needs a folder",
            "`data = \"./tidings-data\"`",
            "--data",
        ],
    );
    assert_eq!(
        good(kept, &dev()).rules.history("a"),
        Some(History::keep(1)),
        "in memory"
    );
}

#[test]
fn api_keys_that_cannot_be_are_refused_and_never_shown() {
    let hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    for (value, part) in [
        ("\"s3cret\"", "6 bytes; it must have at least 32"),
        ("\"s3cret s3cret s3cret s3cret s3cret\"", "can't be in a header"),
        ("\"s3crets3crets3crets3crets3crets3cré\"", "can't be in a header"),
        ("{ env = \"NOWHERE\" }", "`NOWHERE` is not set"),
        ("{ evn = \"A\" }", "did you mean `env`"),
        ("7", "the secret in quotes"),
    ] {
        let error = error(&format!("auth.anonymous = true\napi.key = {value}"), &sources());
        assert!(error.starts_with("/etc/tidings.toml:2: `api.key`: "), "{error}");
        assert!(error.contains(part) && !error.contains("s3c"), "{error}");
    }
    for (table, part) in [
        (
            format!("sha256 = \"{hash}\", scopes = [\"read\"]"),
            "`api.keys.name`: is missing",
        ),
        (
            "name = \"a\", scopes = [\"read\"]".to_owned(),
            "`api.keys.sha256`: is missing",
        ),
        (
            format!("name = \"a\", sha256 = \"{hash}\""),
            "`api.keys.scopes`: is missing",
        ),
        (
            format!("name = \"a\", sha256 = \"{hash}\", scopes = []"),
            "can do nothing",
        ),
        (
            format!("name = \"a\", sha256 = \"{hash}\", scopes = [\"all\"]"),
            "\"all\" is no scope",
        ),
        (
            format!("name = \"\", sha256 = \"{hash}\", scopes = [\"read\"]"),
            "is no name",
        ),
        (
            "name = \"a\", sha256 = \"s3cret\", scopes = [\"read\"]".to_owned(),
            "64 hexadecimal digits",
        ),
        (
            format!("name = \"a\", sha256 = \"{hash}\", scopes = [\"read\"], key = \"s3cret\""),
            "`api.keys.key`",
        ),
    ] {
        let error = error(
            &format!("auth.anonymous = true\napi.keys = [{{ {table} }}]"),
            &sources(),
        );
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(
            error.starts_with("/etc/tidings.toml:2: ") && error.contains(part),
            "{error}"
        );
        assert!(!error.contains("s3cret"), "{error}");
    }
    let key = format!("{{ name = \"a\", sha256 = \"{hash}\", scopes = [\"read\"] }}");
    check(
        &format!("auth.anonymous = true\napi.keys = [{key}, {key}]"),
        &sources(),
        &[&["`api.keys.name`: \"a\" is the name of another key too"]],
    );
    check(
        "auth.anonymous = true\napi.keys = 1",
        &sources(),
        &[&["`api.keys`: 1 given", "`[[api.keys]]`"]],
    );
    let environment = Environment::from([("TIDINGS_API__KEY", "fedcba9876543210fedcba9876543210")]);
    assert!(good("auth.anonymous = true", &with(environment)).api.key.is_some());
    let config = set("api.key = \"fedcba9876543210fedcba9876543210\"");
    assert!(!format!("{config:?}").contains("fedcba"));
}

#[test]
fn the_keys_of_dev_are_kept_in_data() {
    let folder = std::env::temp_dir().join(format!("tidings-config-dev-{}", std::process::id()));
    let sources = |text: &str| {
        let sources = Sources {
            data: Some(folder.to_str().unwrap().to_owned()),
            ..dev()
        };
        Config::read(text, &sources).unwrap()
    };
    let (one, other) = (sources(""), sources(""));
    let configured = sources(&format!("[auth]\n{KEY}"));
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(one.auth.secret.is_some() && one.api.key.is_some());
    assert_eq!((&one.auth.secret, &one.api.key), (&other.auth.secret, &other.api.key));
    assert_ne!(one.auth.secret, one.api.key);
    assert_eq!(configured.auth.secret, set("").auth.secret);
    assert_eq!(configured.api.key, one.api.key);
}

#[test]
fn dev_has_a_key_of_its_own_and_its_rules() {
    let (one, other) = (good("", &dev()), good("", &dev()));
    assert!(one.dev && one.auth.secret.is_some() && one.api.key.is_some());
    assert_ne!(one.auth.secret, other.auth.secret);
    assert_ne!(one.api.key, other.api.key);
    assert_eq!(one.rules.history("room:1").unwrap().keep, Some(1_000));
    assert_eq!(one.rules, Rules::dev());
    assert!(one.allowed_origins.is_empty());
    assert!(one.listen.ip().is_loopback());

    let text = format!(
        "allowed_origins = [\"http://localhost:3000\"]\n[auth]\n{KEY}[[channels]]\nmatch = \"a\"\nsubscribe = \"anyone\""
    );
    let own = good(&text, &dev());
    assert_eq!(own.auth.secret, set("").auth.secret);
    assert!(own.rules.decide(Action::Subscribe, "a", None).allowed);
    assert_ne!(own.rules, Rules::dev());
}

#[test]
fn dev_is_for_this_machine_alone() {
    for (text, part) in [
        ("listen = \"0.0.0.0:8080\"", "`listen`"),
        ("listen = \"[::]:8080\"", "`listen`"),
        ("listen = \"192.168.1.2:8080\"", "`listen`"),
        ("admin.listen = \"0.0.0.0:9080\"", "`admin.listen`"),
        ("allowed_origins = [\"https://app.example\"]", "`allowed_origins`"),
    ] {
        check(text, &dev(), &[&[":1: ", part, "--dev", "loopback"]]);
    }
    for listen in ["127.0.0.1:0", "[::1]:0", "localhost:0", "127.9.9.9:1"] {
        good(
            "",
            &Sources {
                listen: Some(listen.to_owned()),
                ..dev()
            },
        );
    }
    let flagged = Sources {
        dev: true,
        listen: Some("0.0.0.0:1".to_owned()),
        ..Sources::default()
    };
    let error = Config::load(&flagged).unwrap_err();
    assert!(error.is_usage(), "{error}");
    assert!(error.to_string().starts_with("--listen: `listen`: "), "{error}");
    assert!(!Config::load(&Sources::default()).unwrap_err().is_usage());
}

#[test]
fn certificate_and_key_are_read_from_where_the_file_is() {
    let folder = std::env::temp_dir().join(format!("tidings-{}-tls", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let make = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (made, other) = (make(), make());
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("other.pem"), other.signing_key.serialize_pem()).unwrap();
    let sources = Sources {
        file: Some(folder.join("tidings.toml")),
        ..Sources::default()
    };
    let with = |tls: &str| format!("[auth]\n{KEY}[tls]\n{tls}");
    assert!(good(&with(""), &sources).tls.is_none());
    assert!(
        good(&with("cert = \"cert.pem\"\nkey = \"key.pem\""), &sources)
            .tls
            .is_some()
    );
    for (tls, parts) in [
        ("cert = \"cert.pem\"", &[":4: `tls.key`", "missing"][..]),
        ("key = \"key.pem\"", &[":4: `tls.cert`", "missing"]),
        ("cert = \"cert.pem\"\nkey = 7", &[":5: `tls.key`", "7 given"]),
        ("cert = \"\"\nkey = \"key.pem\"", &[":4: `tls.cert`", "name of a file"]),
        (
            "cert = \"absent.pem\"\nkey = \"key.pem\"",
            &[":4: `tls.cert`", "absent.pem: the file can't be read"],
        ),
        (
            "cert = \"key.pem\"\nkey = \"cert.pem\"",
            &[":4: `tls.cert`", "key.pem: there is no certificate"],
        ),
        (
            "cert = \"cert.pem\"\nkey = \"other.pem\"",
            &[":5: `tls.key`", "other.pem", "does not belong"],
        ),
        ("cert = \"cert.pem\"\nkey = \"key.pem\"\ncrt = 1", &[":6: `tls.crt`"]),
    ] {
        check(&with(tls), &sources, &[parts]);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let sources = Sources {
        file: Some(PathBuf::from("/nowhere/tidings.toml")),
        ..Sources::default()
    };
    let error = Config::load(&sources).unwrap_err();
    assert!(
        error.to_string().starts_with("/nowhere/tidings.toml: can't be read"),
        "{error}"
    );
}

#[test]
fn the_verifier_checks_what_is_configured() {
    let text = format!("[auth]\n{KEY}audience = \"chat\"");
    let verifier = Verifier::new(good(&text, &sources()).auth.verifier_options());
    let token = crate::token::NewToken {
        user: "ann".to_owned(),
        expires_in: Duration::from_secs(60),
        ..Default::default()
    };
    let secret = set("").auth.secret.unwrap();
    let sign = |token| crate::token::sign(&secret, &token, std::time::SystemTime::now()).unwrap();
    assert_eq!(
        verifier.verify(&sign(token.clone())).unwrap_err().code(),
        "token_audience"
    );
    let aimed = crate::token::NewToken {
        audience: Some("chat".to_owned()),
        ..token
    };
    assert_eq!(verifier.verify(&sign(aimed)).unwrap().sub, "ann");
}

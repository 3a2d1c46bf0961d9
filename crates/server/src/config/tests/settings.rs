//! What a setting does, and which of several wins.

use super::*;

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
    assert!(config.rules.is_empty() && config.data.is_none() && config.hooks.is_none());
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
        slow = "drop"
        [[on]]
        event = "chat:message"
        to = "room:{data.roomId}"
        key = "{user}:{data.id}"
        [[on]]
        event = "typing"
        to = "room:{data.roomId}"
        volatile = true
        [hooks]
        url = "http://127.0.0.1:3000/tidings?x=1"
        secret = "a secret of hooks, long enough: 0123456789"
        connect = true
        disconnect = true
        subscribe = ["room:*"]
        events = ["order:*", "ask"]
        timeout = "1500ms"
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
    let on = |event: &str, key: Option<&str>, volatile| On {
        event: event.to_owned(),
        to: "room:{data.roomId}".parse().unwrap(),
        key: key.map(|key| key.parse().unwrap()),
        volatile,
    };
    assert_eq!(
        config.on,
        [
            on("chat:message", Some("{user}:{data.id}"), false),
            on("typing", None, true)
        ]
    );
    let hooks = config.hooks.unwrap();
    assert_eq!(hooks.url.uri(), "http://127.0.0.1:3000/tidings?x=1");
    assert_eq!(hooks.secret.bytes(), b"a secret of hooks, long enough: 0123456789");
    let texts = |patterns: &[crate::rules::Pattern]| patterns.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        (
            hooks.connect,
            hooks.disconnect,
            texts(&hooks.subscribe),
            texts(&hooks.events),
            hooks.timeout
        ),
        (
            true,
            true,
            vec!["room:*".to_owned()],
            vec!["order:*".to_owned(), "ask".to_owned()],
            Duration::from_millis(1_500)
        )
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
            pace: None,
            slow: Slow::Drop,
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
fn a_channel_has_the_pace_of_its_rule() {
    let pace = |keys: &str| {
        let config = set(&format!("channels = [{{ match = \"a\", {keys} }}]"));
        let mut rules = Rules::default();
        move |pace: Pace| {
            let (subscribe, publish) = (Policy::Nobody, Policy::Nobody);
            rules
                .push(Rule {
                    pattern: "a".parse().unwrap(),
                    subscribe,
                    publish,
                    presence: false,
                    history: None,
                    pace: Some(pace),
                    slow: Slow::Lag,
                })
                .unwrap();
            assert_eq!(config.rules, rules);
        }
    };
    let milliseconds = Duration::from_millis;
    let field = |text: &str| Some(By::Field(text.parse().unwrap()));
    let of = |form, every, by| Pace {
        form,
        every: milliseconds(every),
        by,
    };
    let kept = Form::Conflate {
        keep: Some(milliseconds(600_000)),
    };
    pace("conflate = { by = \"data.a.b\", every = \"50ms\", for = \"10m\" }")(of(kept, 50, field("{data.a.b}")));
    pace("conflate = { every = \"1s\" }")(of(Form::Conflate { keep: None }, 1_000, None));
    let (both, last) = (Edge::Both, Edge::Trailing);
    pace("throttle = { every = \"1s\" }")(of(Form::Throttle { edge: both }, 1_000, None));
    let text = "throttle = { every = \"1s\", edge = \"trailing\", by = \"event\" }";
    pace(text)(of(Form::Throttle { edge: last }, 1_000, Some(By::Event)));
    pace("debounce = \"200ms\"")(of(Form::Debounce, 200, None));
    pace("debounce = { every = \"200ms\", by = \"user\" }")(of(Form::Debounce, 200, field("{user}")));
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
        .replace("# keys = ", "keys = ")
        .replace("# [hooks]", "[hooks]")
        .replace("# url = ", "url = ")
        .replace("# secret = ", "secret = ")
        .replace("# connect = ", "connect = ")
        .replace("# disconnect = ", "disconnect = ")
        .replace("# subscribe = ", "subscribe = ")
        .replace("# events = ", "events = ")
        .replace("# timeout = ", "timeout = ")
        .replace("# password", "password");
    let environment = Environment::from([
        ("TIDINGS_API_KEY", "fedcba9876543210fedcba9876543210"),
        ("TIDINGS_ADMIN_PASSWORD", "twelve chars"),
        ("TIDINGS_HOOK_SECRET", "fedcba9876543210fedcba9876543210"),
    ]);
    let sources = Sources {
        environment,
        ..Sources::default()
    };
    let config = good(&uncommented, &sources);
    assert!(config.auth.cookie.is_some() && config.api.key.is_some() && config.console_password.is_some());
    assert_eq!(config.api.keys.len(), 1);
    let hooks = config.hooks.unwrap();
    assert!(hooks.connect && hooks.disconnect && hooks.subscribe.len() == 1 && hooks.events.len() == 1);
    assert_eq!(hooks.timeout, Duration::from_secs(5));
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
    assert_eq!(
        (config.listen.to_string().as_str(), config.admin_listen),
        ("127.0.0.1:2", None)
    );
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
    assert_eq!(good(text, &flagged).listen.to_string(), "127.0.0.1:3");
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
fn the_verifier_checks_what_is_configured() {
    let text = format!("[auth]\n{KEY}audience = \"chat\"");
    let verifier = Verifier::new(good(&text, &sources()).auth.verifier_options());
    let token = crate::token::NewToken {
        user: "ann".to_owned(),
        expires_in: Duration::from_secs(60),
        ..Default::default()
    };
    let (secret, now) = (set("").auth.secret.unwrap(), std::time::SystemTime::now());
    let sign = |token| crate::token::sign(&secret, &token, now).unwrap();
    assert_eq!(
        verifier.verify_at(&sign(token.clone()), now).unwrap_err().code(),
        "token_audience"
    );
    let aimed = crate::token::NewToken {
        audience: Some("chat".to_owned()),
        ..token
    };
    assert_eq!(verifier.verify_at(&sign(aimed), now).unwrap().sub, "ann");
}

#[test]
fn a_unix_socket_lies_beside_the_file_unless_it_is_named_elsewhere() {
    for (name, path) in [
        ("unix:tidings.sock", "/etc/tidings.sock"),
        ("unix:/run/t.sock", "/run/t.sock"),
    ] {
        let config = good(&format!("auth.anonymous = true\nlisten = {name:?}"), &sources());
        assert_eq!(config.listen, Listen::Unix(PathBuf::from(path)));
        assert_eq!(config.listen.to_string(), format!("unix:{path}"));
    }
    let flagged = Sources {
        listen: Some("unix:here.sock".to_owned()),
        ..sources()
    };
    let config = good("auth.anonymous = true", &flagged);
    assert_eq!(config.listen, Listen::Unix(PathBuf::from("here.sock")));
}

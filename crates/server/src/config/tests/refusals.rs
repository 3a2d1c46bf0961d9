//! What can't be is refused, in the words of the file.

use super::*;

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
    check(
        "auth.anonymous = true\n[broker]",
        &sources(),
        &[&["/etc/tidings.toml:2: ", "`broker` is not supported yet by this version"]],
    );
}

#[test]
fn a_unix_socket_has_a_path_that_fits_and_no_tls() {
    check_line("listen = \"unix:\"", &["`listen`", "names no socket"]);
    check_line("listen = \"unix:/\"", &["`listen`", "names no socket"]);
    let long = format!("listen = \"unix:/{}\"", "x".repeat(107));
    check_line(&long, &["`listen`", "107 bytes at the most"]);
    check_line("listen = \"unix:run/\"", &["`listen`", "names no socket"]);
    let admin = "admin.listen = \"unix:/run/admin\"";
    check_line(admin, &["`admin.listen`", "no address with a port"]);
}

#[test]
fn a_pace_that_makes_no_sense_is_refused() {
    for (keys, parts) in [
        ("slow = \"wait\"", ["`channels.slow`", "it is one of lag, close, drop"]),
        (
            "conflate = \"50ms\"",
            ["`channels.conflate`", "it is a table, as in { by ="],
        ),
        (
            "conflate = { by = \"data.id\" }",
            ["`channels.conflate`", "`every` is missing"],
        ),
        (
            "conflate = { every = \"50ms\", by = \"id\" }",
            ["`by`: \"id\" given", "\"data.id\""],
        ),
        (
            "conflate = { every = \"50ms\", by = \"{data.id}\" }",
            ["`by`", "without braces"],
        ),
        ("conflate = { every = \"0s\" }", ["`every`", "a millisecond or more"]),
        ("conflate = { every = \"2h\" }", ["`every`", "at most an hour"]),
        (
            "conflate = { evry = \"1s\" }",
            ["`evry` is not a key", "did you mean `every`"],
        ),
        (
            "throttle = { every = \"1s\", edge = \"last\" }",
            ["`edge`: \"last\" given", "leading, trailing, both"],
        ),
        ("debounce = 200", ["`channels.debounce`", "has no unit"]),
        (
            "debounce = \"1s\", throttle = { every = \"1s\" }",
            ["`channels.debounce`", "leave out this or `throttle`"],
        ),
        (
            "history = { keep = 1 }, conflate = { every = \"1s\" }",
            ["`channels.conflate`", "leave one of the two out"],
        ),
    ] {
        let text = format!("auth.anonymous = true\ndata = \"d\"\nchannels = [{{ match = \"a\", {keys} }}]");
        check(&text, &sources(), &[&parts]);
    }
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
            "channels = [{ match = \"room:*\" }, { match = \"room:{id}\" }]",
            ["can never match", "`room:*` comes first"],
        ),
        (
            "admin.listen = \"127.0.0.1:8080\"",
            ["`admin.listen`", "where clients are listened to"],
        ),
        (
            "channels = [{ match = \"a\", presence = \"yes\" }]",
            ["\"yes\" given", "true or false"],
        ),
    ] {
        check_line(line, &parts);
    }
    for line in ["audience = []", "issuer = \"\""] {
        let text = format!("auth.anonymous = true\nauth.{line}");
        check(&text, &sources(), &[&["leave it out where any token will do"]]);
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
fn dev_is_for_this_machine_alone() {
    for (text, part) in [
        ("listen = \"0.0.0.0:8080\"", "`listen`"),
        ("listen = \"[::]:8080\"", "`listen`"),
        ("listen = \"192.168.1.2:8080\"", "`listen`"),
        ("listen = \"unix:/run/tidings.sock\"", "`listen`"),
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
fn hooks_that_cannot_be_are_told_so() {
    let secret = "secret = \"0123456789abcdef0123456789abcdef\"\n";
    let url = "url = \"https://back-end.example/tidings\"\n";
    for (table, parts) in [
        (
            "".to_owned(),
            &[
                ":2: `hooks.url`: is missing",
                ":2: `hooks.secret`: is missing",
                ":2: `hooks.connect`: is missing",
            ][..],
        ),
        (format!("{secret}connect = true"), &[":2: `hooks.url`: is missing"]),
        (format!("{url}events = \"e\""), &[":2: `hooks.secret`: is missing"]),
        (format!("{url}{secret}"), &["would be asked nothing"]),
        (
            format!("{url}secret = \"s3cret\"\nconnect = true"),
            &[":4: `hooks.secret`: the secret has 6 bytes"],
        ),
        (
            format!("{url}secret = {{ env = \"NOWHERE\" }}\nconnect = true"),
            &["`NOWHERE` is not set"],
        ),
        (
            format!("{url}secret = {{ evn = \"A\" }}\nconnect = true"),
            &["did you mean `env`"],
        ),
        (
            format!("{secret}connect = true\nurl = \"back-end.example\""),
            &[":5: `hooks.url`: it is a URL"],
        ),
        (
            format!("{secret}connect = true\nurl = \"https://u:s3cret@back-end.example\""),
            &["it is a URL"],
        ),
        (
            format!("{secret}connect = true\nurl = \"ftp://back-end.example\""),
            &["it is a URL"],
        ),
        (
            format!("{url}{secret}connect = \"yes\""),
            &[":5: `hooks.connect`: \"yes\" given; it is true or false"],
        ),
        (format!("{url}{secret}disconnect = 1"), &["`hooks.disconnect`: 1 given"]),
        (
            format!("{url}{secret}subscribe = [\"a{{b\"]"),
            &["`hooks.subscribe`: \"a{b\" is no pattern"],
        ),
        (
            format!("{url}{secret}subscribe = []"),
            &["`hooks.subscribe`: an empty list"],
        ),
        (
            format!("{url}{secret}events = [\"publish\"]"),
            &["`hooks.events`: \"publish\" is an event that the server answers"],
        ),
        (format!("{url}{secret}events = [\"disconnect\"]"), &["reserved"]),
        (format!("{url}{secret}events = [7]"), &["`hooks.events`: 7 given"]),
        (
            format!("{url}{secret}events = [\"x:*\", \"e\"]\n[[on]]\nevent = \"e\"\nto = \"a\""),
            &[":5: `hooks.events`: \"e\" has a table `[[on]]`"],
        ),
        (
            format!("{url}{secret}connect = true\ntimeout = 5"),
            &["`hooks.timeout`: 5 has no unit"],
        ),
        (
            format!("{url}{secret}connect = true\ntimeout = \"0s\""),
            &["needs some time"],
        ),
        (
            format!("{url}{secret}connect = true\ntimeout = \"61s\""),
            &["at most 60s"],
        ),
        (
            format!("{url}{secret}connect = true\nca = \"absent.pem\""),
            &[":6: `hooks.ca`", "absent.pem"],
        ),
        (
            format!("{secret}connect = true\nurl = \"http://127.0.0.1:1/\"\nca = \"ca.pem\""),
            &["`hooks.ca`: it is for a `url` that begins with https://"],
        ),
        (
            format!("{url}{secret}conect = true\nconnect = true"),
            &["`hooks.conect`", "did you mean `connect`"],
        ),
    ] {
        let text = format!("auth.anonymous = true\n[hooks]\n{table}");
        let error = error(&text, &sources());
        assert!(parts.iter().all(|part| error.contains(part)), "{text}\n{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
    check_line("hooks = 1", &["`hooks`: 1 given", "`[hooks]`"]);
}

#[test]
fn an_event_that_can_do_nothing_is_told_so() {
    for (table, parts) in [
        ("", &["`on.event`: is missing", "`on.to`: is missing"][..]),
        ("event = \"e\"", &["`on.to`: is missing"]),
        ("to = \"a\"", &["`on.event`: is missing"]),
        ("event = 1\nto = \"a\"", &["`on.event`: 1 given"]),
        ("event = \"\"\nto = \"a\"", &["can't be empty"]),
        ("event = \"disconnect\"\nto = \"a\"", &["reserved"]),
        ("event = \"tidings:x\"\nto = \"a\"", &["reserved"]),
        ("event = \"publish\"\nto = \"a\"", &["answers itself"]),
        ("event = \"e\"\nto = \"\"", &["`on.to`: \"\" is empty"]),
        ("event = \"e\"\nto = \"room:{roomId}\"", &["`{roomId}`"]),
        ("event = \"e\"\nto = \"room:{data.x\"", &["must enclose"]),
        (
            "event = \"e\"\nto = \"a\"\nkey = \"{data.x}\"\nvolatile = true",
            &["`on.key`: what is volatile"],
        ),
        ("event = \"e\"\nto = \"a\"\nform = 1", &["`on.form` is not a key"]),
        (
            "event = \"e\"\nto = \"a\"\n[[on]]\nevent = \"e\"\nto = \"b\"",
            &["has a table before"],
        ),
    ] {
        let lines: Vec<[&str; 1]> = parts.iter().map(|part| [*part]).collect();
        let lines: Vec<&[&str]> = lines.iter().map(|line| &line[..]).collect();
        check(&format!("auth.anonymous = true\n[[on]]\n{table}"), &sources(), &lines);
    }
    for (table, part) in [
        ("to = \"a\"", "`on.to`: \"a\" is a channel without a rule"),
        ("to = \"secret\"", "`on.to`: nobody may publish there"),
        ("to = \"/x\"", "`on.to`: \"/x\" makes no channel's name"),
        (
            "to = \"cursor:{data.x}\"\nkey = \"{data.y}\"",
            "`on.key`: the events of `cursor:*` are paced",
        ),
    ] {
        let rules = "[[channels]]\nmatch = \"secret\"\nsubscribe = \"user\"\n[[channels]]\nmatch = \"cursor:*\"\npublish = \"user\"\n\
                     conflate = { by = \"user\", every = \"50ms\" }\n";
        let text = format!("auth.anonymous = true\n{rules}[[on]]\nevent = \"e\"\n{table}");
        check(&text, &sources(), &[&[part]]);
    }
}

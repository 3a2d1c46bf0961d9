//! Keys, certificates and who holds them.

use super::*;

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
        ("[\"s3cret\"]", "number 1: the secret has 6 bytes"),
        ("[]", "an empty list"),
        ("[true]", "number 1: it is the secret in quotes"),
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
        &[
            &["`api.keys.name`: \"a\" is the name of another key too"],
            &["`api.keys.sha256`: it is the key of `a` too"],
        ],
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
    assert_eq!(one.listen.to_string(), "127.0.0.1:8080");

    let text = format!(
        "allowed_origins = [\"http://localhost:3000\"]\n[auth]\n{KEY}[[channels]]\nmatch = \"a\"\nsubscribe = \"anyone\""
    );
    let own = good(&text, &dev());
    assert_eq!(own.auth.secret, set("").auth.secret);
    assert!(own.rules.decide(Action::Subscribe, "a", None).allowed);
    assert_ne!(own.rules, Rules::dev());
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
    let unix = format!(
        "listen = \"unix:a.sock\"\n{}",
        with("cert = \"cert.pem\"\nkey = \"key.pem\"")
    );
    check(&unix, &sources, &[&[":1: `listen`", "a Unix socket has no TLS"]]);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_password_of_the_console_can_stand_where_other_secrets_can() {
    let environment = || Environment::from([("PASSWORD", "twelve chars"), ("SHORT", "s3cret")]);
    let with_password = |value: &str| format!("[auth]\n{KEY}[admin]\npassword = {value}\n");
    assert!(set("").console_password.is_none());
    for value in ["\"twelve chars\"", "{ env = \"PASSWORD\" }"] {
        let config = good(&with_password(value), &with(environment()));
        assert!(config.console_password.is_some(), "{value}");
    }
    let variable = Environment::from([("TIDINGS_ADMIN__PASSWORD", "twelve chars")]);
    assert!(
        good(&format!("[auth]\n{KEY}"), &with(variable))
            .console_password
            .is_some()
    );
    for (value, part) in [
        ("\"s3cret\"", "6 characters; it must have at least 12"),
        ("{ env = \"SHORT\" }", "6 characters"),
        ("\"\"", "0 characters"),
        ("{ env = \"NOWHERE\" }", "`NOWHERE` is not set"),
        ("7", "it is the secret in quotes"),
    ] {
        let error = error(&with_password(value), &with(environment()));
        assert!(error.contains("`admin.password`") && error.contains(part), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

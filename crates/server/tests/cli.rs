//! The command line: exit codes, what goes where, and `tidings token`.

#![allow(clippy::unwrap_used, reason = "a test may unwrap: its panic is its failure")]

use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const KEY: (&str, &str) = ("TIDINGS_AUTH__HS256", "0123456789abcdef0123456789abcdef");

/// Runs the binary with no other environment than `variables`.
fn tidings(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command
        .env_clear()
        .envs(variables.iter().copied())
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[test]
fn token_prints_one_that_says_what_the_flags_say() {
    let arguments = [
        "token",
        "--user",
        "ann",
        "--subscribe",
        "room:*",
        "news",
        "--publish",
        "room:7",
        "--expires",
        "90s",
    ];
    let output = tidings(
        &arguments,
        &[
            KEY,
            ("TIDINGS_AUTH__AUDIENCE", "chat,feed"),
            ("TIDINGS_AUTH__ISSUER", "shop"),
        ],
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let stdout = text(&output.stdout);
    assert_eq!(stdout.lines().count(), 1);
    let claims = claims(stdout.trim_end());
    assert_eq!(claims["sub"], "ann");
    assert_eq!(
        claims["channels"],
        json!({ "subscribe": ["room:*", "news"], "publish": ["room:7"] })
    );
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 90);
    assert_eq!((&claims["aud"], &claims["iss"]), (&json!("chat"), &json!("shop")));
}

#[test]
fn token_is_signed_with_the_key_of_the_configuration() {
    let file = std::env::temp_dir().join(format!("tidings-{}-token.toml", std::process::id()));
    std::fs::write(&file, format!("[auth]\nhs256 = \"{}\"\n", KEY.1)).unwrap();
    let output = tidings(&["token", "--user", "ann", "--config", file.to_str().unwrap()], &[]);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let token = text(&output.stdout);
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    validation.leeway = 0;
    let key = jsonwebtoken::DecodingKey::from_secret(KEY.1.as_bytes());
    assert!(jsonwebtoken::decode::<Value>(token.trim_end(), &key, &validation).is_ok());
}

#[test]
fn token_without_a_key_says_what_to_set() {
    for variables in [&[][..], &[("TIDINGS_AUTH__ANONYMOUS", "true")]] {
        let output = tidings(&["token", "--user", "ann"], variables);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        assert!(text(&output.stderr).contains("TIDINGS_AUTH__HS256"));
    }
    let short = tidings(&["token", "--user", "ann"], &[(KEY.0, "s3cret")]);
    assert_eq!(short.status.code(), Some(1));
    let stderr = text(&short.stderr);
    assert!(
        stderr.contains("openssl rand -hex 32") && !stderr.contains("s3cret"),
        "{stderr}"
    );
}

#[test]
fn wrong_usage_is_exit_code_2_and_says_nothing_on_stdout() {
    for arguments in [
        &[][..],
        &["nonsense"],
        &["config"],
        &["token"],
        &["token", "--user", ""],
        &["token", "--user", "ann", "--expires", "soon"],
        &["token", "--user", "ann", "--publish", "{a}{b}"],
        &["serve", "--listen"],
    ] {
        let output = tidings(arguments, &[KEY]);
        assert_eq!(output.status.code(), Some(2), "tidings {}", arguments.join(" "));
        assert!(output.stdout.is_empty());
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn help_and_version_are_exit_code_0() {
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["help", "serve"],
        &["token", "--help"],
        &["config", "--help"],
    ] {
        let output = tidings(arguments, &[]);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("tidings"));
    }
    let help = text(&tidings(&["serve", "--help"], &[]).stdout);
    for flag in ["--dev", "--config", "--listen", "--data", "--json"] {
        assert!(help.contains(flag), "{flag} is not in the help");
    }
}

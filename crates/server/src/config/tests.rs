//! What can be set and what is said about what can't. A check is a text, and what its errors must hold.

use super::*;
use crate::api::keys::ApiKeys;
use crate::on::On;
use tidings::{Edge, Slow};

use crate::rules::{Action, By, Form, History, Pace, Policy, Rule};
use crate::token::Verifier;

mod refusals;
mod secrets;
mod settings;

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

//! `[hooks]`: what the back end is asked.

use std::time::Duration;

use super::document::{Node, Origin, Table};
use super::keys::HOOKS;
use super::problem::Problem;
use super::secret::{self, Places};
use super::section::{Section, boolean, duration, text, texts};
use crate::connect::Connector;
use crate::hooks::Settings;
use crate::on::{OWN_EVENTS, On};
use crate::rules::Pattern;
use crate::token::{SECRET_BYTES_MIN, Secret};
use crate::url::Url;

/// How long the back end may take unless it is told otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long it may take at the most: clients wait.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Reads the table, if there is one. `on` are the events that go elsewhere.
pub(super) fn read(
    table: Option<(Table, Origin)>,
    places: Places<'_>,
    on: &[On],
    problems: &mut Vec<Problem>,
) -> Option<Settings> {
    let (table, origin) = table?;
    let missing = [
        (
            "url",
            "it is where the back end is called, as in url = \"http://127.0.0.1:3000/tidings\"",
        ),
        (
            "secret",
            "the back end checks with it who calls, as in secret = { env = \"TIDINGS_HOOK_SECRET\" }",
        ),
    ]
    .map(|(key, meaning)| (key, meaning, !table.contains_key(key)));
    let asks = ["connect", "disconnect", "subscribe", "events"].map(|key| table.contains_key(key));
    let mut section = Section::new("hooks.", &HOOKS, table, problems);
    for (key, meaning, _) in missing.into_iter().filter(|(.., is_missing)| *is_missing) {
        section.problem(origin.clone(), key, &format!("is missing; {meaning}"));
    }
    if asks == [false; 4] {
        let problem = "is missing, and so are `disconnect`, `subscribe` and `events`: the back end would be asked nothing. \
            Write one of them, as in connect = true";
        section.problem(origin, "connect", problem);
    }
    let url = section.read("url", url);
    let is_https = url.as_ref().is_some_and(Url::is_https);
    let ca = section.read("ca", |node| ca(node, places, is_https || url.is_none()));
    let secret = section.read("secret", |node| secret_of(node, places));
    let connect = section.read("connect", boolean).unwrap_or_default();
    let disconnect = section.read("disconnect", boolean).unwrap_or_default();
    let subscribe = section.read("subscribe", |node| patterns(node, pattern));
    let events = section.read("events", |node| patterns(node, |text| event(text, on)));
    let timeout = section.read("timeout", timeout).unwrap_or(TIMEOUT);
    section.finish();
    let mut url = url?;
    url.ca = ca;
    Some(Settings {
        url,
        secret: secret?,
        connect,
        disconnect,
        subscribe: subscribe.unwrap_or_default(),
        events: events.unwrap_or_default(),
        timeout,
    })
}

fn url(node: &Node) -> Result<Url, String> {
    // Not shown: there may be a password in it.
    text(node)?
        .parse()
        .map_err(|error: crate::url::UrlError| error.to_string())
}

fn ca(node: &Node, places: Places<'_>, is_https: bool) -> Result<std::path::PathBuf, String> {
    let path = places.folder.join(text(node)?);
    if !is_https {
        return Err("it is for a `url` that begins with https://".to_owned());
    }
    Connector::new(true, Some(&path))?;
    Ok(path)
}

fn secret_of(node: &Node, places: Places<'_>) -> Result<Secret, String> {
    let bytes = secret::bytes("secret", node, places)?;
    Secret::new(&bytes).map_err(|_| {
        format!(
            "the secret has {} bytes; it must have at least {SECRET_BYTES_MIN}, since a shorter one can be guessed. Make one \
             with `openssl rand -hex 32`",
            bytes.len()
        )
    })
}

fn patterns(node: &Node, read: impl Fn(&str) -> Result<Pattern, String>) -> Result<Vec<Pattern>, String> {
    let list = texts(node)?;
    if list.is_empty() {
        return Err("an empty list given; name a pattern, or leave it out".to_owned());
    }
    list.iter().map(|text| read(text)).collect()
}

fn pattern(text: &str) -> Result<Pattern, String> {
    text.parse().map_err(|error| format!("{text:?} is no pattern: {error}"))
}

/// A pattern of events that are the back end's alone.
fn event(name: &str, on: &[On]) -> Result<Pattern, String> {
    let pattern = pattern(name)?;
    if name.contains(['*', '{']) {
        return Ok(pattern);
    }
    tidings::check_event_name(name).map_err(|error| format!("{name:?}: {}", error.message()))?;
    if OWN_EVENTS.contains(&name) {
        return Err(format!(
            "{name:?} is an event that the server answers itself; take another name"
        ));
    }
    if on.iter().any(|on| on.event == name) {
        return Err(format!(
            "{name:?} has a table `[[on]]`, which it goes to; leave one of the two out"
        ));
    }
    Ok(pattern)
}

fn timeout(node: &Node) -> Result<Duration, String> {
    match duration(node)? {
        Duration::ZERO => Err(format!("{node} given; the back end needs some time")),
        time if time > TIMEOUT_MAX => Err(format!("{node} is too long, for clients wait; at most 60s")),
        time => Ok(time),
    }
}

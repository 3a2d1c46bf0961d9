//! `history = { … }` of a rule: what its channels retain.

use std::time::Duration;

use super::document::{Node, Value};
use super::keys::HISTORY;
use super::section::{Section, positive, take, time};
use crate::rules::History;

/// The longest time for which events can be kept. Longer than that is for good, and `for` is better left out.
const TIME_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// Takes the key of a rule. `can_keep`: there is a place for it.
pub(super) fn read(rule: &mut Section<'_>, can_keep: bool) -> Option<History> {
    rule.read("history", |node| {
        let history = history(node)?;
        if can_keep {
            Ok(history)
        } else {
            Err("needs a folder to keep it in: set `data`, as in `data = \"./tidings-data\"`, before the first table, or use --data".to_owned())
        }
    })
}

fn history(node: &Node) -> Result<History, String> {
    let meant = "it is one or more of `keep`, `for` and `bytes`, as in { keep = 1000, for = \"30d\" }";
    let Value::Table(table) = &node.value else {
        return Err(format!("{node} given; {meant}"));
    };
    if let Some(unknown) = table.keys().find(|key| !HISTORY.known.contains(&key.as_str())) {
        return Err(HISTORY.complaint(&format!("history.{unknown}"), unknown));
    }
    if table.is_empty() {
        return Err(format!("an empty table given; {meant}"));
    }
    Ok(History {
        keep: take(table, "keep", positive)?,
        time: take(table, "for", retention_time)?,
        bytes: take(table, "bytes", positive)?,
    })
}

fn retention_time(node: &Node) -> Result<Duration, String> {
    match time(node)? {
        Duration::ZERO => Err(format!("{node} given; it is more than nothing")),
        time if time > TIME_MAX => Err(format!("{node} is too long; at most 100 years")),
        time => Ok(time),
    }
}

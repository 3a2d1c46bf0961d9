//! `[[on]]`: what clients' events do.

use super::document::{Node, Origin, Table};
use super::keys::ON;
use super::problem::Problem;
use super::section::{Section, boolean, text};
use crate::on::{OWN_EVENTS, On};
use crate::template::Template;

/// Reads the tables.
pub(super) fn read(tables: Vec<(Table, Origin)>, problems: &mut Vec<Problem>) -> Vec<On> {
    let mut all: Vec<On> = Vec::new();
    for (table, origin) in tables {
        let missing = [
            (
                "event",
                "it is the event that clients emit, as in event = \"chat:message\"",
            ),
            (
                "to",
                "it is the channel to publish to, as in to = \"room:{data.roomId}\"",
            ),
        ]
        .map(|(key, meaning)| (key, meaning, !table.contains_key(key)));
        let mut section = Section::new("on.", &ON, table, problems);
        for (key, meaning, _) in missing.into_iter().filter(|(.., is_missing)| *is_missing) {
            section.problem(origin.clone(), key, &format!("is missing; {meaning}"));
        }
        let event = section.read("event", |node| event(node, &all));
        let to = section.read("to", template);
        let volatile = section.read("volatile", boolean).unwrap_or_default();
        let key = section.read_placed("key", template);
        if let Some((_, origin)) = key.as_ref().filter(|_| volatile) {
            let problem =
                "what is volatile is not kept, so that it can't be the same as before; leave one of the two out";
            section.problem(origin.clone(), "key", problem);
        }
        section.finish();
        if let (Some(event), Some(to)) = (event, to) {
            all.push(On {
                event,
                to,
                key: key.map(|(key, _)| key),
                volatile,
            });
        }
    }
    all
}

fn event(node: &Node, earlier: &[On]) -> Result<String, String> {
    let name = text(node)?;
    tidings::check_event_name(&name).map_err(|error| format!("{node}: {}", error.message()))?;
    if OWN_EVENTS.contains(&&*name) {
        return Err(format!(
            "{node} is an event that the server answers itself; take another name"
        ));
    }
    if earlier.iter().any(|on| on.event == name) {
        return Err(format!("{node} has a table before this one; an event has one"));
    }
    Ok(name)
}

fn template(node: &Node) -> Result<Template, String> {
    let text = text(node)?;
    if text.is_empty() {
        return Err(format!("{node} is empty"));
    }
    text.parse().map_err(|error| format!("{node}: {error}"))
}

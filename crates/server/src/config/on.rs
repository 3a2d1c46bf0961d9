//! `[[on]]`: what clients' events do.

use super::document::{Node, Origin, Table};
use super::keys::ON;
use super::problem::Problem;
use super::section::{Section, boolean, text};
use crate::access;
use crate::on::{OWN_EVENTS, On};
use crate::rules::{Policy, Rules};
use crate::template::Template;

/// Reads the tables.
pub(super) fn read(tables: Vec<(Table, Origin)>, rules: &Rules, problems: &mut Vec<Problem>) -> Vec<On> {
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
        let to = section.read("to", |node| channel(node, rules));
        let volatile = section.read("volatile", boolean).unwrap_or_default();
        let key = section.read_placed("key", template);
        if let Some((_, origin)) = key.as_ref().filter(|_| volatile) {
            let problem =
                "what is volatile is not kept, so that it can't be the same as before; leave one of the two out";
            section.problem(origin.clone(), "key", problem);
        }
        if let (Some((_, origin)), Some(to)) = (&key, &to)
            && let Some(rule) = rules.only(to).filter(|rule| rule.pace.is_some())
        {
            let problem = format!(
                "the events of `{}` are paced, and have no keys: only the latest matters; leave `key` out",
                rule.pattern
            );
            section.problem(origin.clone(), "key", &problem);
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

fn channel(node: &Node, rules: &Rules) -> Result<Template, String> {
    let to = template(node)?;
    let sample = to.sample();
    access::check_name(&sample).map_err(|error| format!("{node} makes no channel's name: {}", error.message()))?;
    // With a place in it, it may be for other names than this one.
    if to.is_literal() {
        match rules.first(&sample) {
            None if rules.is_empty() => {}
            None => {
                return Err(format!(
                    "{node} is a channel without a rule in [[channels]]: nobody may publish there"
                ));
            }
            Some(rule) if rule.publish == Policy::Nobody => {
                return Err(format!("nobody may publish there: the rule `{}` says so", rule.pattern));
            }
            Some(_) => {}
        }
    }
    Ok(to)
}

fn template(node: &Node) -> Result<Template, String> {
    let text = text(node)?;
    if text.is_empty() {
        return Err(format!("{node} is empty"));
    }
    text.parse().map_err(|error| format!("{node}: {error}"))
}

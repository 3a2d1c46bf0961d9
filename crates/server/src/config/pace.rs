//! `conflate`, `throttle` and `debounce` of a rule: how often what is published is passed on.

use std::time::Duration;

use tidings::Edge;

use super::document::{Node, Table, Value};
use super::keys::{CONFLATE, DEBOUNCE, Keys, THROTTLE};
use super::section::{Section, duration, take, text};
use crate::rules::{By, Form, Pace};

/// The shortest and the longest time: between them something is held, in memory.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(3_600);

const EDGES: [(&str, Edge); 3] = [
    ("leading", Edge::Leading),
    ("trailing", Edge::Trailing),
    ("both", Edge::Both),
];

/// Takes the keys of a rule, of which one can be there. `keeps`: the rule has a `history`.
pub(super) fn read(rule: &mut Section<'_>, keeps: bool) -> Option<Pace> {
    let conflate = rule.read_placed("conflate", conflate);
    let throttle = rule.read_placed("throttle", throttle);
    let debounce = rule.read_placed("debounce", debounce);
    if let Some((_, origin)) = conflate.as_ref().filter(|_| keeps) {
        let problem = "conflated values are not kept in a history, which has each event; leave one of the two out";
        rule.problem(origin.clone(), "conflate", problem);
    }
    let named = [("conflate", conflate), ("throttle", throttle), ("debounce", debounce)];
    let mut given = named.into_iter().filter_map(|(key, pace)| Some((key, pace?)));
    let (first, (pace, _)) = given.next()?;
    for (key, (_, origin)) in given {
        rule.problem(
            origin,
            key,
            &format!("a channel has one pace: leave out this or `{first}`"),
        );
    }
    Some(pace)
}

fn conflate(node: &Node) -> Result<Pace, String> {
    let table = table(node, &CONFLATE, "{ by = \"data.id\", every = \"50ms\" }")?;
    Ok(Pace {
        form: Form::Conflate {
            keep: take(table, "for", pace_time)?,
        },
        every: every(table)?,
        by: take(table, "by", by)?,
    })
}

fn throttle(node: &Node) -> Result<Pace, String> {
    let table = table(node, &THROTTLE, "{ every = \"100ms\", edge = \"both\" }")?;
    Ok(Pace {
        form: Form::Throttle {
            edge: take(table, "edge", edge)?.unwrap_or_default(),
        },
        every: every(table)?,
        by: take(table, "by", by)?,
    })
}

/// A time alone, or a table.
fn debounce(node: &Node) -> Result<Pace, String> {
    let (every, by) = match &node.value {
        Value::Table(_) => {
            let table = table(node, &DEBOUNCE, "{ every = \"200ms\", by = \"user\" }")?;
            (every(table)?, take(table, "by", by)?)
        }
        _ => (pace_time(node)?, None),
    };
    Ok(Pace {
        form: Form::Debounce,
        every,
        by,
    })
}

fn table<'a>(node: &'a Node, keys: &'static Keys, example: &str) -> Result<&'a Table, String> {
    let Value::Table(table) = &node.value else {
        return Err(format!("{node} given; it is a table, as in {example}"));
    };
    match table.keys().find(|key| !keys.known.contains(&key.as_str())) {
        Some(unknown) => Err(keys.complaint(unknown, unknown)),
        None => Ok(table),
    }
}

fn every(table: &Table) -> Result<Duration, String> {
    take(table, "every", pace_time)?
        .ok_or_else(|| "`every` is missing; it is a time, as in every = \"50ms\"".to_owned())
}

fn pace_time(node: &Node) -> Result<Duration, String> {
    match duration(node)? {
        time if time < SHORTEST => Err(format!("{node} is too short; it is a millisecond or more")),
        time if time > LONGEST => Err(format!("{node} is too long; at most an hour")),
        time => Ok(time),
    }
}

fn by(node: &Node) -> Result<By, String> {
    let name = text(node)?;
    let meant = "it is \"event\", \"user\", or a field of the data, as in \"data.id\"";
    match name.as_str() {
        "event" => Ok(By::Event),
        _ if name.contains(['{', '}']) => Err(format!("{node} given; {meant}, without braces")),
        _ => {
            let template = format!("{{{name}}}").parse();
            template.map(By::Field).map_err(|_| format!("{node} given; {meant}"))
        }
    }
}

fn edge(node: &Node) -> Result<Edge, String> {
    let name = text(node)?;
    let found = EDGES.iter().find(|(known, _)| *known == name);
    found.map(|(_, edge)| *edge).ok_or_else(|| {
        let names: Vec<_> = EDGES.iter().map(|(known, _)| *known).collect();
        format!("{node} given; it is one of {}", names.join(", "))
    })
}

//! `[[channels]]`: the rules, in their order.

use super::document::{Node, Origin, Table};
use super::history;
use super::keys::CHANNELS;
use super::pace;
use super::problem::Problem;
use super::section::{Section, boolean, text};
use tidings::Slow;

use crate::rules::{Pattern, Policy, Rule, Rules};

/// Reads the tables. `can_keep`: there is a place for `history`.
pub(super) fn read(tables: Vec<(Table, Origin)>, can_keep: bool, problems: &mut Vec<Problem>) -> Rules {
    let mut rules = Rules::default();
    for (table, origin) in tables {
        let given = table.contains_key("match");
        let mut section = Section::new("channels.", &CHANNELS, table, problems);
        let pattern = section.read_placed("match", pattern);
        let subscribe = section.read("subscribe", policy).unwrap_or_default();
        let publish = section.read("publish", policy).unwrap_or_default();
        let presence = section.read("presence", boolean).unwrap_or_default();
        let history = history::read(&mut section, can_keep);
        let pace = pace::read(&mut section, history.is_some());
        let slow = section.read("slow", slow).unwrap_or_default();
        match pattern {
            Some((pattern, origin)) => {
                let rule = Rule {
                    pattern,
                    subscribe,
                    publish,
                    presence,
                    history,
                    pace,
                    slow,
                };
                if let Err(error) = rules.push(rule) {
                    section.problem(origin, "match", &error.to_string());
                }
            }
            None if given => {}
            None => section.problem(
                origin,
                "match",
                "is missing; it says which channels the rule is for, as in \"room:*\"",
            ),
        }
        section.finish();
    }
    rules
}

fn pattern(node: &Node) -> Result<Pattern, String> {
    text(node)?
        .parse()
        .map_err(|error| format!("{node} is no pattern: {error}"))
}

fn slow(node: &Node) -> Result<Slow, String> {
    match text(node)?.as_str() {
        "lag" => Ok(Slow::Lag),
        "close" => Ok(Slow::Close),
        "drop" => Ok(Slow::Drop),
        _ => Err(format!("{node} given; it is one of lag, close, drop")),
    }
}

fn policy(node: &Node) -> Result<Policy, String> {
    let name = text(node)?;
    let found = Policy::ALL.iter().find(|(known, _)| *known == name);
    found.map(|(_, policy)| *policy).ok_or_else(|| {
        let names: Vec<_> = Policy::ALL.iter().map(|(known, _)| *known).collect();
        format!("{node} given; it is one of {}", names.join(", "))
    })
}

//! Reading a table: each key is taken with what it must be, and what is left over is a problem.

use std::str::FromStr;
use std::time::Duration;

use super::document::{Node, Origin, Table, Value};
use super::keys::Keys;
use super::problem::Problem;

/// The longest time that can be set.
const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A table that is being read.
pub(super) struct Section<'a> {
    /// What its keys are called in messages: empty, or `limits.`, or `channels.`.
    prefix: String,
    keys: &'static Keys,
    table: Table,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Section<'a> {
    pub(super) fn new(prefix: &str, keys: &'static Keys, table: Table, problems: &'a mut Vec<Problem>) -> Self {
        Self {
            prefix: prefix.to_owned(),
            keys,
            table,
            problems,
        }
    }

    /// Takes a key. None when it is absent, and when it can't be read, which is then a problem.
    pub(super) fn read<T>(&mut self, key: &str, parse: impl FnOnce(&Node) -> Result<T, String>) -> Option<T> {
        self.read_placed(key, parse).map(|(value, _)| value)
    }

    /// As [`Section::read`], with where the value stands.
    pub(super) fn read_placed<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&Node) -> Result<T, String>,
    ) -> Option<(T, Origin)> {
        debug_assert!(self.keys.known.contains(&key), "{key} is not in the list of keys");
        let node = self.table.remove(key)?;
        match parse(&node) {
            Ok(value) => Some((value, node.origin)),
            Err(message) => {
                self.problem(node.origin, key, &message);
                None
            }
        }
    }

    /// Takes the table at a key; an empty one when it is absent.
    pub(super) fn table(&mut self, key: &str) -> Table {
        self.placed_table(key).map(|(table, _)| table).unwrap_or_default()
    }

    /// Takes the table at a key with where it begins; none when it is absent.
    pub(super) fn placed_table(&mut self, key: &str) -> Option<(Table, Origin)> {
        self.read_placed(key, |node| match &node.value {
            Value::Table(table) => Ok(table.clone()),
            _ => Err(format!(
                "{node} given; it is a table: write `[{key}]` on a line of its own, and its keys below"
            )),
        })
    }

    /// Takes the tables of a list, each with where it begins.
    pub(super) fn tables(&mut self, key: &str) -> Vec<(Table, Origin)> {
        let meant = format!(
            "it is a list of tables, in the file only: write `[[{}{key}]]` before each",
            self.prefix
        );
        let tables = self.read(key, |node| {
            let Value::List(list) = &node.value else {
                return Err(format!("{node} given; {meant}"));
            };
            let table = |node: &Node| match &node.value {
                Value::Table(table) => Ok((table.clone(), node.origin.clone())),
                _ => Err(format!("{node} given; {meant}")),
            };
            list.iter().map(table).collect()
        });
        tables.unwrap_or_default()
    }

    /// Notes what is wrong with a key.
    pub(super) fn problem(&mut self, origin: Origin, key: &str, message: &str) {
        self.problems
            .push(Problem::new(origin, format!("`{}{key}`: {message}", self.prefix)));
    }

    /// Ends the reading: what nobody took is no key.
    pub(super) fn finish(self) {
        for (key, node) in self.table {
            let complaint = self.keys.complaint(&format!("{}{key}", self.prefix), &key);
            self.problems.push(Problem::new(node.origin, complaint));
        }
    }
}

/// Takes a key of a table within a line.
pub(super) fn take<T>(
    table: &Table,
    key: &str,
    parse: impl FnOnce(&Node) -> Result<T, String>,
) -> Result<Option<T>, String> {
    let value = table.get(key).map(parse).transpose();
    value.map_err(|error| format!("`{key}`: {error}"))
}

/// A text.
pub(super) fn text(node: &Node) -> Result<String, String> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        _ => Err(format!("{node} given; it is a text in quotes")),
    }
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node) -> Result<bool, String> {
    match &node.value {
        Value::Boolean(value) => Ok(*value),
        Value::Text(text) if node.is_plain() && text == "true" => Ok(true),
        Value::Text(text) if node.is_plain() && text == "false" => Ok(false),
        _ => Err(format!("{node} given; it is true or false")),
    }
}

/// A number that is not negative and that the limit's type can hold.
pub(super) fn count<T: TryFrom<i128>>(node: &Node) -> Result<T, String> {
    let number = match &node.value {
        Value::Integer(number) => Some(*number),
        Value::Text(text) if node.is_plain() => text.parse().ok(),
        _ => None,
    };
    match number {
        Some(number) if number < 0 => Err(format!("{node} given; it is 0 (no limit) or more")),
        Some(number) => T::try_from(number).map_err(|_| format!("{node} given, which is too large")),
        None => Err(format!("{node} given; it is a whole number, 0 for no limit")),
    }
}

/// A number from 1 on.
pub(super) fn positive(node: &Node) -> Result<u64, String> {
    match count(node) {
        Ok(0) | Err(_) if !matches!(&node.value, Value::Integer(number) if *number > 0) => {
            Err(format!("{node} given; it is a whole number, 1 or more"))
        }
        number => number,
    }
}

/// A time such as `"20s"`, `"2m"` or `"50ms"`, of 365 days at most.
pub(super) fn duration(node: &Node) -> Result<Duration, String> {
    let duration = time(node)?;
    if duration > DURATION_MAX {
        return Err(format!("{node} is too long; at most 365 days"));
    }
    Ok(duration)
}

/// A time of any length.
pub(super) fn time(node: &Node) -> Result<Duration, String> {
    let meant = "write a number and a unit, such as \"20s\", \"2m\" or \"50ms\"";
    match &node.value {
        Value::Integer(0) => Ok(Duration::ZERO),
        Value::Text(text) if text == "0" => Ok(Duration::ZERO),
        Value::Text(text) => humantime::parse_duration(text).map_err(|_| format!("{node} is no time; {meant}")),
        Value::Integer(_) => Err(format!("{node} has no unit; {meant}")),
        _ => Err(format!("{node} given; {meant}")),
    }
}

/// Texts: a list of them, or one; outside the file, with commas between them.
pub(super) fn texts(node: &Node) -> Result<Vec<String>, String> {
    match &node.value {
        Value::List(list) => list.iter().map(text).collect(),
        Value::Text(list) if node.is_plain() => Ok(list
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect()),
        Value::Text(one) => Ok(vec![one.clone()]),
        _ => Err(format!("{node} given; it is a list of texts, such as [\"…\", \"…\"]")),
    }
}

/// A list of what can be read from a text.
pub(super) fn parsed<T: FromStr<Err = String>>(node: &Node) -> Result<Vec<T>, String> {
    texts(node)?.iter().map(|text| text.parse()).collect()
}

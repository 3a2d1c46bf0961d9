//! The configuration as it was written, before anybody asks what it means: the file, with the environment and the
//! flags laid over it. Every value knows where it comes from, so that whoever reads it can say so.

use std::collections::BTreeMap;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::TOP;
use super::problem::Problem;

/// What the variables begin with.
const PREFIX: &str = "TIDINGS_";

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// A line of the file, from 1.
    Line(usize),
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
    /// From nowhere: it is missing.
    Nowhere,
}

/// A value and where it comes from.
#[derive(Clone, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

#[derive(Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i128),
    Boolean(bool),
    List(Vec<Node>),
    Table(Table),
    /// What no key takes, as it is called: a float, a date.
    Other(&'static str),
}

/// The values of a table by their keys.
pub(super) type Table = BTreeMap<String, Node>;

/// The variables of the environment: name, and value where that is UTF-8.
#[derive(Clone, Default)]
pub(crate) struct Environment(BTreeMap<String, Option<String>>);

impl Environment {
    /// The environment of this process.
    pub(crate) fn of_process() -> Self {
        let variables = std::env::vars_os();
        Self(
            variables
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok())))
                .collect(),
        )
    }

    /// Whether there is such a variable.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A variable's value.
    ///
    /// # Errors
    /// A message that says what is the matter with it.
    pub(super) fn get(&self, name: &str) -> Result<&str, String> {
        match self.0.get(name) {
            None => Err(format!("the environment variable `{name}` is not set")),
            Some(None) => Err(format!("the environment variable `{name}` is not UTF-8")),
            Some(Some(value)) => Ok(value),
        }
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self(
            variables
                .map(|(name, value)| (name.to_owned(), Some(value.to_owned())))
                .into(),
        )
    }
}

/// Reads a file's text.
///
/// # Errors
/// Where it is no TOML. The message never quotes the line, which may hold a secret.
pub(super) fn parse(text: &str) -> Result<Table, Problem> {
    let lines = Lines(text);
    match DeTable::parse(text) {
        Ok(table) => Ok(lines.table(table.get_ref())),
        Err(error) => {
            let origin = error.span().map_or(Origin::Nowhere, |span| lines.at(span.start));
            Err(Problem::new(origin, format!("not TOML: {}", error.message())))
        }
    }
}

/// Lays the variables over the table: `TIDINGS_LISTEN` is `listen`, `TIDINGS_AUTH__HS256` is `hs256` in `[auth]`.
///
/// A variable with `__` is meant for Tidings, and one that names no key is found when the table is read. Others that
/// merely begin with `TIDINGS_` are left alone: a cluster sets `TIDINGS_PORT` for its own reasons.
pub(super) fn overlay(table: &mut Table, environment: &Environment, problems: &mut Vec<Problem>) {
    for (name, value) in &environment.0 {
        let Some(rest) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let key = rest.to_lowercase();
        if !key.contains("__") && !TOP.known.contains(&&*key) && !TOP.later.contains(&&*key) {
            continue;
        }
        let origin = Origin::Variable(name.clone());
        match value {
            Some(value) => {
                let path: Vec<&str> = key.split("__").collect();
                insert(
                    table,
                    &path,
                    Node {
                        value: Value::Text(value.clone()),
                        origin,
                    },
                );
            }
            None => problems.push(Problem::new(origin, "its value is not UTF-8".to_owned())),
        }
    }
}

/// Puts a value at a path, in the place of what is there.
pub(super) fn insert(table: &mut Table, path: &[&str], node: Node) {
    match path {
        [] => {}
        [key] => {
            table.insert((*key).to_owned(), node);
        }
        [key, rest @ ..] => {
            let origin = node.origin.clone();
            let inner = table.entry((*key).to_owned()).or_insert_with(|| Node {
                value: Value::Table(Table::new()),
                origin,
            });
            if !matches!(inner.value, Value::Table(_)) {
                *inner = Node {
                    value: Value::Table(Table::new()),
                    origin: node.origin.clone(),
                };
            }
            if let Value::Table(inner) = &mut inner.value {
                insert(inner, rest, node);
            }
        }
    }
}

impl Node {
    /// Whether it was written as plain text outside the file, where there are no other types.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.origin, Origin::Variable(_) | Origin::Flag(_))
    }
}

/// The value as an error shows it.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Text(text) if text.chars().count() > 80 => f.write_str("a text of more than 80 characters"),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Boolean(value) => write!(f, "{value}"),
            Value::List(_) => f.write_str("a list"),
            Value::Table(_) => f.write_str("a table"),
            Value::Other(kind) => write!(f, "a {kind}"),
        }
    }
}

/// The file's text, to find lines in.
struct Lines<'a>(&'a str);

impl Lines<'_> {
    fn at(&self, offset: usize) -> Origin {
        let before = &self.0.as_bytes()[..offset.min(self.0.len())];
        Origin::Line(before.iter().filter(|byte| **byte == b'\n').count() + 1)
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let key: &Spanned<std::borrow::Cow<'_, str>> = key;
            let node = Node {
                value: self.value(value.get_ref()),
                origin: self.at(key.span().start),
            };
            (key.get_ref().clone().into_owned(), node)
        };
        table.iter().map(entry).collect()
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => Value::Other("number too large to read"),
            },
            DeValue::Boolean(value) => Value::Boolean(*value),
            DeValue::Array(list) => {
                let node = |item: &Spanned<DeValue<'_>>| Node {
                    value: self.value(item.get_ref()),
                    origin: self.at(item.span().start),
                };
                Value::List(list.iter().map(node).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table)),
            DeValue::Float(_) => Value::Other("number with a fraction"),
            DeValue::Datetime(_) => Value::Other("date"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin_of(table: &Table, key: &str) -> Origin {
        table[key].origin.clone()
    }

    fn inner<'a>(table: &'a Table, key: &str) -> &'a Table {
        match &table[key].value {
            Value::Table(inner) => inner,
            _ => panic!("{key} is no table"),
        }
    }

    #[test]
    fn values_know_their_lines() {
        let text = "listen = \"a\"\n# one\n[auth]\n\nhs256 = { env = \"X\" }\n[[channels]]\nmatch = \"a\"\n[[channels]]\nmatch = \"b\"\n";
        let table = parse(text).unwrap();
        assert_eq!(origin_of(&table, "listen"), Origin::Line(1));
        assert_eq!(origin_of(inner(&table, "auth"), "hs256"), Origin::Line(5));
        let Value::List(rules) = &table["channels"].value else {
            panic!("no list")
        };
        let lines: Vec<_> = rules.iter().map(|rule| rule.origin.clone()).collect();
        assert_eq!(lines, [Origin::Line(6), Origin::Line(8)]);
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line_and_without_its_text() {
        for (text, line) in [
            ("listen = \"a\"\nhs256 = \"s3cret\n", 2),
            ("a = 1\na = 's3cret'\n", 2),
            ("\n\n[auth\ns3cret = 1", 3),
            ("x = s3cret\n", 1),
            ("s3cret", 1),
        ] {
            let problem = parse(text).err().unwrap_or_else(|| panic!("{text:?} is TOML"));
            assert_eq!(problem.origin, Origin::Line(line), "{text:?}");
            assert!(!problem.message.contains("s3cret"), "{}", problem.message);
        }
    }

    #[test]
    fn the_environment_lies_over_the_file() {
        let mut table = parse("listen = \"a\"\n[auth]\nissuer = \"x\"\n[[channels]]\nmatch = \"*\"").unwrap();
        let environment = Environment::from([
            ("TIDINGS_LISTEN", "b"),
            ("TIDINGS_AUTH__HS256", "k"),
            ("TIDINGS_LIMITS__CONNECTIONS", "1"),
            ("TIDINGS_CHANNELS__0__MATCH", "x"),
            ("TIDINGS_NOSUCH__KEY", "x"),
            ("TIDINGS_PORT", "tcp://10.0.0.1:80"),
            ("TIDINGS_API_KEY", "mine"),
            ("PATH", "/bin"),
        ]);
        let mut problems = Vec::new();
        overlay(&mut table, &environment, &mut problems);
        assert!(problems.is_empty());
        assert_eq!(
            table.keys().collect::<Vec<_>>(),
            ["auth", "channels", "limits", "listen", "nosuch"]
        );
        assert_eq!(
            origin_of(&table, "listen"),
            Origin::Variable("TIDINGS_LISTEN".to_owned())
        );
        assert_eq!(inner(&table, "auth").len(), 2);
        assert_eq!(origin_of(inner(&table, "auth"), "issuer"), Origin::Line(3));
        assert!(
            matches!(table["channels"].value, Value::Table(_)),
            "which is refused when it is read"
        );
    }
}

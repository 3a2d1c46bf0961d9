//! Which keys were set, and where: for whoever wonders why a setting is what it is.

use std::collections::BTreeMap;
use std::fmt;

use super::document::{Origin, Table, Value};

/// Where each key that was set stands, by its path: `auth.hs256`, `channels.0` for the first of a list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given(BTreeMap<String, Origin>);

impl Given {
    pub(super) fn of(table: &Table) -> Self {
        let mut given = Self::default();
        given.add("", table);
        given
    }

    fn add(&mut self, prefix: &str, table: &Table) {
        for (key, node) in table {
            let path = format!("{prefix}{key}");
            match &node.value {
                Value::Table(inner) => self.add(&format!("{path}."), inner),
                Value::List(list) => {
                    for (at, item) in list.iter().enumerate() {
                        self.0.insert(format!("{path}.{at}"), item.origin.clone());
                    }
                }
                _ => {}
            }
            self.0.insert(path, node.origin.clone());
        }
    }

    /// Where a key was set; none where it has its default.
    pub(crate) fn at(&self, path: &str) -> Option<&Origin> {
        self.0.get(path)
    }
}

/// In the words of an operator.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Line(line) => write!(f, "file, line {line}"),
            Origin::Variable(name) => f.write_str(name),
            Origin::Flag(flag) => f.write_str(flag),
            Origin::Nowhere => f.write_str("default"),
        }
    }
}

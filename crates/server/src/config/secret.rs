//! A secret in the configuration: itself, or where it is. No message here shows what was given: it may be the secret.

use std::path::Path;

use super::document::{Environment, Node, Value};
use super::keys::SECRET;
use super::section::text;

/// Where secrets can be, beside the configuration itself.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    /// Where the names of files begin.
    pub(super) folder: &'a Path,
    pub(super) environment: &'a Environment,
}

/// The bytes of the secret at `key`.
pub(super) fn bytes(key: &str, node: &Node, places: Places<'_>) -> Result<Vec<u8>, String> {
    let meant = "it is the secret in quotes, or { env = \"…\" }, or { file = \"…\" }";
    match &node.value {
        Value::Text(text) => Ok(text.clone().into_bytes()),
        Value::Table(table) => {
            if let Some(unknown) = table.keys().find(|key| !SECRET.known.contains(&key.as_str())) {
                return Err(SECRET.complaint(&format!("{key}.{unknown}"), unknown));
            }
            match (table.get("env"), table.get("file")) {
                (Some(name), None) => variable(&text(name)?, places.environment),
                (None, Some(name)) => file(places.folder, &text(name)?),
                (Some(_), Some(_)) => Err(format!("both `env` and `file` given; {meant}")),
                (None, None) => Err(format!("an empty table given; {meant}")),
            }
        }
        _ => Err(meant.to_owned()),
    }
}

fn variable(name: &str, environment: &Environment) -> Result<Vec<u8>, String> {
    Ok(environment.get(name)?.as_bytes().to_vec())
}

/// A file's bytes, without the newline that an editor or `openssl` ends a text with.
fn file(folder: &Path, name: &str) -> Result<Vec<u8>, String> {
    let path = folder.join(name);
    let mut bytes = std::fs::read(&path).map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    if std::str::from_utf8(&bytes).is_ok() {
        let kept = bytes.trim_ascii_end().len();
        bytes.truncate(kept);
    }
    Ok(bytes)
}

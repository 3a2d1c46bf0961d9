//! `[api]`: the keys of back ends.

use super::document::{Node, Origin, Table};
use super::keys::{API, API_KEY};
use super::problem::Problem;
use super::secret::{self, Places};
use super::section::{Section, text, texts};
use crate::api::keys::{ApiKey, Hash, Scope, Scopes};
use crate::token::{Secret, SecretError};

/// Who may use the server API.
#[derive(Debug, Clone, Default)]
pub(crate) struct Api {
    /// The one key that may do everything.
    pub(crate) key: Option<Secret>,
    /// Others, each with what it may do.
    pub(crate) keys: Vec<ApiKey>,
}

impl Api {
    /// Reads the table.
    pub(super) fn read(table: Table, places: Places<'_>, problems: &mut Vec<Problem>) -> Self {
        let mut section = Section::new("api.", &API, table, problems);
        let key = section.read("key", |node| key(node, places));
        let tables = section.tables("keys");
        section.finish();
        let mut keys = Vec::new();
        for (table, origin) in tables {
            keys.extend(named_key(table, origin, &keys, problems));
        }
        Self { key, keys }
    }
}

fn key(node: &Node, places: Places<'_>) -> Result<Secret, String> {
    let bytes = secret::bytes("key", node, places)?;
    if !bytes.iter().all(u8::is_ascii_graphic) {
        return Err(
            "the key has characters that can't be in a header: letters, digits and signs of ASCII can".to_owned(),
        );
    }
    Secret::new(&bytes).map_err(|error| match error {
        SecretError::TooShort(bytes) => format!(
            "the key has {bytes} bytes; it must have at least 32, since a shorter one can be guessed. Make one with \
             `openssl rand -hex 32`"
        ),
        SecretError::Random(_) => error.to_string(),
    })
}

/// One of `keys`, all of whose parts must be there.
fn named_key(table: Table, origin: Origin, earlier: &[ApiKey], problems: &mut Vec<Problem>) -> Option<ApiKey> {
    let missing = [
        ("name", "it says in the log who it was, as in name = \"billing\""),
        (
            "sha256",
            "it is the key's SHA-256, as `printf %s \"$KEY\" | sha256sum` prints it",
        ),
        (
            "scopes",
            "they say what the key may do, as in scopes = [\"publish:room:*\", \"read\"]",
        ),
    ]
    .map(|(key, meaning)| (key, meaning, !table.contains_key(key)));
    let mut section = Section::new("api.keys.", &API_KEY, table, problems);
    for (key, meaning, _) in missing.into_iter().filter(|(.., is_missing)| *is_missing) {
        section.problem(origin.clone(), key, &format!("is missing; {meaning}"));
    }
    let name = section.read("name", |node| name(node, earlier));
    let hash = section.read("sha256", |node| hash(node, earlier));
    let scopes = section.read("scopes", scopes);
    section.finish();
    Some(ApiKey::new(name?, hash?, scopes?))
}

fn name(node: &Node, earlier: &[ApiKey]) -> Result<String, String> {
    const BYTES_MAX: usize = 64;
    let name = text(node)?;
    if name.is_empty() || name.len() > BYTES_MAX || name.chars().any(char::is_control) {
        return Err(format!(
            "{node} is no name: 1 to {BYTES_MAX} bytes without control characters"
        ));
    }
    if earlier.iter().any(|key| key.name() == name) {
        return Err(format!("{node} is the name of another key too"));
    }
    Ok(name)
}

/// A SHA-256 in hexadecimal. What was given is not shown: somebody may have put the key itself there.
fn hash(node: &Node, earlier: &[ApiKey]) -> Result<Hash, String> {
    let meant = "it is the key's SHA-256, 64 hexadecimal digits, as `printf %s \"$KEY\" | sha256sum` prints it";
    let digits = text(node).map_err(|_| meant.to_owned())?;
    let hash = Hash::from_hex(&digits).ok_or_else(|| meant.to_owned())?;
    match earlier.iter().find(|key| key.has(&hash)) {
        Some(key) => Err(format!(
            "it is the key of `{}` too; give one key all its scopes",
            key.name()
        )),
        None => Ok(hash),
    }
}

fn scopes(node: &Node) -> Result<Scopes, String> {
    let list = texts(node)?;
    if list.is_empty() {
        return Err("an empty list given; a key without a scope can do nothing".to_owned());
    }
    let scopes = list.iter().map(|text| text.parse::<Scope>());
    scopes.collect::<Result<_, _>>()
}

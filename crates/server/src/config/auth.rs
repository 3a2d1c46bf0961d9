//! `[auth]`: the key of the tokens, and what else they must say.

use std::path::Path;

use super::document::{Environment, Node, Origin, Table, Value};
use super::keys::{AUTH, SECRET};
use super::problem::Problem;
use super::section::{Section, boolean, text, texts};
use crate::token::{Secret, VerifierOptions};

/// Who is let in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Auth {
    /// The secret of the tokens; without one, none is accepted.
    pub(crate) secret: Option<Secret>,
    /// The names one of which a token's `aud` must hold.
    pub(crate) audience: Vec<String>,
    /// The issuers one of which a token's `iss` must be.
    pub(crate) issuer: Vec<String>,
    /// Whether clients without a token are let in, as nobody in particular.
    pub(crate) anonymous: bool,
    /// The cookie that may hold the token.
    pub(crate) cookie: Option<String>,
}

impl Auth {
    /// What tokens are checked against.
    pub(crate) fn verifier_options(&self) -> VerifierOptions {
        VerifierOptions {
            secret: self.secret.clone(),
            audience: self.audience.clone(),
            issuer: self.issuer.clone(),
        }
    }

    /// Reads the table. `folder` is where the names of files begin.
    pub(super) fn read(table: Table, folder: &Path, environment: &Environment, problems: &mut Vec<Problem>) -> Self {
        let given = table.contains_key("hs256");
        let mut section = Section::new("auth.", &AUTH, table, problems);
        let auth = Self {
            secret: section.read("hs256", |node| secret(node, folder, environment)),
            audience: section.read("audience", texts).unwrap_or_default(),
            issuer: section.read("issuer", texts).unwrap_or_default(),
            anonymous: section.read("anonymous", boolean).unwrap_or_default(),
            cookie: section.read("cookie", cookie),
        };
        section.finish();
        let secret_is_due = !given && !auth.anonymous;
        if secret_is_due {
            problems.push(Problem::new(Origin::Nowhere, NO_KEY.to_owned()));
        }
        auth
    }
}

/// What is said where nobody could be let in.
const NO_KEY: &str = "there is no key to check tokens with, so nobody could connect. Set `hs256` in `[auth]`, as in \
    `hs256 = { env = \"JWT_SECRET\" }`, or TIDINGS_AUTH__HS256 in the environment, to the secret your back end signs \
    tokens with (make one with `openssl rand -hex 32`); or let everybody in without a token with `anonymous = true` in \
    `[auth]`; or try it out with `tidings serve --dev`";

/// The secret itself, or where it is. No message here shows what was given: it may be the secret.
fn secret(node: &Node, folder: &Path, environment: &Environment) -> Result<Secret, String> {
    let meant = "it is the secret in quotes, or { env = \"…\" }, or { file = \"…\" }";
    let bytes = match &node.value {
        Value::Text(text) => text.clone().into_bytes(),
        Value::Table(table) => {
            if let Some(key) = table.keys().find(|key| !SECRET.known.contains(&key.as_str())) {
                return Err(SECRET.complaint(&format!("hs256.{key}"), key));
            }
            match (table.get("env"), table.get("file")) {
                (Some(name), None) => variable(&text(name)?, environment)?,
                (None, Some(name)) => file(folder, &text(name)?)?,
                (Some(_), Some(_)) => return Err(format!("both `env` and `file` given; {meant}")),
                (None, None) => return Err(format!("an empty table given; {meant}")),
            }
        }
        _ => return Err(meant.to_owned()),
    };
    Secret::new(&bytes).map_err(|error| error.to_string())
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

/// A cookie's name: a token of RFC 9110 section 5.6.2, says RFC 6265 section 4.1.1.
fn cookie(node: &Node) -> Result<String, String> {
    let name = text(node)?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("{node} is no name of a cookie: letters, digits, `-` and `_`"));
    }
    Ok(name)
}

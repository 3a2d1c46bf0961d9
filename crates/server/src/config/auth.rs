//! `[auth]`: the key of the tokens, and what else they must say.

use super::document::{Node, Origin, Table};
use super::keys::AUTH;
use super::problem::Problem;
use super::secret::{self, Places};
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

    /// Reads the table.
    pub(super) fn read(table: Table, places: Places<'_>, problems: &mut Vec<Problem>) -> Self {
        let given = table.contains_key("hs256");
        let mut section = Section::new("auth.", &AUTH, table, problems);
        let auth = Self {
            secret: section.read("hs256", |node| secret(node, places)),
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

fn secret(node: &Node, places: Places<'_>) -> Result<Secret, String> {
    let bytes = secret::bytes("hs256", node, places)?;
    Secret::new(&bytes).map_err(|error| error.to_string())
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

//! `[auth]`: the keys of the tokens, and what else they must say.

use super::document::{Node, Origin, Table, Value};
use super::keys::{AUTH, JWKS};
use super::problem::Problem;
use super::secret::{self, Places};
use super::section::{Section, boolean, text, texts};
use crate::connect::Connector;
use crate::token::{Key, PublicKind, Secret, Source, VerifierOptions, parse_key_set, read_key_set};
use crate::url::Url;

/// Who is let in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Auth {
    /// The secret with which tokens are made too: the first of `hs256`.
    pub(crate) secret: Option<Secret>,
    /// The keys that tokens are checked with, but for those of `jwks`; without any, none is accepted.
    pub(crate) keys: Vec<Key>,
    /// Where more keys are, which may change at any time.
    pub(crate) jwks: Option<Source>,
    /// The names one of which a token's `aud` must hold.
    pub(crate) audience: Vec<String>,
    /// The issuers one of which a token's `iss` must be.
    pub(crate) issuer: Vec<String>,
    /// Whether clients without a token are let in, as nobody in particular.
    pub(crate) anonymous: bool,
    /// The cookie that may hold the token.
    pub(crate) cookie: Option<String>,
}

/// The keys that hold public keys.
const PUBLIC: [(&str, PublicKind); 3] = [
    ("rs256", PublicKind::Rs256),
    ("es256", PublicKind::Es256),
    ("eddsa", PublicKind::EdDsa),
];

impl Auth {
    /// What tokens are checked against, beside the keys of `jwks`.
    pub(crate) fn verifier_options(&self) -> VerifierOptions {
        VerifierOptions {
            keys: self.keys.clone(),
            audience: self.audience.clone(),
            issuer: self.issuer.clone(),
        }
    }

    /// One key alone.
    #[cfg(test)]
    pub(crate) fn of_secret(secret: Secret) -> Self {
        Self {
            keys: vec![Key::hmac(&secret)],
            secret: Some(secret),
            ..Self::default()
        }
    }

    /// Puts another secret in the place of the one there is, the first of the keys.
    pub(super) fn replace_secret(&mut self, secret: Secret) {
        if let Some(first) = self.keys.first_mut().filter(|_| self.secret.is_some()) {
            *first = Key::hmac(&secret);
            self.secret = Some(secret);
        }
    }

    /// Reads the table.
    pub(super) fn read(table: Table, places: Places<'_>, problems: &mut Vec<Problem>) -> Self {
        let given = ["hs256", "rs256", "es256", "eddsa", "jwks"].map(|key| table.contains_key(key));
        let mut section = Section::new("auth.", &AUTH, table, problems);
        let secrets = section.read("hs256", |node| each(node, |node| secret(node, places)));
        let secrets = secrets.unwrap_or_default();
        let mut keys: Vec<Key> = secrets.iter().map(Key::hmac).collect();
        for (name, kind) in PUBLIC {
            let public = section.read(name, |node| each(node, |node| public_key(name, kind, node, places)));
            keys.extend(public.unwrap_or_default());
        }
        let jwks = section.read("jwks", |node| key_set(node, places));
        let auth = Self {
            secret: secrets.into_iter().next(),
            keys,
            jwks,
            audience: section.read("audience", names).unwrap_or_default(),
            issuer: section.read("issuer", names).unwrap_or_default(),
            anonymous: section.read("anonymous", boolean).unwrap_or_default(),
            cookie: section.read("cookie", cookie),
        };
        section.finish();
        let key_is_due = given == [false; 5] && !auth.anonymous;
        if key_is_due {
            problems.push(Problem::new(Origin::Nowhere, NO_KEY.to_owned()));
        }
        auth
    }
}

/// What is said where nobody could be let in.
const NO_KEY: &str = "there is no key to check tokens with, so nobody could connect. Set `hs256` in `[auth]`, as in \
    `hs256 = { env = \"JWT_SECRET\" }`, or TIDINGS_AUTH__HS256 in the environment, to the secret your back end signs \
    tokens with (make one with `openssl rand -hex 32`), or one of `rs256`, `es256`, `eddsa` and `jwks` to its public \
    keys; or let everybody in without a token with `anonymous = true` in `[auth]`; or try it out with \
    `tidings serve --dev`";

/// One, or a list of several: the old and the new while keys are changed.
fn each<T>(node: &Node, read: impl Fn(&Node) -> Result<T, String>) -> Result<Vec<T>, String> {
    match &node.value {
        Value::List(list) if list.is_empty() => Err("an empty list given; name a key, or leave it out".to_owned()),
        Value::List(list) => {
            let numbered = |(index, node)| read(node).map_err(|problem| format!("number {}: {problem}", index + 1));
            list.iter().enumerate().map(numbered).collect()
        }
        _ => Ok(vec![read(node)?]),
    }
}

fn public_key(name: &str, kind: PublicKind, node: &Node, places: Places<'_>) -> Result<Key, String> {
    let pem = secret::bytes(name, node, places)?;
    Key::public(kind, &pem).map_err(|error| error.to_string())
}

/// Where a set of keys is. A file is read, to see whether it is one; a URL is not asked, since it may be down right now.
fn key_set(node: &Node, places: Places<'_>) -> Result<Source, String> {
    let meant = "it is { file = \"…\" } or { url = \"https://…\" }, and with the latter `ca`, a file of certificates, \
        where public ones don't do";
    let Value::Table(table) = &node.value else {
        return Err(format!("{node} given; {meant}"));
    };
    if let Some(unknown) = table.keys().find(|key| !JWKS.known.contains(&key.as_str())) {
        return Err(JWKS.complaint(&format!("jwks.{unknown}"), unknown));
    }
    let ca = table.get("ca").map(|ca| text(ca).map(|ca| places.folder.join(ca)));
    match (table.get("file"), table.get("url")) {
        (Some(name), None) if ca.is_none() => {
            let path = places.folder.join(text(name)?);
            let checked = read_key_set(&path).and_then(|bytes| parse_key_set(&bytes));
            checked.map_err(|problem| format!("{}: {problem}", path.display()))?;
            Ok(Source::File(path))
        }
        (None, Some(url)) => {
            let mut url: Url = text(url)?.parse().map_err(|error| format!("`url`: {error}"))?;
            url.ca = ca.transpose()?;
            Connector::new(true, url.ca.as_deref()).map_err(|problem| format!("`ca`: {problem}"))?;
            Ok(Source::Url(url))
        }
        _ => Err(meant.to_owned()),
    }
}

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

/// Names one of which a token must have. None at all would be a check that is not made.
fn names(node: &Node) -> Result<Vec<String>, String> {
    let names = texts(node)?;
    match names.is_empty() || names.iter().any(String::is_empty) {
        true => Err(format!("{node} given; leave it out where any token will do")),
        false => Ok(names),
    }
}

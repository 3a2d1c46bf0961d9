//! Checking tokens: the signature by one of the keys, then what is claimed.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use serde_json::{Map, Value};

use super::{
    AHEAD_S, Claims, Grants, INFO_BYTES_MAX, JTI_BYTES_MAX, Key, KeySet, LEEWAY_S, TOKEN_BYTES_MAX, TokenError,
    user_problem,
};
use crate::rules::Pattern;

/// The end of the year 9999: a later `exp` counts as this one, so that no sum with it overflows.
const EXP_MAX_S: u64 = 253_402_300_799;

/// What tokens are checked against.
#[derive(Debug, Clone, Default)]
pub(crate) struct VerifierOptions {
    /// The keys, one of which must have signed them; without one, none is accepted.
    pub(crate) keys: Vec<Key>,
    /// The names one of which `aud` must hold; when empty, a token that has an `aud` is refused (RFC 7519
    /// section 4.1.3).
    pub(crate) audience: Vec<String>,
    /// The issuers one of which `iss` must be; when empty, `iss` is not looked at.
    pub(crate) issuer: Vec<String>,
}

/// Checks tokens.
pub(crate) struct Verifier {
    options: VerifierOptions,
    /// Keys that come and go.
    set: Option<Arc<KeySet>>,
}

/// What a token's header says of its signature.
struct Head {
    algorithm: Algorithm,
    key_id: Option<String>,
}

impl Verifier {
    /// A verifier for these keys and names.
    pub(crate) fn new(options: VerifierOptions) -> Self {
        Self { options, set: None }
    }

    /// The same with the keys of a set, beside those it has.
    pub(crate) fn with_set(mut self, set: Option<Arc<KeySet>>) -> Self {
        self.set = set;
        self
    }

    /// Checks a token as of now. Where a key is not among those of the set, it is looked whether it has come in the meantime.
    ///
    /// # Errors
    /// As [`Verifier::verify_at`].
    pub(crate) async fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let outcome = self.verify_at(token, SystemTime::now());
        match (&outcome, &self.set) {
            (Err(TokenError::UnknownKey | TokenError::NoKeys), Some(set)) if set.look_again().await => {
                self.verify_at(token, SystemTime::now())
            }
            _ => outcome,
        }
    }

    /// Checks a token as of `now`.
    ///
    /// Required are a signature of this key and the claims `exp`, which must lie ahead, and `sub`; `aud` and `iss`
    /// where they are configured. `nbf` may be 5 seconds ahead.
    ///
    /// # Errors
    /// The first of these that does not hold: a known algorithm, the signature, `exp`, `nbf`, `iss`, `aud`, the rest.
    pub(crate) fn verify_at(&self, token: &str, now: SystemTime) -> Result<Claims, TokenError> {
        let claims = self.open(token)?;
        let now_s = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let exp = time(&claims, "exp")?.ok_or_else(|| unusable("the token has no `exp`: a token must have an end"))?;
        if exp <= now_s {
            return Err(TokenError::Expired);
        }
        if time(&claims, "nbf")?.is_some_and(|nbf| nbf > now_s.saturating_add(LEEWAY_S)) {
            return Err(TokenError::NotYetValid);
        }
        let iat = time(&claims, "iat")?;
        // Revoking a user's tokens reaches those that were issued until then.
        if iat.is_some_and(|iat| iat > now_s.saturating_add(AHEAD_S)) {
            return Err(unusable(
                "the token's `iat` lies ahead: is the clock of who signs tokens right?",
            ));
        }
        self.check_issuer(&claims)?;
        self.check_audience(&claims)?;
        Ok(Claims {
            sub: user(&claims)?,
            exp,
            channels: grants(&claims)?,
            info: info(&claims)?,
            jti: id(&claims)?,
            iat,
        })
    }

    /// What a token claims, if one of the keys signed it.
    fn open(&self, token: &str) -> Result<Map<String, Value>, TokenError> {
        if self.options.keys.is_empty() && self.set.is_none() {
            return Err(unusable("this server accepts no tokens: it has no key in `[auth]`"));
        }
        let (head, is_extended) = Head::read(token)?;
        let of_set = self.set.as_ref().map(|set| set.keys());
        // Keys that are configured have no name, and are tried all.
        let keys = || {
            let of_set = of_set.iter().flatten().flat_map(|keys| keys.iter());
            self.options.keys.iter().chain(of_set)
        };
        let is_public = head
            .as_ref()
            .is_some_and(|head| head.algorithm.family() != AlgorithmFamily::Hmac);
        let known = head.filter(|head| keys().any(|key| key.algorithms().contains(&head.algorithm)));
        let Some(head) = known else {
            return Err(match of_set {
                Some(None) if is_public => TokenError::NoKeys,
                Some(Some(_)) if is_public => TokenError::UnknownKey,
                _ => TokenError::Algorithm(algorithms(keys())),
            });
        };
        // Extensions that must be understood, and aren't: RFC 7515 section 4.1.11.
        if is_extended {
            return Err(unusable("the token has a `crit` header, none of which is supported"));
        }
        let key_id = head.key_id.as_deref();
        for key in keys().filter(|key| key.may_have_signed(head.algorithm, key_id)) {
            match key.open(token) {
                Err(TokenError::Signature) => {}
                outcome => return outcome,
            }
        }
        Err(match of_set {
            Some(None) if is_public => TokenError::NoKeys,
            // It may be signed with a key that is new.
            Some(Some(_)) if is_public && !keys().any(|key| key.is_called(key_id)) => TokenError::UnknownKey,
            _ => TokenError::Signature,
        })
    }

    fn check_issuer(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let issuers = &self.options.issuer;
        let known = |issuer: &str| issuers.iter().any(|name| name == issuer);
        if issuers.is_empty() || claims.get("iss").and_then(Value::as_str).is_some_and(known) {
            Ok(())
        } else {
            Err(TokenError::Issuer)
        }
    }

    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let audiences = &self.options.audience;
        let is_ours = |audience: &Value| {
            audience
                .as_str()
                .is_some_and(|text| audiences.iter().any(|name| name == text))
        };
        let passes = match claims.get("aud") {
            None | Some(Value::Null) => audiences.is_empty(),
            Some(Value::Array(list)) => list.iter().any(is_ours),
            Some(one) => is_ours(one),
        };
        if passes { Ok(()) } else { Err(TokenError::Audience) }
    }
}

impl Head {
    /// Reads it, before any signature is computed: none where the algorithm is not known; and whether it has extensions.
    fn read(token: &str) -> Result<(Option<Self>, bool), TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(unusable("the token is longer than 16384 bytes"));
        }
        let mut parts = token.split('.');
        let (Some(head), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(not_a_jwt());
        };
        let head = URL_SAFE_NO_PAD.decode(head).map_err(|_| not_a_jwt())?;
        let head: Map<String, Value> = serde_json::from_slice(&head).map_err(|_| not_a_jwt())?;
        let text = |name: &str| head.get(name).and_then(Value::as_str);
        let algorithm: Option<Algorithm> = text("alg").and_then(|name| name.parse().ok());
        let known = algorithm.map(|algorithm| Self {
            algorithm,
            key_id: text("kid").map(str::to_owned),
        });
        Ok((known, head.contains_key("crit")))
    }
}

/// The algorithms of keys, for a message.
fn algorithms<'a>(keys: impl Iterator<Item = &'a Key>) -> String {
    let mut names: Vec<String> = keys
        .flat_map(Key::algorithms)
        .map(|algorithm| format!("{algorithm:?}"))
        .collect();
    names.sort();
    names.dedup();
    names.join(", ")
}

fn unusable(message: impl Into<String>) -> TokenError {
    TokenError::Unusable(message.into())
}

pub(super) fn not_a_jwt() -> TokenError {
    unusable("the token is not a JWT: three parts in base64url, a JSON object in each of the first two")
}

/// A NumericDate (RFC 7519 section 2) in whole Unix seconds.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, TokenError> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => {
            let seconds = number
                .as_u64()
                .or_else(|| number.as_f64().map(|seconds| seconds as u64));
            Ok(seconds.map(|seconds| seconds.min(EXP_MAX_S)))
        }
        Some(_) => Err(unusable(format!("the token's `{name}` must be a number of seconds"))),
    }
}

/// The token's own id: a string (RFC 7519 section 4.1.7), by which it can be revoked.
fn id(claims: &Map<String, Value>) -> Result<Option<String>, TokenError> {
    match claims.get("jti") {
        None => Ok(None),
        Some(Value::String(jti)) if (1..=JTI_BYTES_MAX).contains(&jti.len()) => Ok(Some(jti.clone())),
        Some(_) => Err(unusable(format!(
            "the token's `jti` must be a string of 1 to {JTI_BYTES_MAX} bytes"
        ))),
    }
}

fn user(claims: &Map<String, Value>) -> Result<String, TokenError> {
    match claims.get("sub") {
        None | Some(Value::Null) => Err(unusable("the token has no `sub`, the user it is for")),
        Some(Value::String(sub)) => match user_problem(sub) {
            Some(problem) => Err(unusable(format!("the token's `sub` {problem}"))),
            None => Ok(sub.clone()),
        },
        Some(_) => Err(unusable("the token's `sub` must be a string")),
    }
}

fn grants(claims: &Map<String, Value>) -> Result<Grants, TokenError> {
    match claims.get("channels") {
        None | Some(Value::Null) => Ok(Grants::default()),
        Some(Value::Object(channels)) => {
            let read = |name| {
                patterns(channels.get(name)).map_err(|why| unusable(format!("the token's `channels.{name}` {why}")))
            };
            Ok(Grants {
                subscribe: read("subscribe")?,
                publish: read("publish")?,
            })
        }
        Some(_) => Err(unusable(
            r#"the token's `channels` must be {"subscribe": […], "publish": […]}"#,
        )),
    }
}

/// The patterns of a list, or what is wrong with it. One that can't be read refuses the token: to leave it out
/// would be to guess what was meant.
fn patterns(list: Option<&Value>) -> Result<Vec<Pattern>, String> {
    let list = match list {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err("must be a list of patterns".to_owned()),
    };
    let read = |(index, value): (usize, &Value)| {
        let text = value
            .as_str()
            .ok_or_else(|| format!("has something else than a string at {index}"))?;
        let pattern: Pattern = text.parse().map_err(|error| format!("at {index}: {error}"))?;
        if pattern.names_user() && !pattern.user_is_unambiguous() {
            return Err(format!("at {index}: `{{user}}` could be several parts of one name"));
        }
        Ok(pattern)
    };
    list.iter().enumerate().map(read).collect()
}

fn info(claims: &Map<String, Value>) -> Result<Option<Value>, TokenError> {
    match claims.get("info") {
        None | Some(Value::Null) => Ok(None),
        Some(info) if info.to_string().len() > INFO_BYTES_MAX => {
            Err(unusable("the token's `info` is longer than 1024 bytes"))
        }
        Some(info) => Ok(Some(info.clone())),
    }
}

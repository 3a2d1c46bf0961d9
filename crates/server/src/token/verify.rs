//! Checking tokens. The algorithm belongs to the key, not to the token: one for HMAC takes HS256, HS384 and HS512 and
//! nothing else, so neither `none` nor a public key passed off as a secret gets in (RFC 8725 sections 2.1 and 3.1).

#[cfg(test)]
mod tests;

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

use super::{Claims, Grants, INFO_BYTES_MAX, LEEWAY_S, Secret, TOKEN_BYTES_MAX, TokenError, user_problem};
use crate::rules::Pattern;

/// The algorithms that go with a shared secret, as the token's header names them.
const HMAC: [&str; 3] = ["HS256", "HS384", "HS512"];

/// The end of the year 9999: a later `exp` counts as this one, so that no sum with it overflows.
const EXP_MAX_S: u64 = 253_402_300_799;

/// What tokens are checked against.
#[derive(Debug, Clone, Default)]
pub(crate) struct VerifierOptions {
    /// The secret they are signed with; without one, none is accepted.
    pub(crate) secret: Option<Secret>,
    /// The names one of which `aud` must hold; when empty, a token that has an `aud` is refused (RFC 7519
    /// section 4.1.3).
    pub(crate) audience: Vec<String>,
    /// The issuers one of which `iss` must be; when empty, `iss` is not looked at.
    pub(crate) issuer: Vec<String>,
}

/// Checks tokens.
pub(crate) struct Verifier {
    key: Option<DecodingKey>,
    validation: Validation,
    audience: Vec<String>,
    issuer: Vec<String>,
}

impl Verifier {
    /// A verifier for these keys and names.
    pub(crate) fn new(options: VerifierOptions) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.algorithms = vec![Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
        // The library checks the signature; what the claims must say is below, with the clock as an argument and one
        // error for each reason.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        Self {
            key: options.secret.map(|secret| DecodingKey::from_secret(secret.bytes())),
            validation,
            audience: options.audience,
            issuer: options.issuer,
        }
    }

    /// Checks a token as of now.
    ///
    /// # Errors
    /// As [`Verifier::verify_at`].
    pub(crate) fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        self.verify_at(token, SystemTime::now())
    }

    /// Checks a token as of `now`.
    ///
    /// Required are a signature of this key and the claims `exp`, which must lie ahead, and `sub`; `aud` and `iss`
    /// where they are configured. `nbf` may be 5 seconds ahead.
    ///
    /// # Errors
    /// The first of these that does not hold: a known algorithm, the signature, `exp`, `nbf`, `iss`, `aud`, the rest.
    pub(crate) fn verify_at(&self, token: &str, now: SystemTime) -> Result<Claims, TokenError> {
        let Some(key) = &self.key else {
            return Err(unusable("this server accepts no tokens: it has no key in `[auth]`"));
        };
        check_head(token)?;
        let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, key, &self.validation);
        let claims = decoded.map_err(|error| refusal(error.kind()))?.claims;
        let now_s = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let exp = time(&claims, "exp")?.ok_or_else(|| unusable("the token has no `exp`: a token must have an end"))?;
        if exp <= now_s {
            return Err(TokenError::Expired);
        }
        if time(&claims, "nbf")?.is_some_and(|nbf| nbf > now_s.saturating_add(LEEWAY_S)) {
            return Err(TokenError::NotYetValid);
        }
        self.check_issuer(&claims)?;
        self.check_audience(&claims)?;
        Ok(Claims {
            sub: user(&claims)?,
            exp,
            channels: grants(&claims)?,
            info: info(&claims)?,
            jti: claims.get("jti").and_then(Value::as_str).map(str::to_owned),
            iat: time(&claims, "iat")?,
        })
    }

    fn check_issuer(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let known = |issuer: &str| self.issuer.iter().any(|name| name == issuer);
        if self.issuer.is_empty() || claims.get("iss").and_then(Value::as_str).is_some_and(known) {
            Ok(())
        } else {
            Err(TokenError::Issuer)
        }
    }

    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let is_ours = |audience: &Value| {
            audience
                .as_str()
                .is_some_and(|text| self.audience.iter().any(|name| name == text))
        };
        let passes = match claims.get("aud") {
            None | Some(Value::Null) => self.audience.is_empty(),
            Some(Value::Array(list)) => list.iter().any(is_ours),
            Some(one) => is_ours(one),
        };
        if passes { Ok(()) } else { Err(TokenError::Audience) }
    }
}

/// Refuses what is no JWT of this key's kind before any signature is computed.
fn check_head(token: &str) -> Result<(), TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(unusable("the token is longer than 16384 bytes"));
    }
    let mut parts = token.split('.');
    let (Some(head), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(not_a_jwt());
    };
    let head = URL_SAFE_NO_PAD.decode(head).map_err(|_| not_a_jwt())?;
    let head: Map<String, Value> = serde_json::from_slice(&head).map_err(|_| not_a_jwt())?;
    if !head
        .get("alg")
        .and_then(Value::as_str)
        .is_some_and(|alg| HMAC.contains(&alg))
    {
        return Err(TokenError::Algorithm);
    }
    // Extensions that must be understood, and aren't: RFC 7515 section 4.1.11.
    if head.contains_key("crit") {
        return Err(unusable("the token has a `crit` header, none of which is supported"));
    }
    Ok(())
}

fn refusal(kind: &ErrorKind) -> TokenError {
    match kind {
        // The head was decoded before, so what is not base64 is the signature, or a payload that nobody signed.
        ErrorKind::InvalidSignature | ErrorKind::Base64(_) => TokenError::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm | ErrorKind::InvalidAlgorithmName => {
            TokenError::Algorithm
        }
        _ => not_a_jwt(),
    }
}

fn unusable(message: impl Into<String>) -> TokenError {
    TokenError::Unusable(message.into())
}

fn not_a_jwt() -> TokenError {
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

//! Making tokens: for `tidings token`, for `--dev`, for tests.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};

use super::secret::random_hex;
use super::{Secret, user_problem};
use crate::rules::Pattern;

/// What a new token is to say.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewToken {
    /// The user, its `sub`.
    pub(crate) user: String,
    /// The channels it may subscribe to where a rule says `claims`.
    pub(crate) subscribe: Vec<Pattern>,
    /// The channels it may publish to where a rule says `claims`.
    pub(crate) publish: Vec<Pattern>,
    /// What presence shows of the user.
    pub(crate) info: Option<Value>,
    /// How long it holds; whole seconds count.
    pub(crate) expires_in: Duration,
    /// Its `aud`.
    pub(crate) audience: Option<String>,
    /// Its `iss`.
    pub(crate) issuer: Option<String>,
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignError {
    /// The user's name can't be a `sub`.
    #[error("the user {0}; it must have 1 to 250 bytes and no control characters")]
    User(&'static str),
    /// It would be expired at once.
    #[error("a token must hold for a second at least")]
    Expiry,
    /// The system gave no random bytes for its `jti`.
    #[error("the system's random source failed: {0}")]
    Random(String),
    /// The signing itself failed.
    #[error("the token can't be signed: {0}")]
    Signing(#[from] jsonwebtoken::errors::Error),
}

/// Makes a token, signed with HS256, with `iat` and a random `jti`.
///
/// # Errors
/// When the user's name or the time can't be in a token, or the system has no random bytes to give.
pub(crate) fn sign(secret: &Secret, token: &NewToken, now: SystemTime) -> Result<String, SignError> {
    if let Some(problem) = user_problem(&token.user) {
        return Err(SignError::User(problem));
    }
    if token.expires_in < Duration::from_secs(1) {
        return Err(SignError::Expiry);
    }
    let now_s = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut claims = Map::new();
    claims.insert("sub".to_owned(), json!(token.user));
    claims.insert("iat".to_owned(), json!(now_s));
    claims.insert(
        "exp".to_owned(),
        json!(now_s.saturating_add(token.expires_in.as_secs())),
    );
    claims.insert("jti".to_owned(), json!(random_hex::<16>().map_err(SignError::Random)?));
    if !token.subscribe.is_empty() || !token.publish.is_empty() {
        let texts = |patterns: &[Pattern]| -> Vec<String> { patterns.iter().map(Pattern::to_string).collect() };
        let channels = json!({ "subscribe": texts(&token.subscribe), "publish": texts(&token.publish) });
        claims.insert("channels".to_owned(), channels);
    }
    let optional = [
        ("info", token.info.clone()),
        ("aud", token.audience.clone().map(Value::String)),
        ("iss", token.issuer.clone().map(Value::String)),
    ];
    claims.extend(
        optional
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?))),
    );
    let key = EncodingKey::from_secret(secret.bytes());
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Key, Verifier, VerifierOptions};

    fn secret() -> Secret {
        Secret::new(&[b'k'; 32]).unwrap()
    }

    #[test]
    fn what_is_signed_verifies_and_says_the_same() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_900);
        let token = NewToken {
            user: "ann".to_owned(),
            subscribe: vec!["room:*".parse().unwrap()],
            publish: vec!["room:7".parse().unwrap()],
            info: Some(json!({ "name": "Ann" })),
            expires_in: Duration::from_secs(3_600),
            audience: Some("chat".to_owned()),
            issuer: Some("shop".to_owned()),
        };
        let text = sign(&secret(), &token, now).unwrap();
        let options = VerifierOptions {
            keys: vec![Key::hmac(&secret())],
            audience: vec!["chat".to_owned()],
            issuer: vec!["shop".to_owned()],
        };
        let claims = Verifier::new(options).verify_at(&text, now).unwrap();
        assert_eq!(
            (claims.sub.as_str(), claims.exp, claims.iat),
            ("ann", 1_800_003_600, Some(1_800_000_000))
        );
        assert_eq!(
            (claims.channels.subscribe, claims.channels.publish),
            (token.subscribe, token.publish)
        );
        assert_eq!(claims.info, token.info);
        assert_eq!(claims.jti.map(|jti| jti.len()), Some(32));
    }

    #[test]
    fn two_tokens_have_two_ids() {
        let token = NewToken {
            user: "ann".to_owned(),
            expires_in: Duration::from_secs(1),
            ..NewToken::default()
        };
        let now = SystemTime::now();
        assert_ne!(
            sign(&secret(), &token, now).unwrap(),
            sign(&secret(), &token, now).unwrap()
        );
    }

    #[test]
    fn tokens_nobody_could_use_are_not_made() {
        let long = "x".repeat(251);
        for (user, expires_in, part) in [
            ("", 60, "is empty"),
            (&*long, 60, "250"),
            ("a\nb", 60, "control"),
            ("ann", 0, "a second"),
        ] {
            let token = NewToken {
                user: user.to_owned(),
                expires_in: Duration::from_secs(expires_in),
                ..NewToken::default()
            };
            let error = sign(&secret(), &token, SystemTime::now()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}

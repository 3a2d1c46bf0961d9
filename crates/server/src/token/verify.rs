//! Checking tokens. The algorithm belongs to the key, not to the token: one for HMAC takes HS256, HS384 and HS512 and
//! nothing else, so neither `none` nor a public key passed off as a secret gets in (RFC 8725 sections 2.1 and 3.1).

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

use super::{
    Claims, Grants, INFO_BYTES_MAX, LEEWAY_S, Secret, TOKEN_BYTES_MAX, TokenError, user_problem,
};
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
            key: options
                .secret
                .map(|secret| DecodingKey::from_secret(secret.bytes())),
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
            return Err(unusable(
                "this server accepts no tokens: it has no key in `[auth]`",
            ));
        };
        check_head(token)?;
        let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, key, &self.validation);
        let claims = decoded.map_err(|error| refusal(error.kind()))?.claims;
        let now_s = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let exp = time(&claims, "exp")?
            .ok_or_else(|| unusable("the token has no `exp`: a token must have an end"))?;
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
        if passes {
            Ok(())
        } else {
            Err(TokenError::Audience)
        }
    }
}

/// Refuses what is no JWT of this key's kind before any signature is computed.
fn check_head(token: &str) -> Result<(), TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(unusable("the token is longer than 16384 bytes"));
    }
    let mut parts = token.split('.');
    let (Some(head), Some(_), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
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
        return Err(unusable(
            "the token has a `crit` header, none of which is supported",
        ));
    }
    Ok(())
}

fn refusal(kind: &ErrorKind) -> TokenError {
    match kind {
        // The head was decoded before, so what is not base64 is the signature, or a payload that nobody signed.
        ErrorKind::InvalidSignature | ErrorKind::Base64(_) => TokenError::Signature,
        ErrorKind::InvalidAlgorithm
        | ErrorKind::UnsupportedAlgorithm
        | ErrorKind::InvalidAlgorithmName => TokenError::Algorithm,
        _ => not_a_jwt(),
    }
}

fn unusable(message: impl Into<String>) -> TokenError {
    TokenError::Unusable(message.into())
}

fn not_a_jwt() -> TokenError {
    unusable(
        "the token is not a JWT: three parts in base64url, a JSON object in each of the first two",
    )
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
        Some(_) => Err(unusable(format!(
            "the token's `{name}` must be a number of seconds"
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
                patterns(channels.get(name))
                    .map_err(|why| unusable(format!("the token's `channels.{name}` {why}")))
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
        let pattern: Pattern = text
            .parse()
            .map_err(|error| format!("at {index}: {error}"))?;
        if pattern.names_user() && !pattern.user_is_unambiguous() {
            return Err(format!(
                "at {index}: `{{user}}` could be several parts of one name"
            ));
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jsonwebtoken::{EncodingKey, Header};
    use serde_json::json;

    use super::*;

    const NOW_S: u64 = 1_800_000_000;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW_S)
    }

    fn secret() -> Secret {
        Secret::new(b"a secret of more than 32 bytes for tests").unwrap()
    }

    fn verifier() -> Verifier {
        Verifier::new(VerifierOptions {
            secret: Some(secret()),
            ..VerifierOptions::default()
        })
    }

    fn strict() -> Verifier {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        let (audience, issuer) = (names(&["chat", "feed"]), names(&["shop"]));
        Verifier::new(VerifierOptions {
            secret: Some(secret()),
            audience,
            issuer,
        })
    }

    fn signed(algorithm: Algorithm, claims: &Value) -> String {
        let key = EncodingKey::from_secret(secret().bytes());
        jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
    }

    fn token(claims: &Value) -> String {
        signed(Algorithm::HS256, claims)
    }

    fn encode(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    /// A token with a header of our own making that is signed correctly all the same.
    fn with_head(head: &str) -> String {
        let message = format!("{}.{}", encode(head), encode(&good().to_string()));
        let key = EncodingKey::from_secret(secret().bytes());
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    }

    fn good() -> Value {
        json!({ "sub": "ann", "exp": NOW_S + 60 })
    }

    fn code(verifier: &Verifier, token: &str) -> &'static str {
        match verifier.verify_at(token, now()) {
            Ok(_) => "ok",
            Err(error) => {
                let message = error.to_string();
                assert!(
                    !token
                        .split('.')
                        .any(|part| part.len() > 8 && message.contains(part)),
                    "{message}"
                );
                error.code()
            }
        }
    }

    #[test]
    fn the_three_hmac_algorithms_pass() {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            assert_eq!(
                code(&verifier(), &signed(algorithm, &good())),
                "ok",
                "{algorithm:?}"
            );
        }
        assert_eq!(
            code(
                &verifier(),
                &with_head(r#"{"alg":"HS256","kid":"1","x":true}"#)
            ),
            "ok"
        );
    }

    #[test]
    fn the_algorithm_belongs_to_the_key() {
        let tail = token(&good()).split_once('.').unwrap().1.to_owned();
        for alg in [
            r#""none""#,
            r#""None""#,
            r#""RS256""#,
            r#""ES256""#,
            r#""EdDSA""#,
            r#""hs256""#,
            r#""""#,
            "5",
            "null",
        ] {
            let head = format!(r#"{{"alg":{alg},"typ":"JWT"}}"#);
            assert_eq!(
                code(&verifier(), &format!("{}.{tail}", encode(&head))),
                "token_algorithm",
                "{alg}"
            );
            assert_eq!(
                code(&verifier(), &with_head(&head)),
                "token_algorithm",
                "{alg}"
            );
        }
        assert_eq!(
            code(&verifier(), &with_head(r#"{"typ":"JWT"}"#)),
            "token_algorithm"
        );
        let unsigned = format!(
            "{}.{}.",
            encode(r#"{"alg":"none"}"#),
            encode(&good().to_string())
        );
        assert_eq!(code(&verifier(), &unsigned), "token_algorithm");
        // The signature is HS256's, the header says another of the three.
        assert_eq!(
            code(&verifier(), &with_head(r#"{"alg":"HS512"}"#)),
            "token_signature"
        );
    }

    #[test]
    fn headers_that_must_be_understood_refuse() {
        assert_eq!(
            code(
                &verifier(),
                &with_head(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#)
            ),
            "unauthenticated"
        );
    }

    #[test]
    fn what_was_changed_or_signed_by_another_is_refused() {
        let text = token(&good());
        let parts: Vec<&str> = text.split('.').collect();
        let payload = encode(&json!({ "sub": "root", "exp": NOW_S + 60 }).to_string());
        let other = EncodingKey::from_secret(&[b'x'; 40]);
        let forged = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &good(), &other).unwrap();
        for changed in [
            format!("{}.{payload}.{}", parts[0], parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{}.{}.{}", parts[0], parts[1], &parts[2][..20]),
            format!("{}.{}.{}", parts[0], parts[1], "not base64!"),
            format!("{}.%%%.{}", parts[0], parts[2]),
            forged,
        ] {
            assert_eq!(code(&verifier(), &changed), "token_signature", "{changed}");
        }
    }

    #[test]
    fn garbage_is_unauthenticated() {
        let long = "x".repeat(TOKEN_BYTES_MAX + 1);
        let four = format!("{}.x", token(&good()));
        let text_payload = signed(Algorithm::HS256, &json!("text"));
        let list_head = format!("{}.e30.e30", encode("[]"));
        for text in [
            "",
            ".",
            "..",
            "a.b",
            "é.é.é",
            "a.b.c",
            &long,
            &four,
            &text_payload,
            &list_head,
            "\0\0.\0.\0",
        ] {
            assert_eq!(code(&verifier(), text), "unauthenticated", "{text}");
        }
    }

    #[test]
    fn the_time_is_checked_to_the_second() {
        for (claims, expected) in [
            (json!({ "exp": NOW_S + 1 }), "ok"),
            (json!({ "exp": NOW_S }), "token_expired"),
            (json!({ "exp": NOW_S - 1 }), "token_expired"),
            (json!({ "exp": (NOW_S as f64) + 1.5 }), "ok"),
            (json!({ "exp": (NOW_S as f64) + 0.5 }), "token_expired"),
            (json!({ "exp": 0 }), "token_expired"),
            (json!({ "exp": -5 }), "token_expired"),
            (json!({ "exp": 1e300 }), "ok"),
            (json!({ "exp": u64::MAX }), "ok"),
            (json!({}), "unauthenticated"),
            (json!({ "exp": null }), "unauthenticated"),
            (json!({ "exp": "soon" }), "unauthenticated"),
            (json!({ "exp": NOW_S + 60, "nbf": NOW_S }), "ok"),
            (json!({ "exp": NOW_S + 60, "nbf": NOW_S + LEEWAY_S }), "ok"),
            (
                json!({ "exp": NOW_S + 60, "nbf": NOW_S + LEEWAY_S + 1 }),
                "token_not_yet_valid",
            ),
            (
                json!({ "exp": NOW_S - 1, "nbf": NOW_S + 60 }),
                "token_expired",
            ),
            (json!({ "exp": NOW_S + 60, "iat": NOW_S + 30 }), "ok"),
        ] {
            let mut with_user = claims.clone();
            with_user["sub"] = json!("ann");
            assert_eq!(code(&verifier(), &token(&with_user)), expected, "{claims}");
        }
    }

    #[test]
    fn an_end_beyond_all_time_is_one_that_can_be_counted_with() {
        let claims = verifier()
            .verify_at(&token(&json!({ "sub": "ann", "exp": u64::MAX })), now())
            .unwrap();
        assert_eq!(claims.exp, EXP_MAX_S);
        assert_eq!(
            claims.remaining(now()),
            Duration::from_secs(EXP_MAX_S - NOW_S)
        );
        assert_eq!(
            claims.remaining(SystemTime::UNIX_EPOCH + Duration::from_secs(EXP_MAX_S + 1)),
            Duration::ZERO
        );
    }

    #[test]
    fn audience_and_issuer_must_be_ours_where_there_are_any() {
        for (aud, iss, expected) in [
            (json!("chat"), json!("shop"), "ok"),
            (json!(["other", "feed"]), json!("shop"), "ok"),
            (json!("other"), json!("shop"), "token_audience"),
            (json!([]), json!("shop"), "token_audience"),
            (json!([7]), json!("shop"), "token_audience"),
            (json!({}), json!("shop"), "token_audience"),
            (json!(null), json!("shop"), "token_audience"),
            (json!("chat"), json!("thief"), "token_issuer"),
            (json!("chat"), json!(["shop"]), "token_issuer"),
            (json!("chat"), json!(null), "token_issuer"),
        ] {
            let claims = json!({ "sub": "ann", "exp": NOW_S + 60, "aud": aud, "iss": iss });
            assert_eq!(code(&strict(), &token(&claims)), expected, "{claims}");
        }
        assert_eq!(code(&strict(), &token(&good())), "token_issuer");
        let with = |name: &str| json!({ "sub": "ann", "exp": NOW_S + 60, name: "chat" });
        assert_eq!(code(&verifier(), &token(&with("aud"))), "token_audience");
        assert_eq!(code(&verifier(), &token(&with("iss"))), "ok");
    }

    #[test]
    fn the_user_is_a_text_of_1_to_250_bytes() {
        for (sub, expected) in [
            (json!("x".repeat(250)), "ok"),
            (json!("é".repeat(125)), "ok"),
            (json!("a:b c"), "ok"),
            (json!("x".repeat(251)), "unauthenticated"),
            (json!("é".repeat(126)), "unauthenticated"),
            (json!(""), "unauthenticated"),
            (json!("a\nb"), "unauthenticated"),
            (json!("a\u{85}b"), "unauthenticated"),
            (json!(7), "unauthenticated"),
            (json!(null), "unauthenticated"),
        ] {
            assert_eq!(
                code(
                    &verifier(),
                    &token(&json!({ "sub": sub, "exp": NOW_S + 60 }))
                ),
                expected,
                "{sub}"
            );
        }
        assert_eq!(
            code(&verifier(), &token(&json!({ "exp": NOW_S + 60 }))),
            "unauthenticated"
        );
    }

    #[test]
    fn grants_and_info_are_read_or_refused_never_guessed() {
        for (claims, expected) in [
            (
                json!({ "channels": { "subscribe": ["room:*", "a:{user}"], "publish": [] } }),
                "ok",
            ),
            (json!({ "channels": { "subscribe": null } }), "ok"),
            (json!({ "channels": {} }), "ok"),
            (json!({ "channels": null }), "ok"),
            (json!({ "channels": ["room:*"] }), "unauthenticated"),
            (
                json!({ "channels": { "subscribe": "room:*" } }),
                "unauthenticated",
            ),
            (json!({ "channels": { "publish": [7] } }), "unauthenticated"),
            (
                json!({ "channels": { "publish": ["{a"] } }),
                "unauthenticated",
            ),
            (
                json!({ "channels": { "subscribe": ["*:{user}"] } }),
                "unauthenticated",
            ),
            (json!({ "info": "x".repeat(INFO_BYTES_MAX - 2) }), "ok"),
            (
                json!({ "info": "x".repeat(INFO_BYTES_MAX - 1) }),
                "unauthenticated",
            ),
        ] {
            let mut with_user = claims.clone();
            with_user["sub"] = json!("ann");
            with_user["exp"] = json!(NOW_S + 60);
            assert_eq!(code(&verifier(), &token(&with_user)), expected, "{claims}");
        }
    }

    #[test]
    fn without_a_key_no_token_passes() {
        assert_eq!(
            code(&Verifier::new(VerifierOptions::default()), &token(&good())),
            "unauthenticated"
        );
    }

    #[test]
    fn claims_survive_being_stored() {
        let claims = json!({ "sub": "ann", "exp": NOW_S + 60, "channels": { "subscribe": ["room:*"] }, "info": [1] });
        let claims = verifier().verify_at(&token(&claims), now()).unwrap();
        let stored = serde_json::to_string(&claims).unwrap();
        assert_eq!(serde_json::from_str::<Claims>(&stored).unwrap(), claims);
    }
}

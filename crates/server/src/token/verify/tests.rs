//! Tokens that pass, and each way in which one must not.

use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use super::*;
use crate::token::Secret;

mod keys;

const NOW_S: u64 = 1_800_000_000;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NOW_S)
}

fn secret() -> Secret {
    Secret::new(b"a secret of more than 32 bytes for tests").unwrap()
}

fn verifier() -> Verifier {
    Verifier::new(VerifierOptions {
        keys: vec![Key::hmac(&secret())],
        ..VerifierOptions::default()
    })
}

fn strict() -> Verifier {
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
    let (audience, issuer) = (names(&["chat", "feed"]), names(&["shop"]));
    Verifier::new(VerifierOptions {
        keys: vec![Key::hmac(&secret())],
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
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
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
                !token.split('.').any(|part| part.len() > 8 && message.contains(part)),
                "{message}"
            );
            error.code()
        }
    }
}

#[test]
fn the_three_hmac_algorithms_pass() {
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        assert_eq!(code(&verifier(), &signed(algorithm, &good())), "ok", "{algorithm:?}");
    }
    assert_eq!(
        code(&verifier(), &with_head(r#"{"alg":"HS256","kid":"1","x":true}"#)),
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
        assert_eq!(code(&verifier(), &with_head(&head)), "token_algorithm", "{alg}");
    }
    assert_eq!(code(&verifier(), &with_head(r#"{"typ":"JWT"}"#)), "token_algorithm");
    let unsigned = format!("{}.{}.", encode(r#"{"alg":"none"}"#), encode(&good().to_string()));
    assert_eq!(code(&verifier(), &unsigned), "token_algorithm");
    // The signature is HS256's, the header says another of the three.
    assert_eq!(code(&verifier(), &with_head(r#"{"alg":"HS512"}"#)), "token_signature");
}

#[test]
fn headers_that_must_be_understood_refuse() {
    assert_eq!(
        code(&verifier(), &with_head(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#)),
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
        (json!({ "exp": NOW_S - 1, "nbf": NOW_S + 60 }), "token_expired"),
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
    assert_eq!(claims.end(), SystemTime::UNIX_EPOCH + Duration::from_secs(EXP_MAX_S));
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
            code(&verifier(), &token(&json!({ "sub": sub, "exp": NOW_S + 60 }))),
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
        (json!({ "channels": { "subscribe": "room:*" } }), "unauthenticated"),
        (json!({ "channels": { "publish": [7] } }), "unauthenticated"),
        (json!({ "channels": { "publish": ["{a"] } }), "unauthenticated"),
        (json!({ "channels": { "subscribe": ["*:{user}"] } }), "unauthenticated"),
        (json!({ "info": "x".repeat(INFO_BYTES_MAX - 2) }), "ok"),
        (json!({ "info": "x".repeat(INFO_BYTES_MAX - 1) }), "unauthenticated"),
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

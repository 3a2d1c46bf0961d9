//! Public keys and sets of them: each kind passes what its private half signed, and nothing else.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::token::key::KeyError;
use crate::token::{PublicKind, parse_key_set};

/// A pair of keys.
enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Pair {
    fn all() -> [(Self, PublicKind, &'static str); 3] {
        [
            (Self::rsa(KeySize::Rsa2048), PublicKind::Rs256, "RS256"),
            (Self::ec(), PublicKind::Es256, "ES256"),
            (
                Self::Ed(Ed25519KeyPair::generate().unwrap()),
                PublicKind::EdDsa,
                "EdDSA",
            ),
        ]
    }

    fn rsa(size: KeySize) -> Self {
        Self::Rsa(Box::new(RsaKeyPair::generate(size).unwrap()))
    }

    fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = match self {
            Pair::Rsa(pair) => pair.public_key().as_der(),
            Pair::Ec(pair) => pair.public_key().as_der(),
            Pair::Ed(pair) => pair.public_key().as_der(),
        }
        .unwrap();
        let text = STANDARD.encode(der.as_ref());
        format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
    }

    fn jwk(&self, more: Value) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match self {
            Pair::Rsa(pair) => {
                // RSAPublicKey (RFC 8017 appendix A.1.1) of 2048 bits: the modulus behind 9 bytes, then 65537.
                let der = pair.public_key().as_ref();
                json!({ "kty": "RSA", "n": text(&der[9..265]), "e": "AQAB" })
            }
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..]) })
            }
            Pair::Ed(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) }),
        };
        for (name, value) in more.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk
    }

    fn sign(&self, head: Value) -> String {
        let message = format!("{}.{}", encode(&head.to_string()), encode(&good().to_string()));
        let random = SystemRandom::new();
        let signature = match self {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature)
                    .unwrap();
                signature
            }
            Pair::Ec(pair) => pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn verifier_of(keys: Vec<Key>) -> Verifier {
    Verifier::new(VerifierOptions {
        keys,
        ..VerifierOptions::default()
    })
}

fn set_of(keys: &[Value]) -> Result<Vec<Key>, String> {
    parse_key_set(json!({ "keys": keys }).to_string().as_bytes()).map(|(keys, _)| keys)
}

#[test]
fn each_kind_passes_its_own_and_no_other() {
    let pairs = Pair::all();
    for (pair, kind, algorithm) in &pairs {
        let verifier = verifier_of(vec![Key::public(*kind, pair.pem().as_bytes()).unwrap()]);
        for (other, _, its) in &pairs {
            let expected = if its == algorithm { "ok" } else { "token_algorithm" };
            assert_eq!(
                code(&verifier, &other.sign(json!({ "alg": its }))),
                expected,
                "{its} at {algorithm}"
            );
            // The signature of one kind under the name of another.
            let forged = other.sign(json!({ "alg": algorithm }));
            if its != algorithm {
                assert_eq!(code(&verifier, &forged), "token_signature", "{its} as {algorithm}");
            }
        }
        assert_eq!(
            code(&verifier, &token(&good())),
            "token_algorithm",
            "a secret's at {algorithm}"
        );
    }
}

#[test]
fn a_public_key_is_no_secret() {
    for (pair, kind, _) in Pair::all() {
        let pem = pair.pem();
        let verifier = verifier_of(vec![Key::public(kind, pem.as_bytes()).unwrap()]);
        // What everybody knows, as the secret of HMAC: with and without the armour.
        let der = STANDARD.decode(pem.lines().nth(1).unwrap()).unwrap();
        for secret in [pem.as_bytes(), pem.trim_end().as_bytes(), &der] {
            for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                let key = EncodingKey::from_secret(secret);
                let forged = jsonwebtoken::encode(&Header::new(algorithm), &good(), &key).unwrap();
                assert_eq!(code(&verifier, &forged), "token_algorithm");
            }
        }
    }
}

#[test]
fn one_of_several_keys_is_enough() {
    let (old, new) = (Pair::ec(), Pair::ec());
    let key = |pair: &Pair| Key::public(PublicKind::Es256, pair.pem().as_bytes()).unwrap();
    let verifier = verifier_of(vec![key(&old), key(&new), Key::hmac(&secret())]);
    for pair in [&old, &new] {
        assert_eq!(code(&verifier, &pair.sign(json!({ "alg": "ES256" }))), "ok");
        // Which key it was is for sets of keys to say: those that are configured have no name.
        assert_eq!(code(&verifier, &pair.sign(json!({ "alg": "ES256", "kid": "x" }))), "ok");
    }
    assert_eq!(code(&verifier, &token(&good())), "ok");
    assert_eq!(
        code(&verifier, &Pair::ec().sign(json!({ "alg": "ES256" }))),
        "token_signature"
    );
    assert_eq!(code(&verifier, &old.sign(json!({ "alg": "HS256" }))), "token_signature");
}

#[test]
fn what_is_no_public_key_is_told_apart() {
    let (rsa, ec) = (Pair::rsa(KeySize::Rsa2048), Pair::ec());
    let problem = |kind, pem: &str| Key::public(kind, pem.as_bytes()).unwrap_err();
    assert_eq!(problem(PublicKind::Rs256, "s3cret"), KeyError::NotPem);
    assert_eq!(problem(PublicKind::Rs256, ""), KeyError::NotPem);
    assert_eq!(
        problem(PublicKind::Es256, &ec.pem().replace("PUBLIC", "PRIVATE")),
        KeyError::Private
    );
    for (kind, pem) in [
        (PublicKind::Rs256, ec.pem()),
        (PublicKind::Es256, rsa.pem()),
        (PublicKind::EdDsa, ec.pem()),
    ] {
        let problem = problem(kind, &pem);
        assert_eq!(problem, KeyError::Kind(kind));
        assert!(problem.to_string().contains("openssl genpkey"), "{problem}");
    }
}

#[test]
fn the_keys_of_a_set_go_by_their_names() {
    for (pair, _, algorithm) in Pair::all() {
        let other = Pair::ec();
        let set = [
            pair.jwk(json!({ "kid": "1", "use": "sig" })),
            other.jwk(json!({ "kid": "2" })),
        ];
        let verifier = verifier_of(set_of(&set).unwrap());
        assert_eq!(
            code(&verifier, &pair.sign(json!({ "alg": algorithm, "kid": "1" }))),
            "ok"
        );
        assert_eq!(code(&verifier, &pair.sign(json!({ "alg": algorithm }))), "ok");
        for kid in ["2", "3"] {
            let refused = code(&verifier, &pair.sign(json!({ "alg": algorithm, "kid": kid })));
            assert_eq!(refused, "token_signature", "{algorithm} {kid}");
        }
    }
}

#[test]
fn of_a_set_only_what_is_of_use_is_used() {
    let (rsa, ec) = (Pair::rsa(KeySize::Rsa2048), Pair::ec());
    for (jwk, part) in [
        (ec.jwk(json!({ "use": "enc" })), "not for signatures"),
        (ec.jwk(json!({ "key_ops": ["sign"] })), "not for signatures"),
        (rsa.jwk(json!({ "alg": "RSA-OAEP" })), "RSA-OAEP"),
        (rsa.jwk(json!({ "alg": "HS256" })), "does not go with"),
        (rsa.jwk(json!({ "alg": "none" })), "none"),
        (ec.jwk(json!({ "alg": "ES384" })), "does not go with"),
        (ec.jwk(json!({ "crv": "secp256k1" })), "key 0"),
        (json!({ "kty": "oct", "k": "c2VjcmV0" }), "a secret"),
        (json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" }), "2048"),
        (json!({ "kty": "RSA", "n": "%", "e": "AQAB" }), "base64url"),
        (ec.jwk(json!({ "d": "AQAB" })), "private key"),
        (json!(7), "no JWK"),
    ] {
        let problem = set_of(std::slice::from_ref(&jwk)).unwrap_err();
        assert!(problem.contains(part), "{jwk}: {problem}");
        let beside = set_of(&[jwk, ec.jwk(json!({}))]).unwrap();
        assert_eq!(beside.len(), 1, "the others are used");
    }
    for bytes in ["", "{}", r#"{"keys":7}"#, r#"{"keys":[]}"#, "[]"] {
        assert!(parse_key_set(bytes.as_bytes()).is_err(), "{bytes}");
    }
}

#[test]
fn a_set_has_so_many_keys_and_no_more() {
    let jwk = Pair::ec().jwk(json!({}));
    assert_eq!(set_of(&vec![jwk; 40]).unwrap().len(), 32);
}

//! A key that checks signatures, and the algorithms that go with it. They belong to the key, not to the token: so neither
//! `none` nor a public key passed off as a secret gets in (RFC 8725 sections 2.1 and 3.1).

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};
use tokio_rustls::rustls::pki_types::SubjectPublicKeyInfoDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use super::{Secret, TokenError};

/// The shortest modulus of RSA, in bytes: 2048 bits (RFC 7518 section 3.3).
const RSA_BYTES_MIN: usize = 256;

/// A key.
#[derive(Clone)]
pub(crate) struct Key {
    /// What a set of keys calls it; tokens may name it as their `kid`.
    id: Option<String>,
    key: DecodingKey,
    validation: Validation,
}

/// The kinds of public keys that can be configured, one algorithm for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublicKind {
    /// RSA of 2048 bits at least, PKCS #1 v1.5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl PublicKind {
    const fn algorithm(self) -> Algorithm {
        match self {
            PublicKind::Rs256 => Algorithm::RS256,
            PublicKind::Es256 => Algorithm::ES256,
            PublicKind::EdDsa => Algorithm::EdDSA,
        }
    }

    fn parser(self) -> &'static dyn VerificationAlgorithm {
        match self {
            PublicKind::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            PublicKind::Es256 => &ECDSA_P256_SHA256_FIXED,
            PublicKind::EdDsa => &ED25519,
        }
    }

    const fn description(self) -> &'static str {
        match self {
            PublicKind::Rs256 => "an RSA key of 2048 bits or more",
            PublicKind::Es256 => "a key on the curve P-256",
            PublicKind::EdDsa => "an Ed25519 key",
        }
    }

    /// How a pair is made, for messages.
    const fn recipe(self) -> &'static str {
        match self {
            PublicKind::Rs256 => "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out private.pem",
            PublicKind::Es256 => "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out private.pem",
            PublicKind::EdDsa => "openssl genpkey -algorithm ed25519 -out private.pem",
        }
    }
}

/// Why a configured text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    /// Not PEM with a public key in it.
    #[error(
        "there is no public key in it; it is PEM that begins with `-----BEGIN PUBLIC KEY-----`, as \
         `openssl pkey -in private.pem -pubout` prints it"
    )]
    NotPem,
    /// The secret half, which has no business here.
    #[error(
        "it is a private key, which only who signs the tokens should have; give its public half, as \
         `openssl pkey -in private.pem -pubout` prints it"
    )]
    Private,
    /// A key of another kind.
    #[error("it is not {}; such a pair is made with `{}`", .0.description(), .0.recipe())]
    Kind(PublicKind),
}

impl Key {
    /// A shared secret, for HS256, HS384 and HS512.
    pub(crate) fn hmac(secret: &Secret) -> Self {
        Self::new(
            DecodingKey::from_secret(secret.bytes()),
            vec![Algorithm::HS256, Algorithm::HS384, Algorithm::HS512],
        )
    }

    /// A public key in PEM (SubjectPublicKeyInfo, RFC 7468 section 13).
    ///
    /// # Errors
    /// When it is no PEM, or holds a key of another kind.
    pub(crate) fn public(kind: PublicKind, pem: &[u8]) -> Result<Self, KeyError> {
        let is_private = pem.windows(12).any(|window| window == b"PRIVATE KEY-");
        if is_private {
            return Err(KeyError::Private);
        }
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| KeyError::NotPem)?;
        ParsedPublicKey::new(kind.parser(), &*der).map_err(|_| KeyError::Kind(kind))?;
        // Its size is looked at only when a signature is checked.
        if kind == PublicKind::Rs256 && der.len() <= RSA_BYTES_MIN {
            return Err(KeyError::Kind(kind));
        }
        let key = match kind {
            PublicKind::Rs256 => DecodingKey::from_rsa_der(&der),
            PublicKind::Es256 => DecodingKey::from_ec_der(&der),
            PublicKind::EdDsa => DecodingKey::from_ed_der(&der),
        };
        Ok(Self::new(key, vec![kind.algorithm()]))
    }

    /// A key of a JWK set (RFC 7517), or why it is of no use here: sets may hold keys for other purposes. A secret in one is
    /// of none, since sets are for everybody to read.
    pub(crate) fn jwk(value: &Value) -> Result<Self, String> {
        if value.get("d").is_some() {
            return Err("it holds its private key, and so whoever read it can make tokens".to_owned());
        }
        let jwk: Jwk =
            serde_json::from_value(value.clone()).map_err(|_| "it is no JWK that is known here".to_owned())?;
        let common = &jwk.common;
        if common
            .public_key_use
            .as_ref()
            .is_some_and(|of| *of != PublicKeyUse::Signature)
            || common
                .key_operations
                .as_ref()
                .is_some_and(|operations| !operations.contains(&KeyOperations::Verify))
        {
            return Err("it is not for signatures".to_owned());
        }
        let named = value.get("alg").and_then(Value::as_str);
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => named.unwrap_or("RS256"),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => named.unwrap_or("ES256"),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => named.unwrap_or("ES384"),
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => named.unwrap_or("EdDSA"),
            AlgorithmParameters::OctetKey(_) => return Err("a secret does not belong into a set of keys".to_owned()),
            _ => return Err("keys of this kind are not supported".to_owned()),
        };
        let algorithm: Algorithm = algorithm
            .parse()
            .map_err(|_| format!("its `alg` {algorithm:?} is not supported"))?;
        let fits = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => RSA.contains(&algorithm),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => {
                algorithm == Algorithm::ES384
            }
            AlgorithmParameters::EllipticCurve(_) => algorithm == Algorithm::ES256,
            _ => algorithm == Algorithm::EdDSA,
        };
        if !fits {
            return Err(format!("its `alg` {algorithm:?} does not go with its kind"));
        }
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| "its numbers are not base64url".to_owned())?;
        if let jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, .. } = key.kind()
            && n.len() < RSA_BYTES_MIN
        {
            return Err("an RSA key has 2048 bits at least".to_owned());
        }
        Ok(Self {
            id: common.key_id.clone(),
            ..Self::new(key, vec![algorithm])
        })
    }

    fn new(key: DecodingKey, algorithms: Vec<Algorithm>) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.algorithms = algorithms;
        // The library checks the signature; what the claims must say is checked by us, with the clock as an argument and
        // one error for each reason.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        Self {
            id: None,
            key,
            validation,
        }
    }

    /// The algorithms that go with it.
    pub(super) fn algorithms(&self) -> &[Algorithm] {
        &self.validation.algorithms
    }

    /// Whether it may have signed a token that names this algorithm and this key. A key that has no name may be any.
    pub(super) fn may_have_signed(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        let is_named = match (&self.id, id) {
            (Some(own), Some(id)) => own == id,
            _ => true,
        };
        is_named && self.algorithms().contains(&algorithm)
    }

    /// Whether it has this name.
    pub(super) fn is_called(&self, id: Option<&str>) -> bool {
        id.is_some() && self.id.as_deref() == id
    }

    /// What a token claims, if this key signed it.
    pub(super) fn open(&self, token: &str) -> Result<Map<String, Value>, TokenError> {
        use jsonwebtoken::errors::ErrorKind;
        let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, &self.key, &self.validation);
        decoded.map(|token| token.claims).map_err(|error| match error.kind() {
            // The head was decoded before, so what is not base64 is the signature, or a payload that nobody signed.
            ErrorKind::InvalidSignature | ErrorKind::Base64(_) => TokenError::Signature,
            ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm | ErrorKind::InvalidAlgorithmName => {
                TokenError::Signature
            }
            _ => super::verify::not_a_jwt(),
        })
    }
}

/// The algorithms of RSA keys.
const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithms", &self.validation.algorithms)
            .finish_non_exhaustive()
    }
}

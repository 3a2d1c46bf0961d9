//! The secret that signs tokens, kept out of everything that is printed.

use std::fmt;
use std::sync::Arc;

/// The shortest secret, in bytes: a key for HS256 has at least the hash's 256 bits (RFC 7518 section 3.2).
pub(crate) const SECRET_BYTES_MIN: usize = 32;

/// A shared secret for HMAC. Cheap to clone; its bytes are never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Arc<[u8]>);

/// Why there is no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecretError {
    /// Guessable from any token it signed.
    #[error(
        "the secret has {0} bytes; HS256 wants at least {SECRET_BYTES_MIN} (256 bits, RFC 7518 section 3.2), \
         since a shorter one can be guessed from any token. Make one with `openssl rand -hex 32`"
    )]
    TooShort(usize),
    /// The system gave no random bytes.
    #[error("the system's random source failed: {0}")]
    Random(String),
}

impl Secret {
    /// A secret of these bytes, used as they are.
    ///
    /// # Errors
    /// When there are fewer than 32.
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, SecretError> {
        if bytes.len() < SECRET_BYTES_MIN {
            return Err(SecretError::TooShort(bytes.len()));
        }
        Ok(Self(Arc::from(bytes)))
    }

    /// A new secret from the system's random source: 256 bits, as 64 hexadecimal digits.
    ///
    /// # Errors
    /// When the system has no random bytes to give.
    pub(crate) fn random() -> Result<Self, SecretError> {
        let text = random_hex::<32>().map_err(SecretError::Random)?;
        Ok(Self(Arc::from(text.as_bytes())))
    }

    /// The bytes, for signing and checking.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// `N` random bytes as hexadecimal digits.
pub(crate) fn random_hex<const N: usize>() -> Result<String, String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_256_bits_at_least() {
        assert_eq!(Secret::new(&[b'x'; 31]), Err(SecretError::TooShort(31)));
        assert!(Secret::new(&[b'x'; 32]).is_ok());
        let message = Secret::new(b"changeme").unwrap_err().to_string();
        assert!(
            message.contains("openssl rand -hex 32") && message.contains("RFC 7518"),
            "{message}"
        );
        assert!(!message.contains("changeme"), "{message}");
    }

    #[test]
    fn random_secrets_differ_and_are_long_enough() {
        let (one, other) = (Secret::random().unwrap(), Secret::random().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.bytes().len(), 64);
    }

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::new(b"correct horse battery staple 1234").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(hidden)");
    }
}

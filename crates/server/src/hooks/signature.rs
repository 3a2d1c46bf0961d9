//! What proves to the back end that a call is this server's, and when it was made.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;

use crate::token::Secret;

/// Signs calls with the secret that the back end shares.
pub(super) struct Signer(hmac::Key);

impl Signer {
    pub(super) fn new(secret: &Secret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.bytes()))
    }

    /// The value of `Tidings-Signature`: the time is signed too, so that an old call can't be played again.
    pub(super) fn sign(&self, body: &[u8], now: SystemTime) -> String {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut context = hmac::Context::with_key(&self.0);
        context.update(format!("{seconds}.").as_bytes());
        context.update(body);
        format!("t={seconds},v1={}", hex(context.sign().as_ref()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_signature_is_what_openssl_says() {
        // printf '1790000000.{"hook":"connect"}' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
        let signer = Signer::new(&Secret::new(b"0123456789abcdef0123456789abcdef").unwrap());
        let now = UNIX_EPOCH + Duration::from_millis(1_790_000_000_999);
        assert_eq!(
            signer.sign(br#"{"hook":"connect"}"#, now),
            "t=1790000000,v1=84d0d50b968f887a02e7018fa42b8f3ab64a5c29352e392b27ce0dcde12ee10f"
        );
    }
}

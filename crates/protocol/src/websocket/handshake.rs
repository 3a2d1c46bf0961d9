//! The key of the opening handshake.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// What both sides put behind the key (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The `Sec-WebSocket-Accept` that answers a client's `Sec-WebSocket-Key` (RFC 6455, section 4.2.2).
///
/// ```
/// use tidings_protocol::websocket::accept_key;
///
/// assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept_key(key: &str) -> String {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    STANDARD.encode(digest)
}

/// Whether a `Sec-WebSocket-Key` is the base64 of 16 bytes (RFC 6455, section 4.2.1), without spaces around it.
///
/// The four spare bits of the last character may be set: nobody decodes the key, and there are clients that make it up
/// character by character.
///
/// ```
/// use tidings_protocol::websocket::is_valid_key;
///
/// assert!(is_valid_key("dGhlIHNhbXBsZSBub25jZQ=="));
/// assert!(!is_valid_key("dGhlIHNhbXBsZQ=="));
/// ```
pub fn is_valid_key(key: &str) -> bool {
    key.len() == 24
        && key.strip_suffix("==").is_some_and(|digits| {
            digits
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
        })
}

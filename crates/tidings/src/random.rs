//! Random bytes from the operating system, and the ids made of them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Fills `bytes` from the operating system's random source.
///
/// An operating system without one can't run a server whose ids are secrets, so that ends the process' thread.
pub(crate) fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system's random source answers");
}

/// 120 random bits: 20 characters of the URL-safe base64 alphabet.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RandomId([u8; 15]);

impl RandomId {
    pub(crate) const CHARS: usize = 20;

    pub(crate) fn new() -> Self {
        let mut bytes = [0; 15];
        fill(&mut bytes);
        Self(bytes)
    }

    /// Which of `count` shards owns the session of this id: told by the id alone, so that no table is needed.
    pub(crate) fn shard(&self, count: usize) -> usize {
        usize::from(u16::from_le_bytes([self.0[0], self.0[1]])) % count
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 15];
        if text.len() != Self::CHARS {
            return None;
        }
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(15) => Some(Self(bytes)),
            _ => None,
        }
    }
}

impl std::fmt::Display for RandomId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = [0; Self::CHARS];
        // 15 bytes are exactly 20 characters.
        let _ = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text);
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

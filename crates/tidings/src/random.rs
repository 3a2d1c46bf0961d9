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

/// Makes the public ids of sockets, and tells them from other names: 120 random bits and 24 that only this process can compute.
pub(crate) struct SocketIds(std::hash::RandomState);

impl SocketIds {
    const CHARS: usize = 24;

    pub(crate) fn new() -> Self {
        Self(std::hash::RandomState::new())
    }

    pub(crate) fn make(&self) -> String {
        let mut bytes = [0; 18];
        fill(&mut bytes[..15]);
        let check = self.check(&bytes[..15]);
        bytes[15..].copy_from_slice(&check);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Whether `name` is an id that this process made; wrong for one other name in 16 million of its form.
    pub(crate) fn is_one(&self, name: &str) -> bool {
        let mut bytes = [0; 18];
        name.len() == Self::CHARS
            && URL_SAFE_NO_PAD.decode_slice(name, &mut bytes).is_ok()
            && self.check(&bytes[..15]) == bytes[15..]
    }

    fn check(&self, random: &[u8]) -> [u8; 3] {
        let hash = std::hash::BuildHasher::hash_one(&self.0, random).to_le_bytes();
        [hash[0], hash[1], hash[2]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_known_again_and_others_are_not() {
        let ids = SocketIds::new();
        let id = ids.make();
        assert!(ids.is_one(&id) && !SocketIds::new().is_one(&id));
        assert!(!ids.is_one("notifications-everywhere") && !ids.is_one("") && !ids.is_one("ä"));
        let session = RandomId::new();
        assert!(RandomId::parse(&session.to_string()) == Some(session));
        assert!(RandomId::parse("__proto__").is_none());
    }
}

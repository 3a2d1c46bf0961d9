//! Random bytes from the operating system, and the ids made of them.

use std::cell::RefCell;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::log::Log;

/// Fills `bytes` from the operating system's random source.
///
/// An operating system without one can't run a server whose ids are secrets, so that ends the process' thread.
pub(crate) fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system's random source answers");
}

/// 120 random bits: 20 characters of the URL-safe base64 alphabet.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RandomId([u8; Self::BYTES]);

/// Bytes for the next ids of a thread: one call of the operating system for many of them.
struct Supply {
    bytes: [u8; Supply::IDS * RandomId::BYTES],
    /// How many of the ids are still to be given out.
    left: usize,
}

impl Supply {
    const IDS: usize = 32;

    const fn new() -> Self {
        Self {
            bytes: [0; Self::IDS * RandomId::BYTES],
            left: 0,
        }
    }

    fn next(&mut self) -> [u8; RandomId::BYTES] {
        if self.left == 0 {
            fill(&mut self.bytes);
            self.left = Self::IDS;
        }
        self.left -= 1;
        let mut id = [0; RandomId::BYTES];
        // What is given out is nowhere else.
        id.swap_with_slice(&mut self.bytes[self.left * RandomId::BYTES..][..RandomId::BYTES]);
        id
    }
}

thread_local! {
    static SUPPLY: RefCell<Supply> = const { RefCell::new(Supply::new()) };
}

impl RandomId {
    pub(crate) const CHARS: usize = 20;
    const BYTES: usize = 15;

    pub(crate) fn new() -> Self {
        Self(SUPPLY.with_borrow_mut(Supply::next))
    }

    /// Which of `count` shards owns the session of this id: told by the id alone, so that no table is needed.
    pub(crate) fn shard(&self, count: usize) -> usize {
        usize::from(u16::from_le_bytes([self.0[0], self.0[1]])) % count
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; Self::BYTES];
        if text.len() != Self::CHARS {
            return None;
        }
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(Self::BYTES) => Some(Self(bytes)),
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

/// Makes the public ids of sockets, and tells them from other names: 120 random bits and 24 that only this server can compute.
pub(crate) struct SocketIds {
    key: [u8; SocketIds::KEY_BYTES],
}

impl SocketIds {
    const CHARS: usize = 24;
    const KEY_BYTES: usize = 16;
    /// Under which the store keeps the key: recovered sockets have ids of an earlier process.
    const RECORD: &[u8] = b"key/socket-ids";

    /// With the key that the log keeps, if it keeps records.
    pub(crate) fn new(log: &dyn Log) -> Self {
        let kept = log.records(Self::RECORD).into_iter().next();
        if let Some(key) = kept.and_then(|(_, key)| key.as_ref().try_into().ok()) {
            return Self { key };
        }
        let ids = Self::random();
        log.put(Bytes::from_static(Self::RECORD), Some(Bytes::copy_from_slice(&ids.key)));
        ids
    }

    fn random() -> Self {
        let mut key = [0; Self::KEY_BYTES];
        fill(&mut key);
        Self { key }
    }

    pub(crate) fn make(&self) -> String {
        let mut bytes = [0; 18];
        bytes[..15].copy_from_slice(&RandomId::new().0);
        let check = self.check(&bytes[..15]);
        bytes[15..].copy_from_slice(&check);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Whether `name` is an id that this server made; wrong for one other name in 16 million of its form.
    pub(crate) fn is_one(&self, name: &str) -> bool {
        let mut bytes = [0; 18];
        name.len() == Self::CHARS
            && URL_SAFE_NO_PAD.decode_slice(name, &mut bytes).is_ok()
            && self.check(&bytes[..15]) == bytes[15..]
    }

    /// Both lengths are fixed, so that the plain hash of one after the other is a keyed one.
    fn check(&self, random: &[u8]) -> [u8; 3] {
        let hash = Sha256::new().chain_update(self.key).chain_update(random).finalize();
        [hash[0], hash[1], hash[2]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_known_again_and_others_are_not() {
        let ids = SocketIds::random();
        let id = ids.make();
        assert!(ids.is_one(&id) && !SocketIds::random().is_one(&id));
        assert!(!ids.is_one("notifications-everywhere") && !ids.is_one("") && !ids.is_one("ä"));
        let session = RandomId::new();
        assert!(RandomId::parse(&session.to_string()) == Some(session));
        assert!(RandomId::parse("__proto__").is_none());
    }

    #[test]
    fn each_id_is_given_out_once() {
        let some = || (0..5 * Supply::IDS).map(|_| RandomId::new()).collect::<Vec<_>>();
        let elsewhere = std::thread::spawn(some);
        let mut ids = some();
        ids.extend(elsewhere.join().unwrap());
        let different: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(different.len(), 10 * Supply::IDS);
        let left = SUPPLY.with_borrow(|supply| supply.bytes[supply.left * RandomId::BYTES..].to_vec());
        assert!(left.iter().all(|byte| *byte == 0));
    }
}

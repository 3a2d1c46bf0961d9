//! Publish keys: a publish that is tried again under the same key is the same publish.
//!
//! A key counts for five to ten minutes: two generations, of which the older goes when the younger is five minutes old.

use std::time::Duration;

use hashbrown::HashMap;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::Receipt;
use super::tail::milliseconds;
use crate::channel::Channel;
use crate::error::{Code, Error, Result};
use crate::event::Draft;
use crate::limits::PUBLISH_KEYS_MAX;

/// How long a generation takes keys in.
const GENERATION: Duration = Duration::from_secs(5 * 60);

/// Publisher, channel and key, so short that a table of millions fits, and so long that no two are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct KeyHash(pub(super) [u8; 16]);

/// One for each channel.
pub(super) type KeyHashes = SmallVec<[KeyHash; 1]>;

/// The hashes of publisher, channel and key, and that of the content, to which the list of channels belongs.
#[derive(Debug, Clone)]
pub(super) struct Fingerprint {
    hashes: KeyHashes,
    content: u64,
}

/// A key in each channel of an event, and what was published under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) hashes: KeyHashes,
    pub(super) content: u64,
    /// In which generation it was claimed.
    pub(super) generation: u64,
}

/// What came of a claim.
pub(super) enum Claimed {
    /// Nobody has used the key: publish, then say how it went.
    New(Claim),
    /// The same was published before, with this seq.
    Before(u64),
    /// The same is being published right now; here comes how it goes.
    Now(oneshot::Receiver<Result<Receipt>>),
}

pub(super) struct Keys {
    generation: u64,
    began_ms: u64,
    young: HashMap<KeyHash, Use>,
    old: HashMap<KeyHash, Use>,
}

struct Use {
    seq: u64,
    content: u64,
    /// None once it is kept. Who waits does so at the first channel.
    waiting: Option<Vec<oneshot::Sender<Result<Receipt>>>>,
}

impl Keys {
    pub(super) fn new(generation: u64, began_ms: u64) -> Self {
        Self {
            generation,
            began_ms,
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// Which generation takes keys in, and since when.
    pub(super) fn generation(&self) -> (u64, u64) {
        (self.generation, self.began_ms)
    }

    /// Takes in a key that was kept by an earlier process.
    pub(super) fn restore(&mut self, generation: u64, hash: KeyHash, seq: u64, content: u64) {
        let table = if generation == self.generation {
            &mut self.young
        } else {
            &mut self.old
        };
        let waiting = None;
        table.insert(hash, Use { seq, content, waiting });
    }

    /// Claims a key for an event that would get this seq.
    ///
    /// # Errors
    /// `key_conflict` when other content was published under the key; `unavailable` when there are too many keys.
    pub(super) fn claim(&mut self, fingerprint: Fingerprint, seq: u64, now_ms: u64) -> Result<Claimed> {
        self.rotate(now_ms);
        let Fingerprint { hashes, content } = fingerprint;
        let mut uses = hashes.iter();
        if uses.any(|hash| self.find(*hash).is_some_and(|known| known.content != content)) {
            return Err(Error::coded(
                Code::KeyConflict,
                "this key was used for other content; take a new key for each event",
            ));
        }
        // The same content has the same channels, so all of them have the key or none.
        if let Some(known) = hashes.first().and_then(|hash| self.find(*hash)) {
            return Ok(match &mut known.waiting {
                None => Claimed::Before(known.seq),
                Some(waiting) => {
                    let (sender, receiver) = oneshot::channel();
                    waiting.push(sender);
                    Claimed::Now(receiver)
                }
            });
        }
        if self.young.len() + hashes.len() > PUBLISH_KEYS_MAX {
            return Err(Error::coded(
                Code::Unavailable,
                "too many publish keys within five minutes; try again",
            ));
        }
        for hash in &hashes {
            let waiting = Some(Vec::new());
            self.young.insert(*hash, Use { seq, content, waiting });
        }
        Ok(Claimed::New(Claim {
            hashes,
            content,
            generation: self.generation,
        }))
    }

    fn find(&mut self, hash: KeyHash) -> Option<&mut Use> {
        match self.old.get_mut(&hash) {
            Some(known) => Some(known),
            None => self.young.get_mut(&hash),
        }
    }

    /// What was published under the key is kept. Returns who waits for that.
    pub(super) fn kept(&mut self, claim: &Claim) -> Vec<oneshot::Sender<Result<Receipt>>> {
        let mut all = Vec::new();
        for hash in &claim.hashes {
            if let Some(waiting) = self.find(*hash).and_then(|known| known.waiting.take()) {
                all.extend(waiting);
            }
        }
        all
    }

    /// What was published under the key could not be kept, and the key is free again. Returns who waits for that.
    pub(super) fn failed(&mut self, claim: &Claim) -> Vec<oneshot::Sender<Result<Receipt>>> {
        let mut all = Vec::new();
        for hash in &claim.hashes {
            let known = self.young.remove(hash).or_else(|| self.old.remove(hash));
            all.extend(known.and_then(|known| known.waiting).unwrap_or_default());
        }
        all
    }

    fn rotate(&mut self, now_ms: u64) {
        let age_ms = now_ms.saturating_sub(self.began_ms);
        let generation_ms = milliseconds(GENERATION);
        if age_ms < generation_ms {
            return;
        }
        self.old = std::mem::take(&mut self.young);
        if age_ms >= 2 * generation_ms {
            // All are over their time, but for those that are still being written.
            self.old.retain(|_, known| known.waiting.is_some());
        }
        self.generation += 1;
        self.began_ms = now_ms;
    }
}

/// The fingerprint of a draft that has a key.
pub(super) fn fingerprint(draft: &Draft) -> Option<Fingerprint> {
    let key = draft.key.as_ref()?;
    let mut channels: Vec<&Channel> = draft.channels.iter().collect();
    channels.sort();
    channels.dedup();
    let hashes = channels.iter().map(|channel| {
        let mut hasher = Sha256::new();
        part(&mut hasher, key.publisher.as_bytes());
        part(&mut hasher, key.key.as_bytes());
        part(&mut hasher, channel.as_str().as_bytes());
        KeyHash(first(&hasher.finalize()))
    });
    let hashes = hashes.collect();

    let mut hasher = Sha256::new();
    part(&mut hasher, draft.message.name.as_bytes());
    part(&mut hasher, &draft.message.arguments);
    for attachment in &draft.message.attachments {
        part(&mut hasher, attachment);
    }
    if channels.len() > 1 {
        for channel in channels {
            part(&mut hasher, channel.as_str().as_bytes());
        }
    }
    let content = u64::from_le_bytes(first(&hasher.finalize()));
    Some(Fingerprint { hashes, content })
}

/// Each part with its length, so that no two lists of parts look alike.
fn part(hasher: &mut Sha256, bytes: &[u8]) {
    hasher.update((bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

fn first<const N: usize>(hash: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&hash[..N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::conformance::{draft, keyed};

    fn claim(keys: &mut Keys, draft: &Draft, seq: u64, now_ms: u64) -> Result<u64> {
        Ok(match keys.claim(fingerprint(draft).unwrap(), seq, now_ms)? {
            Claimed::New(claim) => {
                keys.kept(&claim);
                seq
            }
            Claimed::Before(seq) => seq,
            Claimed::Now(_) => panic!("nothing is being written"),
        })
    }

    #[test]
    fn a_key_counts_for_five_minutes_at_least_and_ten_at_most() {
        let minute = 60_000;
        let event = keyed(draft(&["a"], "1"), "ann", "k");
        let mut keys = Keys::new(1, 0);
        assert_eq!(claim(&mut keys, &event, 1, 4 * minute).unwrap(), 1);
        assert_eq!(
            claim(&mut keys, &event, 2, 5 * minute).unwrap(),
            1,
            "in the older generation now"
        );
        assert_eq!(claim(&mut keys, &event, 2, 9 * minute).unwrap(), 1);
        assert_eq!(claim(&mut keys, &event, 2, 10 * minute).unwrap(), 2, "over its time");
        assert_eq!(
            claim(&mut keys, &event, 3, 20 * minute).unwrap(),
            3,
            "both generations at once"
        );
    }

    #[test]
    fn keys_differ_by_publisher_and_channel_and_content_by_name_arguments_and_channels() {
        let mut keys = Keys::new(1, 0);
        for (seq, event) in [
            keyed(draft(&["a"], "1"), "ann", "k"),
            keyed(draft(&["a"], "1"), "bob", "k"),
            keyed(draft(&["b"], "1"), "ann", "k"),
            keyed(draft(&["a"], "1"), "an", "nk"),
        ]
        .iter()
        .enumerate()
        {
            assert_eq!(claim(&mut keys, event, seq as u64, 0).unwrap(), seq as u64);
        }
        let mut other = keyed(draft(&["a"], "1"), "ann", "k");
        other.message.name = "other".into();
        for other in [other, keyed(draft(&["a"], "2"), "ann", "k")] {
            assert_eq!(claim(&mut keys, &other, 9, 0).unwrap_err().code(), "key_conflict");
        }
        // In several channels it is one publish: a retry names them all.
        let several = keyed(draft(&["d", "c"], "1"), "ann", "k");
        assert_eq!(claim(&mut keys, &several, 10, 0).unwrap(), 10);
        assert_eq!(
            claim(&mut keys, &keyed(draft(&["c", "d", "c"], "1"), "ann", "k"), 11, 0).unwrap(),
            10
        );
        for channels in [
            &["c"][..],
            &["d"],
            &["a", "b"],
            &["c", "e"],
            &["e", "d"],
            &["c", "d", "e"],
        ] {
            let other = keyed(draft(channels, "1"), "ann", "k");
            assert_eq!(
                claim(&mut keys, &other, 12, 0).unwrap_err().code(),
                "key_conflict",
                "{channels:?}"
            );
        }
        assert_eq!(
            claim(&mut keys, &keyed(draft(&["e"], "1"), "ann", "k"), 13, 0).unwrap(),
            13,
            "what was refused claimed nothing"
        );
    }
}

//! The keys of the server API: which there are, and what each may do.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

use crate::rules::Pattern;
use crate::token::Secret;

/// The name of the one key that has none, for the log.
const UNNAMED: &str = "key";

/// The SHA-256 of a key. Keys are made at random and are long, so nothing slower is needed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hash([u8; 32]);

/// One thing that a key may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Publish to the channels of a pattern.
    Publish(Pattern),
    /// See channels and their history.
    Read,
    /// Change who is connected.
    Admin,
}

/// What a key may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scopes(Vec<Scope>);

/// A key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ApiKey {
    name: String,
    hash: Hash,
    scopes: Scopes,
}

/// All keys there are.
#[derive(Debug, Clone)]
pub(crate) struct ApiKeys(Vec<Arc<ApiKey>>);

impl Hash {
    pub(crate) fn of(key: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, key).as_ref());
        Self(hash)
    }

    /// Whether it is the same. How long that takes tells nothing.
    pub(crate) fn is(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }

    /// From 64 hexadecimal digits; none when it is something else.
    pub(crate) fn from_hex(digits: &str) -> Option<Self> {
        let digits = digits.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
        }
        Some(Self(hash))
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(pattern) = text.strip_prefix("publish:") {
            let pattern: Pattern = pattern
                .parse()
                .map_err(|error| format!("{text:?} has no pattern: {error}"))?;
            if pattern.names_user() {
                return Err(format!("{text:?} names {{user}}, and a key is no user's"));
            }
            return Ok(Scope::Publish(pattern));
        }
        match text {
            "read" => Ok(Scope::Read),
            "admin" => Ok(Scope::Admin),
            "publish" => Err("\"publish\" must say where, as in \"publish:room:*\" or \"publish:*\"".to_owned()),
            _ => Err(format!(
                "{text:?} is no scope; there are \"publish:<pattern>\", \"read\" and \"admin\""
            )),
        }
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

/// As it is written in the configuration.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Publish(pattern) => write!(f, "publish:{pattern}"),
            Scope::Read => f.write_str("read"),
            Scope::Admin => f.write_str("admin"),
        }
    }
}

impl Scopes {
    fn may_publish(&self, channel: &str) -> bool {
        self.0
            .iter()
            .any(|scope| matches!(scope, Scope::Publish(pattern) if pattern.matches(channel)))
    }
}

impl ApiKey {
    /// Whether it is the key of this hash.
    pub(crate) fn has(&self, hash: &Hash) -> bool {
        self.hash.is(hash)
    }

    pub(crate) fn new(name: String, hash: Hash, scopes: Scopes) -> Self {
        Self { name, hash, scopes }
    }

    /// What the log calls it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it may do.
    pub(crate) fn scopes(&self) -> &[Scope] {
        &self.scopes.0
    }

    /// Whether it may publish to a channel.
    pub(crate) fn may_publish(&self, channel: &str) -> bool {
        self.scopes.may_publish(channel)
    }

    /// Whether it may look after users and connections.
    pub(crate) fn may_administer(&self) -> bool {
        self.scopes.0.contains(&Scope::Admin)
    }

    /// Whether it may see channels and their history.
    pub(crate) fn may_read(&self) -> bool {
        self.scopes.0.contains(&Scope::Read)
    }
}

/// Neither the key nor its hash.
impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("name", &self.name)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

impl ApiKeys {
    /// The one key that may do everything, if there is one, and the others.
    pub(crate) fn new(key: Option<&Secret>, others: &[ApiKey]) -> Self {
        let everything = ["publish:*", "read", "admin"];
        let key = key.map(|secret| ApiKey {
            name: UNNAMED.to_owned(),
            hash: Hash::of(secret.bytes()),
            scopes: everything.iter().filter_map(|scope| scope.parse().ok()).collect(),
        });
        Self(key.into_iter().chain(others.iter().cloned()).map(Arc::new).collect())
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key that was shown. How long it takes tells nothing of the keys there are.
    pub(crate) fn find(&self, shown: &[u8]) -> Option<&Arc<ApiKey>> {
        let shown = Hash::of(shown);
        let is_it = |key: &&Arc<ApiKey>| key.hash.is(&shown);
        // All of them are looked at, whichever it is.
        self.0.iter().fold(None, |found, key| Some(key).filter(is_it).or(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(list: &[&str]) -> Scopes {
        list.iter().map(|text| text.parse::<Scope>().unwrap()).collect()
    }

    #[test]
    fn the_key_that_was_shown_is_found_and_no_other() {
        let secret = Secret::new(&[b'k'; 32]).unwrap();
        let hash = Hash::of(b"another key, which is long enough");
        let other = ApiKey::new("billing".to_owned(), hash, scopes(&["read"]));
        let keys = ApiKeys::new(Some(&secret), &[other]);
        let name = |shown: &[u8]| keys.find(shown).map(|key| key.name());
        assert_eq!(name(&[b'k'; 32]), Some(UNNAMED));
        assert_eq!(name(b"another key, which is long enough"), Some("billing"));
        assert_eq!(name(&[b'k'; 31]), None);
        assert_eq!(name(b""), None);
        assert!(ApiKeys::new(None, &[]).find(b"").is_none());
    }

    #[test]
    fn a_hash_is_the_one_that_sha256sum_prints() {
        let printed = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert!(Hash::from_hex(printed) == Some(Hash::of(b"hello")));
        assert!(Hash::from_hex(&printed.to_uppercase()) == Some(Hash::of(b"hello")));
        for text in [
            "",
            "2cf2",
            &printed[1..],
            &format!("{}g", &printed[1..]),
            &format!("+{}", &printed[1..]),
        ] {
            assert!(Hash::from_hex(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_key_may_do_what_its_scopes_say() {
        let secret = Secret::new(&[b'k'; 32]).unwrap();
        let keys = ApiKeys::new(Some(&secret), &[]);
        let whole = keys.find(secret.bytes()).unwrap();
        assert!(whole.may_publish("anything") && whole.may_publish("user:ann") && whole.may_read());
        let rooms = ApiKey::new(
            "rooms".to_owned(),
            Hash::of(b""),
            scopes(&["publish:room:*", "publish:news"]),
        );
        for (channel, may) in [
            ("room:1", true),
            ("news", true),
            ("user:ann", false),
            ("newsroom", false),
        ] {
            assert_eq!(rooms.may_publish(channel), may, "{channel}");
        }
        assert!(!rooms.may_read());
    }

    #[test]
    fn what_is_no_scope_is_refused() {
        for (text, part) in [
            ("publish", "must say where"),
            ("publish:", "can't be empty"),
            ("publish:{user}", "no user's"),
            ("write", "is no scope"),
            ("", "is no scope"),
        ] {
            let error = text.parse::<Scope>().unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_key_is_not_printed() {
        let secret = Secret::new(b"correct horse battery staple 1234").unwrap();
        let shown = format!("{:?}", ApiKeys::new(Some(&secret), &[]));
        assert!(
            shown.contains(UNNAMED) && !shown.contains("correct") && !shown.contains("hash"),
            "{shown}"
        );
    }
}

//! Event ids: `<epoch>-<seq>`, the position of an event in the one sequence of its log.

use std::fmt;
use std::str::FromStr;

/// Which sequence an id belongs to: eight characters of `0-9a-z`. A memory-only server has a new one at each start.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch([u8; 8]);

impl Epoch {
    /// A new epoch from the operating system's random source.
    pub(crate) fn random() -> Self {
        const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut epoch = [0; 8];
        crate::random::fill(&mut epoch);
        // 256 is no multiple of 36; the slight bias is of no matter for telling epochs apart.
        for byte in &mut epoch {
            *byte = ALPHABET[usize::from(*byte) % ALPHABET.len()];
        }
        Self(epoch)
    }

    /// The epoch's eight characters.
    pub fn as_str(&self) -> &str {
        // Only ASCII ever gets in, through `random` and `from_str`.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The id of an event, and a cursor: `<epoch>-<seq>`, matching `^[0-9a-z]{8}-(0|[1-9][0-9]{0,15})$`.
///
/// ```
/// let id: tidings::EventId = "k3v9x1qa-42".parse().unwrap();
/// assert_eq!(id.seq(), 42);
/// assert_eq!(id.to_string(), "k3v9x1qa-42");
/// assert!("k3v9x1qa-042".parse::<tidings::EventId>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventId {
    epoch: Epoch,
    seq: u64,
}

impl EventId {
    pub(crate) fn new(epoch: Epoch, seq: u64) -> Self {
        Self { epoch, seq }
    }

    /// The sequence it is a position in.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The position, from 1; 0 stands before the first event.
    pub fn seq(&self) -> u64 {
        self.seq
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch.as_str(), self.seq)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an event id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an event id: it has the form <epoch>-<seq>, for example k3v9x1qa-42")]
pub struct InvalidId;

impl FromStr for EventId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (epoch, seq) = text.split_once('-').ok_or(InvalidId)?;
        let epoch: [u8; 8] = epoch.as_bytes().try_into().map_err(|_| InvalidId)?;
        let digits = (1..=16).contains(&seq.len()) && seq.bytes().all(|byte| byte.is_ascii_digit());
        let leading_zero = seq.len() > 1 && seq.starts_with('0');
        if !digits
            || leading_zero
            || !epoch
                .iter()
                .all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
        {
            return Err(InvalidId);
        }
        Ok(Self {
            epoch: Epoch(epoch),
            seq: seq.parse().map_err(|_| InvalidId)?,
        })
    }
}

impl serde::Serialize for EventId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_bad_ones_are_refused() {
        let id = EventId::new(Epoch::random(), 9_999_999_999_999_999);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("k3v9x1qa-0".parse::<EventId>().is_ok());
        for bad in [
            "",
            "-",
            "k3v9x1qa",
            "k3v9x1qa-",
            "k3v9x1q-1",
            "K3v9x1qa-1",
            "k3v9x1qa-01",
            "k3v9x1qa-1 ",
            "k3v9x1qa-+1",
            "k3v9x1qa-12345678901234567",
            "k3v9x1qa-1-1",
        ] {
            assert_eq!(bad.parse::<EventId>(), Err(InvalidId), "{bad}");
        }
    }
}

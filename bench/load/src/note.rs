//! The event of the durable workloads: 200 bytes of JSON that say who sent it, which one it is and when it was sent.
//!
//! Every server is given these bytes and must give them back as they are: in a stream entry, a message, or as the data of
//! an event. The numbers have a fixed width, and the keys are in alphabetical order.

/// Bytes of a note.
pub(crate) const NOTE_BYTES: usize = 200;

/// Added to what is sent, so that the number of digits never changes and a double holds the number exactly.
const AT_BASE: u64 = 1_000_000_000_000_000;
const AT_DIGITS: usize = 16;
const COUNT_BASE: u64 = 1_000_000_000;
const COUNT_DIGITS: usize = 10;

const BEFORE_AT: &[u8] = br#"{"at":"#;
const BEFORE_LANE: &[u8] = br#","lane":"#;
const BEFORE_SEQ: &[u8] = br#","seq":"#;
const BEFORE_TEXT: &[u8] = br#","text":""#;
const END: &[u8] = br#""}"#;

/// A note as the generator knows it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// Which publisher sent it.
    pub(crate) lane: u32,
    /// Its place among those of its publisher, from 0.
    pub(crate) seq: u64,
    /// When it was sent, in nanoseconds since the generator's clock began.
    pub(crate) at_ns: u64,
}

impl Note {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(NOTE_BYTES);
        bytes.extend(BEFORE_AT);
        bytes.extend((AT_BASE + self.at_ns).to_string().bytes());
        bytes.extend(BEFORE_LANE);
        bytes.extend((COUNT_BASE + u64::from(self.lane)).to_string().bytes());
        bytes.extend(BEFORE_SEQ);
        bytes.extend((COUNT_BASE + self.seq).to_string().bytes());
        bytes.extend(BEFORE_TEXT);
        bytes.resize(NOTE_BYTES - END.len(), b'.');
        bytes.extend(END);
        bytes
    }

    /// None for anything that is not exactly a note.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != NOTE_BYTES || !bytes.ends_with(END) {
            return None;
        }
        let (at, rest) = bytes.strip_prefix(BEFORE_AT)?.split_at_checked(AT_DIGITS)?;
        let (lane, rest) = rest.strip_prefix(BEFORE_LANE)?.split_at_checked(COUNT_DIGITS)?;
        let (seq, rest) = rest.strip_prefix(BEFORE_SEQ)?.split_at_checked(COUNT_DIGITS)?;
        rest.strip_prefix(BEFORE_TEXT)?;
        Some(Self {
            lane: number(lane)?.checked_sub(COUNT_BASE)?.try_into().ok()?,
            seq: number(seq)?.checked_sub(COUNT_BASE)?,
            at_ns: number(at)?.checked_sub(AT_BASE)?,
        })
    }

    /// The note that a longer text has right after `mark`.
    pub(crate) fn find(text: &[u8], mark: &[u8]) -> Option<Self> {
        let at = position(text, mark)? + mark.len();
        Self::decode(text.get(at..at + NOTE_BYTES)?)
    }
}

/// Where `part` begins in `text`.
pub(crate) fn position(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// A number of nothing but digits.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes_and_is_200_bytes_of_json() {
        for note in [
            Note {
                lane: 0,
                seq: 0,
                at_ns: 0,
            },
            Note {
                lane: 63,
                seq: 999_999_999,
                at_ns: 7_999_999_999_999_999,
            },
        ] {
            let bytes = note.encode();
            assert_eq!(bytes.len(), NOTE_BYTES);
            let value: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
            assert_eq!(value.to_string().as_bytes(), bytes, "keys in alphabetical order");
            assert_eq!(Note::decode(&bytes), Some(note));
            let text = [br#"{"data":"#, &bytes[..], b"}"].concat();
            assert_eq!(Note::find(&text, br#""data":"#), Some(note));
            assert_eq!(Note::find(&text[..text.len() - 2], br#""data":"#), None);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let bytes = Note {
            lane: 1,
            seq: 5,
            at_ns: 9,
        }
        .encode();
        for length in 0..bytes.len() {
            assert_eq!(Note::decode(&bytes[..length]), None);
        }
        let mut letters = bytes;
        letters[10] = b'x';
        assert_eq!(Note::decode(&letters), None);
        assert_eq!(number(b"99999999999999999999999"), None);
        assert_eq!(number(b""), None);
    }
}

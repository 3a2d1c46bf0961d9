//! The event that is measured: JSON of a given length that carries a sequence number and the time of sending.
//!
//! Both numbers have a fixed width and the keys are in alphabetical order, so that the bytes are the same whether a
//! server passes the text through or parses it and writes it anew.

use crate::note::number;

/// Added to what is sent, so that the number of digits never changes and a double holds the number exactly.
const AT_BASE: u64 = 1_000_000_000_000_000;
const AT_DIGITS: usize = 16;
const SEQ_BASE: u64 = 1_000_000_000;
const SEQ_DIGITS: usize = 10;

const BEFORE_AT: &[u8] = br#"{"at":"#;
const BEFORE_SEQ: &[u8] = br#","seq":"#;
const BEFORE_TEXT: &[u8] = br#","text":""#;
const END: &[u8] = br#""}"#;

/// An event as the generator knows it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its place in its room's sequence, from 0.
    pub(crate) seq: u64,
    /// When it was due to be sent, in nanoseconds since the generator's clock began.
    pub(crate) at_ns: u64,
}

impl Event {
    /// So many bytes of JSON.
    pub(crate) fn encode(self, data_bytes: usize) -> Vec<u8> {
        let mut data = Vec::with_capacity(data_bytes);
        data.extend(BEFORE_AT);
        data.extend((AT_BASE + self.at_ns).to_string().bytes());
        data.extend(BEFORE_SEQ);
        data.extend((SEQ_BASE + self.seq).to_string().bytes());
        data.extend(BEFORE_TEXT);
        data.resize(data_bytes - END.len(), b'.');
        data.extend(END);
        data
    }

    /// None for anything that is not exactly such data.
    pub(crate) fn decode(data: &[u8], data_bytes: usize) -> Option<Self> {
        if data.len() != data_bytes {
            return None;
        }
        let (at, rest) = data.strip_prefix(BEFORE_AT)?.split_at_checked(AT_DIGITS)?;
        let (seq, rest) = rest.strip_prefix(BEFORE_SEQ)?.split_at_checked(SEQ_DIGITS)?;
        let text = rest.strip_prefix(BEFORE_TEXT)?.strip_suffix(END)?;
        if !text.iter().all(|byte| *byte == b'.') {
            return None;
        }
        Some(Self {
            seq: number(seq)?.checked_sub(SEQ_BASE)?,
            at_ns: number(at)?.checked_sub(AT_BASE)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes_and_is_json_of_that_length() {
        for (data_bytes, event) in [
            (128, Event { seq: 0, at_ns: 0 }),
            (
                65_536,
                Event {
                    seq: 999_999_999,
                    at_ns: 7_999_999_999_999_999,
                },
            ),
        ] {
            let data = event.encode(data_bytes);
            assert_eq!(data.len(), data_bytes);
            let value: serde_json::Value = serde_json::from_slice(&data).expect("JSON");
            assert_eq!(value.to_string().as_bytes(), data, "keys in alphabetical order");
            assert_eq!(Event::decode(&data, data_bytes), Some(event));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let data = Event { seq: 5, at_ns: 9 }.encode(128);
        for length in 0..data.len() {
            assert_eq!(Event::decode(&data[..length], 128), None);
        }
        for at in 0..data.len() {
            let mut changed = data.clone();
            changed[at] = b'#';
            assert_eq!(Event::decode(&changed, 128), None);
        }
    }
}

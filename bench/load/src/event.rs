//! The event that is measured: 128 bytes of JSON that carry a sequence number and the time of sending.
//!
//! Both numbers have a fixed width and the keys are in alphabetical order, so that the bytes are the same whether a
//! server passes the text through or parses it and writes it anew.

/// Bytes of the event's data.
pub(crate) const DATA_BYTES: usize = 128;

/// Added to what is sent, so that the number of digits never changes and a double holds the number exactly.
const AT_BASE: u64 = 1_000_000_000_000_000;
const AT_DIGITS: usize = 16;
const SEQ_BASE: u64 = 1_000_000_000;
const SEQ_DIGITS: usize = 10;

const BEFORE_AT: &[u8] = br#"42["event",{"at":"#;
const BEFORE_SEQ: &[u8] = br#","seq":"#;
const BEFORE_TEXT: &[u8] = br#","text":""#;
const END: &[u8] = br#""}]"#;

/// What comes before the data in a packet: `42["event",`.
const ENVELOPE_BYTES: usize = 11;

/// An event as the generator knows it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its place in the sequence, from 0.
    pub(crate) seq: u64,
    /// When it was due to be sent, in nanoseconds since the generator's clock began.
    pub(crate) at_ns: u64,
}

impl Event {
    /// The Engine.IO and Socket.IO packet, without a WebSocket frame.
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut packet = BEFORE_AT.to_vec();
        packet.extend((AT_BASE + self.at_ns).to_string().bytes());
        packet.extend(BEFORE_SEQ);
        packet.extend((SEQ_BASE + self.seq).to_string().bytes());
        packet.extend(BEFORE_TEXT);
        packet.resize(ENVELOPE_BYTES + DATA_BYTES - 2, b'.');
        packet.extend(END);
        packet
    }

    /// None for anything that is not exactly such a packet.
    pub(crate) fn decode(packet: &[u8]) -> Option<Self> {
        let rest = packet.strip_prefix(BEFORE_AT)?;
        let (at, rest) = rest.split_at_checked(AT_DIGITS)?;
        let (seq, rest) = rest.strip_prefix(BEFORE_SEQ)?.split_at_checked(SEQ_DIGITS)?;
        let whole =
            packet.len() == ENVELOPE_BYTES + DATA_BYTES + 1 && rest.starts_with(BEFORE_TEXT) && rest.ends_with(END);
        if !whole {
            return None;
        }
        Some(Self {
            seq: number(seq)?.checked_sub(SEQ_BASE)?,
            at_ns: number(at)?.checked_sub(AT_BASE)?,
        })
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |value, digit| {
        digit.is_ascii_digit().then(|| value * 10 + u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes_and_has_128_bytes_of_data() {
        for event in [
            Event { seq: 0, at_ns: 0 },
            Event {
                seq: 999_999_999,
                at_ns: 7_999_999_999_999_999,
            },
        ] {
            let packet = event.encode();
            let text = std::str::from_utf8(&packet).expect("text");
            let array: serde_json::Value = serde_json::from_str(&text[2..]).expect("JSON");
            assert_eq!(array[0], "event");
            assert_eq!(array[1].to_string().len(), DATA_BYTES);
            assert_eq!(format!("42{array}"), text, "keys in alphabetical order");
            assert_eq!(Event::decode(&packet), Some(event));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let packet = Event { seq: 5, at_ns: 9 }.encode();
        for length in 0..packet.len() {
            assert_eq!(Event::decode(&packet[..length]), None);
        }
        let mut longer = packet.clone();
        longer.insert(100, b'.');
        assert_eq!(Event::decode(&longer), None);
        let mut letters = packet;
        letters[20] = b'x';
        assert_eq!(Event::decode(&letters), None);
    }
}

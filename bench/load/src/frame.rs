//! WebSocket frames from a server to its client (RFC 6455, section 5.2), found without being copied.

use std::ops::Range;

use anyhow::{Result, bail};

/// Where a frame lies in a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: Opcode,
    pub(crate) payload: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Text,
    Ping,
    Pong,
    Close,
}

/// The frame that begins at `at`; none while it is incomplete.
///
/// # Errors
/// For what no measured server sends: fragments, binary messages, masked frames, extensions.
pub(crate) fn next_frame(bytes: &[u8], at: usize) -> Result<Option<Frame>> {
    let Some(&[first, second]) = bytes.get(at..at + 2) else {
        return Ok(None);
    };
    let opcode = match first {
        0x81 => Opcode::Text,
        0x88 => Opcode::Close,
        0x89 => Opcode::Ping,
        0x8a => Opcode::Pong,
        other => bail!("a frame begins with {other:#04x}"),
    };
    let (payload_at, payload_bytes) = match second {
        0..=125 => (at + 2, usize::from(second)),
        126 => {
            let Some(&[high, low]) = bytes.get(at + 2..at + 4) else {
                return Ok(None);
            };
            (at + 4, usize::from(u16::from_be_bytes([high, low])))
        }
        127 => {
            let Some(length) = bytes
                .get(at + 2..at + 10)
                .and_then(|b| b.try_into().ok())
                .map(u64::from_be_bytes)
            else {
                return Ok(None);
            };
            let Ok(length @ 0..=0x00ff_ffff) = usize::try_from(length) else {
                bail!("a frame of {length} bytes");
            };
            (at + 10, length)
        }
        _ => bail!("a masked frame from a server"),
    };
    let payload = payload_at..payload_at + payload_bytes;
    Ok((payload.end <= bytes.len()).then_some(Frame { opcode, payload }))
}

/// A masked frame, as a client must send it. The key is fixed: no proxy is to be fooled on the loopback.
pub(crate) fn client_frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x5a, 0xc3, 0x96, 0x0f];
    let first = match opcode {
        Opcode::Text => 0x81,
        Opcode::Close => 0x88,
        Opcode::Ping => 0x89,
        Opcode::Pong => 0x8a,
    };
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(length) if length < 126 => frame.push(0x80 | length as u8),
        Ok(length) => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(b, k)| b ^ k));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x81];
        if payload.len() < 126 {
            frame.push(payload.len() as u8);
        } else if let Ok(length) = u16::try_from(payload.len()) {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        } else {
            frame.push(127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
        frame.extend(payload);
        frame
    }

    #[test]
    fn coalesced_frames_are_found_under_every_cut() {
        let payloads = [0, 1, 125, 126, 300, 70_000].map(|length| vec![b'x'; length]);
        let bytes: Vec<u8> = payloads.iter().flat_map(|p| server_frame(p)).collect();
        for cut in (0..bytes.len()).filter(|cut| *cut < 800 || cut % 997 == 0) {
            let mut at = 0;
            let mut found = 0;
            while let Some(frame) = next_frame(&bytes[..cut], at).expect("valid") {
                assert_eq!(bytes[frame.payload.clone()], payloads[found]);
                at = frame.payload.end;
                found += 1;
            }
            let whole = payloads
                .iter()
                .scan(0, |end, p| {
                    *end += server_frame(p).len();
                    Some(*end)
                })
                .filter(|end| *end <= cut)
                .count();
            assert_eq!(found, whole);
        }
    }

    #[test]
    fn what_no_server_sends_is_an_error() {
        for bytes in [[0x01, 0x00], [0x82, 0x00], [0xc1, 0x00], [0x81, 0x80]] {
            assert!(next_frame(&bytes, 0).is_err());
        }
    }

    #[test]
    fn a_client_frame_is_masked() {
        assert_eq!(
            client_frame(Opcode::Text, b"3"),
            [0x81, 0x81, 0x5a, 0xc3, 0x96, 0x0f, b'3' ^ 0x5a]
        );
    }
}

//! Frames of a server.

use bytes::Bytes;

use super::header::write_header;
use super::{CONTROL_BYTES_MAX, Opcode};

/// The longest header of a frame that isn't masked.
const HEADER_BYTES_MAX: usize = 10;

/// A whole frame, its payload the `parts` one after another, in one allocation that every connection can share.
///
/// Text has to be UTF-8. A control frame's payload ends after 125 bytes, since no more is allowed (RFC 6455, section
/// 5.5); for a close there is [`close_frame`].
///
/// ```
/// use tidings_protocol::websocket::{Opcode, frame};
///
/// assert_eq!(frame(Opcode::Ping, &[]), &[0x89, 0][..]);
/// ```
pub fn frame(opcode: Opcode, parts: &[&[u8]]) -> Bytes {
    let mut payload_bytes = parts.iter().map(|part| part.len()).sum();
    if opcode.is_control() {
        payload_bytes = CONTROL_BYTES_MAX.min(payload_bytes);
    }
    let header_bytes = match payload_bytes {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => HEADER_BYTES_MAX,
    };
    // Exactly, so that `Bytes` takes the vector over as it is.
    let mut out = Vec::with_capacity(header_bytes + payload_bytes);
    write_header(&mut out, opcode, payload_bytes);
    let mut rest = payload_bytes;
    for part in parts {
        let part = &part[..part.len().min(rest)];
        out.extend_from_slice(part);
        rest -= part.len();
    }
    out.into()
}

/// Appends a whole frame to `out`. As [`frame`], for one connection.
///
/// ```
/// use tidings_protocol::websocket::{Opcode, write_frame};
///
/// let mut out = Vec::new();
/// write_frame(&mut out, Opcode::Pong, b"42");
/// assert_eq!(out, b"\x8a\x0242");
/// ```
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let payload = if opcode.is_control() {
        &payload[..payload.len().min(CONTROL_BYTES_MAX)]
    } else {
        payload
    };
    out.reserve(HEADER_BYTES_MAX + payload.len());
    write_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// A close frame. What doesn't fit of `reason` is cut off, at the end of a character; with no code there is no place for a reason.
/// Codes that may be sent: RFC 6455, section 7.4.
///
/// ```
/// use tidings_protocol::websocket::close_frame;
///
/// assert_eq!(close_frame(Some(1000), "bye"), &b"\x88\x05\x03\xe8bye"[..]);
/// assert_eq!(close_frame(None, ""), &b"\x88\x00"[..]);
/// ```
pub fn close_frame(code: Option<u16>, reason: &str) -> Bytes {
    match code {
        Some(code) => {
            let code = code.to_be_bytes();
            let mut end = reason.len().min(CONTROL_BYTES_MAX - code.len());
            while !reason.is_char_boundary(end) {
                end -= 1;
            }
            frame(Opcode::Close, &[&code, &reason.as_bytes()[..end]])
        }
        None => frame(Opcode::Close, &[]),
    }
}

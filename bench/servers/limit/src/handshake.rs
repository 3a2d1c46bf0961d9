//! The opening handshake and the frames, as little of RFC 6455 as the load generator needs.

use base64::Engine;
use sha1::{Digest, Sha1};

/// RFC 6455, section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request for a WebSocket, as far as it matters here.
pub(crate) struct Upgrade {
    pub(crate) path: String,
    /// The 101.
    pub(crate) answer: Vec<u8>,
}

/// None while the request head is incomplete.
pub(crate) fn upgrade(head: &[u8]) -> Option<Upgrade> {
    if !head.ends_with(b"\r\n\r\n") {
        return None;
    }
    let text = std::str::from_utf8(head).ok()?;
    let path = text.split(' ').nth(1)?.to_owned();
    let key = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    })?;
    let hash = Sha1::new().chain_update(key.as_bytes()).chain_update(GUID).finalize();
    let accept = base64::engine::general_purpose::STANDARD.encode(hash);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes();
    Some(Upgrade { path, answer })
}

/// An unmasked text frame.
pub(crate) fn server_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u16::try_from(payload.len()) {
        Ok(length) if length < 126 => frame.push(length as u8),
        Ok(length) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => {
            frame.push(127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// The first client frame of `bytes`, unmasked in place, and its whole length; none while it is incomplete.
pub(crate) fn client_frame(bytes: &mut [u8]) -> Option<(&[u8], usize)> {
    let (mask_at, payload_bytes) = match bytes.get(1)? & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        127 => (
            10,
            u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?).try_into().ok()?,
        ),
        short => (2, usize::from(short)),
    };
    let payload_at = mask_at + 4;
    let length = payload_at + payload_bytes;
    if bytes.len() < length {
        return None;
    }
    let mask = [
        bytes[mask_at],
        bytes[mask_at + 1],
        bytes[mask_at + 2],
        bytes[mask_at + 3],
    ];
    let payload = &mut bytes[payload_at..length];
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    Some((payload, length))
}

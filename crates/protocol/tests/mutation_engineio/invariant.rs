//! What holds for any text, used by the mutation test and by the cargo-fuzz target.

use tidings_protocol::engineio::{PayloadPacket, decode, decode_packet, decode_payload, encode_binary};

/// Panics unless `text` is refused, or reads again as the same after it was written again.
pub(crate) fn check(text: &str) {
    let mut body = String::new();
    let mut packets = Vec::new();
    for packet in decode_payload(text) {
        let Ok(packet) = packet else {
            break;
        };
        if !packets.is_empty() {
            body.push('\u{1e}');
        }
        match &packet {
            PayloadPacket::Text(kind, data) => {
                body.push(char::from(kind.as_byte()));
                body.push_str(data);
            }
            PayloadPacket::Binary(bytes) => body.push_str(&encode_binary(bytes)),
        }
        packets.push(packet);
    }
    if !packets.is_empty() {
        let again: Result<Vec<_>, _> = decode_payload(&body).collect();
        assert_eq!(again.as_ref(), Ok(&packets), "{text:?} was written as {body:?}");
    }
    match decode(text) {
        Ok((kind, data)) => assert_eq!(decode_packet(text), Ok(PayloadPacket::Text(kind, data))),
        Err(_) => assert!(text.starts_with('b') || decode_packet(text).is_err()),
    }
}

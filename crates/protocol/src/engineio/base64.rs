//! Base64 as the peers of Engine.IO write and read it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// `b` and the bytes.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(1 + bytes.len().div_ceil(3) * 4);
    text.push('b');
    STANDARD.encode_string(bytes, &mut text);
    text
}

/// The bytes of any text whatever, as `Buffer.from(text, "base64")` of Node has them.
pub(super) fn decode(text: &str) -> Vec<u8> {
    // Nearly every client sends what the standard says, and that is read at full speed.
    STANDARD.decode(text).unwrap_or_else(|_| decode_lenient(text))
}

/// Both alphabets; every other character is skipped; `=` ends it; a last digit alone is dropped.
fn decode_lenient(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut bits_held) = (0_u32, 0_u32);
    for digit in text.bytes().take_while(|&byte| byte != b'=').filter_map(digit) {
        bits = bits << 6 | u32::from(digit);
        bits_held += 6;
        if bits_held >= 8 {
            bits_held -= 8;
            bytes.push((bits >> bits_held) as u8);
        }
    }
    bytes
}

/// The six bits of a digit.
const fn digit(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

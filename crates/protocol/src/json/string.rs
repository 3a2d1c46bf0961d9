//! Text as a JSON string.

use super::reader::plain_end;

/// Appends a text as a JSON string, with its quotes. Quotes, backslashes and the control characters below U+0020 are
/// escaped, all else stands as it is.
///
/// ```
/// let mut out = Vec::new();
/// tidings_protocol::json::write_string(&mut out, "a \"b\"\n\u{1e}");
/// assert_eq!(out, br#""a \"b\"\n\u001e""#);
/// ```
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        let end = plain_end(bytes, at);
        out.extend_from_slice(&bytes[at..end]);
        let Some(&byte) = bytes.get(end) else {
            break;
        };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(br"\n"),
            control => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let (high, low) = (control >> 4, control & 15);
                out.extend_from_slice(br"\u00");
                out.extend_from_slice(&[HEX[usize::from(high)], HEX[usize::from(low)]]);
            }
        }
        at = end + 1;
    }
    out.push(b'"');
}

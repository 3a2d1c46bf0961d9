//! What is published: a JSON value that follows from its number, so that a reader can tell whether it came unchanged.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::record::ContentId;

/// The event's name.
pub(super) const EVENT: &str = "note";

/// Characters that escaping, framing and line-wise formats trip over.
const AWKWARD: &str = "line\nfeed\r\n\tquote\" back\\slash \u{1e} \u{2028} \u{7f} é 漢 🛰 data: id: 1-[";

/// The content with this number: small for the most part, now and then long, awkward or with bytes.
pub(super) fn content(id: ContentId) -> Value {
    let mut object = Map::new();
    object.insert("p".to_owned(), json!(id.publisher));
    object.insert("n".to_owned(), json!(id.number));
    let mix = mixed(u64::from(id.publisher) << 32 | u64::from(id.number));
    let extra = match mix % 64 {
        0..8 => json!(AWKWARD),
        8..12 => json!([null, true, -0.5, {"deep": [[]]}, 9_007_199_254_740_991_u64]),
        12..16 => json!({ "$bytes": STANDARD.encode(bytes(mix)) }),
        16 => json!("x".repeat(20_000)),
        _ => json!("x".repeat((mix >> 8) as usize % 200)),
    };
    object.insert("x".to_owned(), extra);
    Value::Object(object)
}

/// Which content this is, if it is one of ours and unchanged.
///
/// # Errors
/// What is the matter with it.
pub(super) fn identify(value: &Value) -> Result<ContentId, String> {
    let number = |key| value.get(key).and_then(Value::as_u64);
    let (Some(publisher), Some(number)) = (number("p"), number("n")) else {
        return Err(format!("data that nobody published: {}", excerpt(value)));
    };
    let id = match (u16::try_from(publisher), u32::try_from(number)) {
        (Ok(publisher), Ok(number)) => ContentId { publisher, number },
        _ => return Err(format!("data that nobody published: {}", excerpt(value))),
    };
    if *value != content(id) {
        return Err(format!("changed data of {id}: {}", excerpt(value)));
    }
    Ok(id)
}

/// The beginning of a value, for a message.
pub(super) fn excerpt(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn bytes(mix: u64) -> Vec<u8> {
    mix.to_le_bytes().repeat(1 + (mix >> 16) as usize % 16)
}

/// Spreads a number's bits (the finaliser of SplitMix64).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_unchanged_is_known_and_what_was_changed_is_not() {
        for number in 0..500 {
            let id = ContentId { publisher: 3, number };
            let mut value = content(id);
            let again: Value = serde_json::from_str(&value.to_string()).unwrap();
            assert_eq!(identify(&again), Ok(id));
            value["x"] = json!("other");
            assert!(identify(&value).unwrap_err().starts_with("changed"));
        }
        assert!(identify(&json!({"n": 1})).unwrap_err().contains("nobody"));
        assert!(identify(&json!({"p": 70_000, "n": 1})).unwrap_err().contains("nobody"));
    }
}

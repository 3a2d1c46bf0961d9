//! What holds for any text, used by the mutation test and by the cargo-fuzz target.

use serde_json::value::RawValue;
use tidings_protocol::json::{Error, arguments_from_data, data_from_arguments};
use tidings_protocol::socketio::{ack_arguments, check_placeholders, count_arguments};

const ATTACHMENTS_MAX: usize = 10;

/// Panics unless `text`, as data and as arguments, is refused or becomes what it should.
pub(crate) fn check(text: &str) {
    data(text);
    arguments(text);
}

fn data(text: &str) {
    let is_json = serde_json::from_str::<&RawValue>(text).is_ok();
    let (arguments, attachments) = match arguments_from_data(text, ATTACHMENTS_MAX) {
        Ok(read) => read,
        Err(Error::Json { .. }) => return assert!(!is_json, "{text:?}"),
        // These may be met before the fault.
        Err(Error::Base64 { .. } | Error::TooManyAttachments { .. }) => return,
        Err(Error::Placeholder) => return assert!(is_json, "{text:?}"),
    };
    assert!(is_json, "{text:?}");
    assert_eq!(count_arguments(&arguments), 1, "{text:?}");
    let trimmed = text.trim_matches([' ', '\t', '\n', '\r']);
    if attachments.is_empty() {
        assert_eq!(arguments, trimmed, "{text:?}");
    } else {
        assert!(attachments.len() <= ATTACHMENTS_MAX, "{text:?}");
        assert_eq!(check_placeholders(&arguments, attachments.len()), Ok(()), "{text:?}");
        let placeholders = arguments.matches("_placeholder").count() - text.matches("_placeholder").count();
        assert_eq!(placeholders, attachments.len(), "{text:?} was read as {arguments:?}");
    }
    // Back again it is the same but for how the bytes were spelt, and so it stays.
    let back = data_from_arguments(&arguments, &attachments).into_owned();
    let again = arguments_from_data(&back, ATTACHMENTS_MAX);
    assert_eq!(again, Ok((arguments, attachments)), "{text:?} was written as {back:?}");
    if let (Ok(before), Ok(after)) = (value(text), value(&back)) {
        assert_eq!(before, after, "{text:?}");
    }
}

/// Any text is a list of arguments or is not.
fn arguments(text: &str) {
    let attachments = [bytes::Bytes::from_static(b"a"), bytes::Bytes::from_static(b"bc")];
    let array = format!("[{text}]");
    let Ok(list) = ack_arguments(&array) else {
        let is_empty = text.trim_matches([' ', '\t', '\n', '\r']).is_empty();
        assert!(
            is_empty || data_from_arguments(text, &attachments) == "null",
            "{text:?}"
        );
        return;
    };
    let plain = data_from_arguments(list, &[]);
    match count_arguments(list) {
        0 => assert_eq!(plain, "null"),
        1 => assert_eq!(plain, list),
        _ => assert_eq!(plain, format!("[{list}]")),
    }
    let data = data_from_arguments(list, &attachments);
    assert!(
        serde_json::from_str::<&RawValue>(&data).is_ok(),
        "{text:?} gave {data:?}"
    );
    // Nothing is left that would stand for one of them.
    assert_eq!(data_from_arguments(&data, &attachments), data, "{text:?}");
    if !text.contains("placeholder") && !text.contains('\\') {
        assert_eq!(data, plain, "{text:?}");
    }
}

fn value(text: &str) -> serde_json::Result<serde_json::Value> {
    serde_json::from_str(text)
}

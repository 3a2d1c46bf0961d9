//! What holds for any texts, used by the property test and by the cargo-fuzz target.

use tidings_protocol::sse::{write_cursor, write_event, write_retry};

use crate::client::{Message, read};

/// Panics unless a client reads from the stream just what was written to it, between two events that are as before.
pub(crate) fn check(id: Option<&str>, name: Option<&str>, data: &str) {
    let mut stream = Vec::new();
    write_retry(&mut stream, 3000);
    write_cursor(&mut stream, "before");
    write_event(&mut stream, None, None, "first");
    write_event(&mut stream, id, name, data);
    write_event(&mut stream, None, None, "last");
    write_cursor(&mut stream, "after");
    let client = read(&stream);

    let one_line = |text: &str| text.replace(['\r', '\n', '\0'], "");
    let id = id.map_or("before".to_owned(), one_line);
    let name = name.map(one_line).filter(|name| !name.is_empty());
    let message = |name: &str, data: &str, id: &str| Message {
        name: name.to_owned(),
        data: data.to_owned(),
        last_event_id: id.to_owned(),
    };
    let data = data.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "\u{fffd}");
    let expect = [
        message("message", "first", "before"),
        message(name.as_deref().unwrap_or("message"), &data, &id),
        message("message", "last", &id),
    ];
    assert_eq!(client.messages, expect);
    assert_eq!(client.last_event_id, "after");
    assert_eq!(client.retry_ms, Some(3000));
}

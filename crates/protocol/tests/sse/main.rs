//! Server-sent events, read back by a client that does what the HTML standard says.
#![allow(clippy::unwrap_used, missing_docs)]

mod client;
mod invariant;

use client::read;
use proptest::prelude::*;
use tidings_protocol::json::Event;
use tidings_protocol::sse::{write_cursor, write_event, write_message, write_retry};

fn written(id: Option<&str>, name: Option<&str>, data: &str) -> String {
    let mut out = Vec::new();
    write_event(&mut out, id, name, data);
    String::from_utf8(out).unwrap()
}

#[test]
fn events_are_written_line_by_line() {
    for (id, name, data, expect) in [
        (None, None, "", "data:\n\n"),
        (None, None, "x", "data:x\n\n"),
        (Some("a-1"), None, "{}", "id:a-1\ndata:{}\n\n"),
        (Some("a-1"), Some("n"), "{}", "event:n\nid:a-1\ndata:{}\n\n"),
        (None, None, " x", "data:  x\n\n"),
        (None, None, "\n x", "data:\ndata:  x\n\n"),
        (None, None, "a\nb", "data:a\ndata:b\n\n"),
        (None, None, "a\rb", "data:a\ndata:b\n\n"),
        (None, None, "a\r\nb", "data:a\ndata:b\n\n"),
        (None, None, "a\n\rb", "data:a\ndata:\ndata:b\n\n"),
        (None, None, "a\r\r\nb", "data:a\ndata:\ndata:b\n\n"),
        (None, None, "a\n", "data:a\ndata:\n\n"),
        (None, None, "\0a\0", "data:\u{fffd}a\u{fffd}\n\n"),
        (
            None,
            None,
            "x\n\nevent: gap\ndata: y",
            "data:x\ndata:\ndata:event: gap\ndata:data: y\n\n",
        ),
        (
            Some("1\n\ndata:evil"),
            Some("n\r\nid:2\0"),
            "x",
            "event:nid:2\nid:1data:evil\ndata:x\n\n",
        ),
        (Some("\n 1"), Some(" n"), "x", "event:  n\nid:  1\ndata:x\n\n"),
        // U+2028 and U+0085 end no line.
        (None, None, "a\u{2028}b\u{85}c", "data:a\u{2028}b\u{85}c\n\n"),
    ] {
        assert_eq!(written(id, name, data), expect);
        invariant::check(id, name, data);
    }
}

#[test]
fn a_cursor_moves_the_id_and_fires_nothing() {
    let mut out = Vec::new();
    write_retry(&mut out, 0);
    write_cursor(&mut out, "k3v9x1qa-0");
    assert_eq!(out, b"retry:0\n\nid:k3v9x1qa-0\n\n");
    let client = read(&out);
    assert!(client.messages.is_empty());
    assert_eq!(client.last_event_id, "k3v9x1qa-0");
    assert_eq!(client.retry_ms, Some(0));
}

#[test]
fn a_message_is_the_event_or_its_data_alone() {
    let event = Event {
        id: Some("k3v9x1qa-7"),
        channel: "room:7",
        event: "say\nit",
        data: "[1,\r\n\"a\"]",
        time: 5,
        user: Some("ann"),
    };
    for (named, raw, name, data) in [
        (
            false,
            false,
            "message",
            "{\"channel\":\"room:7\",\"event\":\"say\\nit\",\"data\":[1,\n\"a\"],\"time\":5,\"user\":\"ann\"}",
        ),
        (false, true, "message", "[1,\n\"a\"]"),
        (true, true, "sayit", "[1,\n\"a\"]"),
    ] {
        let mut out = Vec::new();
        write_message(&mut out, &event, named, raw);
        let [message] = &read(&out).messages[..] else {
            panic!("one message");
        };
        assert_eq!((&*message.name, &*message.data), (name, data));
        assert_eq!(message.last_event_id, "k3v9x1qa-7");
    }
    let mut out = Vec::new();
    let event = Event {
        data: "1",
        id: None,
        user: None,
        ..event
    };
    write_message(&mut out, &event, false, false);
    assert_eq!(
        out,
        b"data:{\"channel\":\"room:7\",\"event\":\"say\\nit\",\"data\":1,\"time\":5}\n\n"
    );
}

/// Texts in which what matters here is likely.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\r\n\0 :a]{0,12}",
        "(data|id|event|retry|:|: | |\r|\n|\r\n|\0|\u{feff}|é|\u{2028}){0,12}",
    ]
}

proptest! {
    #[test]
    fn a_client_reads_what_was_written(
        id in proptest::option::of(text()),
        name in proptest::option::of(text()),
        data in text(),
    ) {
        invariant::check(id.as_deref(), name.as_deref(), &data);
    }
}

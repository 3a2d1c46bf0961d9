//! Events as JSON, and data to arguments and back.
#![allow(clippy::unwrap_used, missing_docs)]

mod invariant;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use tidings_protocol::json::{Error, Event, arguments_from_data, data_from_arguments, write_string};

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn an_event_has_its_fields_in_order() {
    let event = Event {
        id: Some("k3v9x1qa-42"),
        channel: "room:7",
        event: "say \"it\"",
        data: r#"{"n":1.50}"#,
        time: 1_700_000_000_000,
        user: Some("ann\u{1}"),
    };
    let rest = r#""channel":"room:7","event":"say \"it\"","data":{"n":1.50},"time":1700000000000"#;
    let user = r#","user":"ann\u0001""#;
    let id = r#""id":"k3v9x1qa-42","#;
    assert_eq!(text(|out| event.write_fields(out, true)), format!("{id}{rest}{user}"));
    assert_eq!(text(|out| event.write_fields(out, false)), format!("{rest}{user}"));
    assert_eq!(
        text(|out| event.ws_event(out)),
        format!(r#"{{"type":"event",{id}{rest}{user}}}"#)
    );
    assert_eq!(text(|out| event.poll_event(out)), format!("{{{id}{rest}{user}}}"));
    assert_eq!(text(|out| event.sse_data(out)), format!("{{{rest}{user}}}"));
    let event = Event {
        id: None,
        user: None,
        ..event
    };
    assert_eq!(text(|out| event.ws_event(out)), format!(r#"{{"type":"event",{rest}}}"#));
    assert_eq!(text(|out| event.poll_event(out)), format!("{{{rest}}}"));
}

const PLACEHOLDER_0: &str = r#"{"_placeholder":true,"num":0}"#;
const PLACEHOLDER_1: &str = r#"{"_placeholder":true,"num":1}"#;

#[test]
fn arguments_become_data() {
    for (arguments, expect) in [
        ("", "null"),
        (" \r\n", "null"),
        ("null", "null"),
        ("1", "1"),
        ("  [1, 2]\n", "[1, 2]"),
        ("1,2", "[1,2]"),
        ("1\r\n, {\"a\":\n2}", "[1\r\n, {\"a\":\n2}]"),
        (r#"1.10e+05,"\ud800","é""#, r#"[1.10e+05,"\ud800","é"]"#),
        (r#"{"_placeholder":true,"num":0}"#, r#"{"$bytes":"YWJj"}"#),
        (
            r#"{ "num" : 1 , "_placeholder" : true },1,{"_placeholder":true,"num":0}"#,
            r#"[{"$bytes":"/+8="},1,{"$bytes":"YWJj"}]"#,
        ),
        (
            r#"[{"a":[{"_placeholder":true,"num":0}]}]"#,
            r#"[{"a":[{"$bytes":"YWJj"}]}]"#,
        ),
        // As Socket.IO's clients take it: the whole object, whatever else is in it.
        (
            r#"{"x":{"num":[]},"_placeholder":true,"num":0}"#,
            r#"{"$bytes":"YWJj"}"#,
        ),
        (
            r#"[{"x":[{"_placeholder":true,"num":1}],"_placeholder":true,"num":0}]"#,
            r#"[{"$bytes":"YWJj"}]"#,
        ),
        (r#"{"\u005fplaceholder":true,"n\u0075m":0}"#, r#"{"$bytes":"YWJj"}"#),
        (
            r#"{"_placeholder":false,"_placeholder":true,"num":5,"num":0}"#,
            r#"{"$bytes":"YWJj"}"#,
        ),
        // These stand for nothing.
        (r#"{"_placeholder":true,"num":2}"#, r#"{"_placeholder":true,"num":2}"#),
        (r#"{"_placeholder":1,"num":0}"#, r#"{"_placeholder":1,"num":0}"#),
        (
            r#"{"_placeholder":[true],"num":0}"#,
            r#"{"_placeholder":[true],"num":0}"#,
        ),
        (
            r#"{"_placeholder":true,"num":[0]}"#,
            r#"{"_placeholder":true,"num":[0]}"#,
        ),
        (
            r#"{"_placeholder":true,"x":{"num":0}}"#,
            r#"{"_placeholder":true,"x":{"num":0}}"#,
        ),
        (r#"{"$bytes":"YWJj"}"#, r#"{"$bytes":"YWJj"}"#),
        // No list at all.
        ("1,", "null"),
        ("1 2", "null"),
        ("{", "null"),
    ] {
        let data = data_from_arguments(arguments, &[bytes("abc"), Bytes::from_static(b"\xff\xef")]);
        assert_eq!(data, expect, "{arguments}");
    }
    // Without attachments it is data like any other.
    assert_eq!(data_from_arguments(PLACEHOLDER_0, &[]), PLACEHOLDER_0);
}

#[test]
fn an_attachment_named_again_and_again_does_not_fill_the_memory() {
    let large = Bytes::from(vec![b'x'; 300_000]);
    let small = bytes("s");
    let list = format!(
        "{}{PLACEHOLDER_1},{PLACEHOLDER_1}",
        format!("{PLACEHOLDER_0},").repeat(1000)
    );
    let data = data_from_arguments(&list, &[large, small]);
    assert!(data.len() < 2_000_000, "{}", data.len());
    let values: Vec<Value> = serde_json::from_str(&data).unwrap();
    assert_eq!(values.len(), 1002);
    let is_bytes = |value: &Value| value.get("$bytes").is_some();
    assert_eq!(values.iter().filter(|value| is_bytes(value)).count(), 4 + 2);
    assert!(is_bytes(&values[0]) && is_bytes(&values[1000]) && is_bytes(&values[1001]));
    // Neither do many names for none.
    let list = format!("{PLACEHOLDER_0},{PLACEHOLDER_0}");
    let empty = data_from_arguments(&list, &[Bytes::new()]);
    assert_eq!(empty, r#"[{"$bytes":""},{"$bytes":""}]"#);
}

#[test]
fn data_becomes_arguments() {
    for (data, arguments, attachments) in [
        ("null", "null", &[][..]),
        (" 1.0 ", "1.0", &[]),
        ("-0", "-0", &[]),
        (
            r#"[123456789012345678901234567890.10,1E400,"\ud800", {"b":1,"a":2}]"#,
            r#"[123456789012345678901234567890.10,1E400,"\ud800", {"b":1,"a":2}]"#,
            &[],
        ),
        (r#"{"$bytes":"YWJj"}"#, PLACEHOLDER_0, &["abc"]),
        ("\n{ \"$bytes\"\t: \"YWJj\" } ", PLACEHOLDER_0, &["abc"]),
        (r#"{"\u0024bytes":"YWJ\u006a"}"#, PLACEHOLDER_0, &["abc"]),
        (r#"{"$bytes":""}"#, PLACEHOLDER_0, &[""]),
        (
            r#"[{"a":{"$bytes":"YQ=="}},{"$bytes":"Pz8\/"}, 1.50]"#,
            r#"[{"a":{"_placeholder":true,"num":0}},{"_placeholder":true,"num":1}, 1.50]"#,
            &["a", "???"],
        ),
        // None of these is bytes.
        (r#""$bytes""#, r#""$bytes""#, &[]),
        (r#"["$bytes","YQ=="]"#, r#"["$bytes","YQ=="]"#, &[]),
        (r#"{"$bytes":1}"#, r#"{"$bytes":1}"#, &[]),
        (r#"{"$bytes":["YQ=="]}"#, r#"{"$bytes":["YQ=="]}"#, &[]),
        (r#"{"$bytes":{}}"#, r#"{"$bytes":{}}"#, &[]),
        (r#"{"$bytes":"YQ==","x":1}"#, r#"{"$bytes":"YQ==","x":1}"#, &[]),
        (r#"{"x":1,"$bytes":"YQ=="}"#, r#"{"x":1,"$bytes":"YQ=="}"#, &[]),
        (r#"{"x":{},"$bytes":"YQ=="}"#, r#"{"x":{},"$bytes":"YQ=="}"#, &[]),
        (
            r#"{"$bytes":"YQ==","$bytes":"Yg=="}"#,
            r#"{"$bytes":"YQ==","$bytes":"Yg=="}"#,
            &[],
        ),
        (r#"{"$Bytes":"YQ=="}"#, r#"{"$Bytes":"YQ=="}"#, &[]),
        // Without bytes, no packet of Socket.IO has attachments that this could stand for.
        (PLACEHOLDER_0, PLACEHOLDER_0, &[]),
    ] {
        let (text, bytes) = arguments_from_data(data, 10).unwrap_or_else(|error| panic!("{data}: {error}"));
        assert_eq!(text, arguments, "{data}");
        assert_eq!(bytes, attachments, "{data}");
    }
}

#[test]
fn what_is_no_data_is_an_error() {
    for (data, expect, code) in [
        ("", Error::Json { at: 0 }, "invalid_json"),
        (" ", Error::Json { at: 1 }, "invalid_json"),
        ("{", Error::Json { at: 1 }, "invalid_json"),
        ("1 2", Error::Json { at: 2 }, "invalid_json"),
        ("NaN", Error::Json { at: 0 }, "invalid_json"),
        (r#"{"$bytes":"YQ=="]"#, Error::Json { at: 16 }, "invalid_json"),
        (r#"{"$bytes":"YQ"}"#, Error::Base64 { at: 0 }, "bad_request"),
        (r#"[1, {"$bytes":"YQ== "}]"#, Error::Base64 { at: 4 }, "bad_request"),
        (r#"{"$bytes":"-_-_"}"#, Error::Base64 { at: 0 }, "bad_request"),
        (r#"{"$bytes":"\ud800"}"#, Error::Base64 { at: 0 }, "bad_request"),
        (r#"{"$bytes":"YR=="}"#, Error::Base64 { at: 0 }, "bad_request"),
        (
            r#"[{"$bytes":""},{"$bytes":""},{"$bytes":""}]"#,
            Error::TooManyAttachments { max: 2 },
            "bad_request",
        ),
        (
            r#"[{"$bytes":""},{"_placeholder":true,"num":0}]"#,
            Error::Placeholder,
            "bad_request",
        ),
        (
            r#"[{"\u005fplaceholder":true},{"$bytes":""}]"#,
            Error::Placeholder,
            "bad_request",
        ),
        (
            r#"{"a":{"x":[],"_placeholder": true,"y":{"$bytes":""}}}"#,
            Error::Placeholder,
            "bad_request",
        ),
    ] {
        let error = arguments_from_data(data, 2).unwrap_err();
        assert_eq!(error, expect, "{data}");
        assert_eq!(error.code(), code, "{data}");
    }
    // Two are not too many, and these are no placeholders.
    for data in [
        r#"[{"$bytes":""},{"$bytes":""}]"#,
        r#"[{"$bytes":""},{"_placeholder":false}]"#,
        r#"[{"$bytes":""},{"_placeholder":[true]},{"_placeholder":{}},true]"#,
        r#"[{"$bytes":""},{"x":"_placeholder","y":true}]"#,
    ] {
        assert!(arguments_from_data(data, 2).is_ok(), "{data}");
    }
}

#[test]
fn depth_has_a_limit() {
    for (open, inside, close, depth) in [
        ("[", "1", "]", 512),
        ("{\"\":", "1", "}", 512),
        ("[[{\"\":", "1", "}]]", 170),
        ("{\"num\":[", "{\"$bytes\":\"YQ==\"}", "]}", 255),
    ] {
        let of = |depth| format!("{}{inside}{}", open.repeat(depth), close.repeat(depth));
        for depth in [depth + 1, 300_000] {
            assert_eq!(arguments_from_data(&of(depth), 1).unwrap_err().code(), "invalid_json");
        }
        // What an application emits may be deeper.
        assert_eq!(data_from_arguments(&of(300_000), &[bytes("a")]), of(300_000));
        let data = of(depth);
        let (arguments, attachments) = arguments_from_data(&data, 1).unwrap();
        assert_eq!(data_from_arguments(&arguments, &attachments), data);
        assert_eq!(data_from_arguments(&data, &[bytes("a")]), data);
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| json!({ "$bytes": base64(&bytes) })),
    ];
    let key = || prop_oneof![Just("$bytes".to_owned()), Just("num".to_owned()), any::<String>()];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(key(), inner, 2..5).prop_map(Value::from_iter),
        ]
    })
}

/// The six bits of each digit by hand, so that the crate's own encoder has a second opinion.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = (word >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit <= chunk.len() {
                char::from(DIGITS[index])
            } else {
                '='
            });
        }
    }
    text
}

fn count_bytes(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(count_bytes).sum(),
        Value::Object(map) if map.len() == 1 && map.get("$bytes").is_some_and(Value::is_string) => 1,
        Value::Object(map) => map.values().map(count_bytes).sum(),
        _ => 0,
    }
}

proptest! {
    #[test]
    fn data_comes_back_from_arguments_as_it_was(value in value()) {
        let data = value.to_string();
        let (arguments, attachments) = arguments_from_data(&data, usize::MAX).unwrap();
        prop_assert_eq!(attachments.len(), count_bytes(&value));
        prop_assert_eq!(data_from_arguments(&arguments, &attachments), &*data);
        invariant::check(&data);
    }

    #[test]
    fn several_arguments_are_an_array(values in proptest::collection::vec(value(), 2..4)) {
        let whole = Value::from(values).to_string();
        let list = &whole[1..whole.len() - 1];
        prop_assert_eq!(data_from_arguments(list, &[]), &*whole);
        let (array, attachments) = arguments_from_data(&whole, usize::MAX).unwrap();
        let list = &array[1..array.len() - 1];
        prop_assert_eq!(data_from_arguments(list, &attachments), &*whole);
    }

    #[test]
    fn any_text_is_a_string_that_reads_back(text in any::<String>()) {
        let mut out = Vec::new();
        write_string(&mut out, &text);
        prop_assert!(out.iter().all(|byte| *byte >= 0x20));
        prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }

    #[test]
    fn an_event_reads_back(
        id in proptest::option::of(any::<String>()),
        channel in any::<String>(),
        event in any::<String>(),
        data in value(),
        time in any::<u64>(),
        user in proptest::option::of(any::<String>()),
    ) {
        let data = data.to_string();
        let written = Event { id: id.as_deref(), channel: &channel, event: &event, data: &data, time, user: user.as_deref() };
        let mut expect = json!({ "type": "event", "channel": channel, "event": event, "time": time });
        expect["data"] = serde_json::from_str(&data).unwrap();
        if let Some(id) = &id {
            expect["id"] = json!(id);
        }
        if let Some(user) = &user {
            expect["user"] = json!(user);
        }
        let mut out = Vec::new();
        written.ws_event(&mut out);
        prop_assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expect);
    }
}

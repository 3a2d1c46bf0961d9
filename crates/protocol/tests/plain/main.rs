//! Messages of a plain WebSocket.
#![allow(clippy::unwrap_used, missing_docs)]

mod invariant;

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Value, json};
use tidings_protocol::json::Event;
use tidings_protocol::plain::{
    Kind, Request, RequestId, error, expiring, gap, join, leave, ok, parse, pong, request_id, welcome,
};

fn read(text: &str) -> Request<'_> {
    invariant::check(text);
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The id's JSON (or `-`), the code and the message of a refusal.
fn refused(text: &str) -> String {
    invariant::check(text);
    let error = parse(text).expect_err(text);
    let id = error.id.map_or("-", |id| id.as_json());
    format!("{id} {}: {}", error.code, error.message)
}

fn list(names: &[&'static str]) -> Vec<Cow<'static, str>> {
    names.iter().map(|name| Cow::Borrowed(*name)).collect()
}

#[test]
fn each_type_is_read() {
    for (text, kind) in [
        (
            r#"{"type":"subscribe","channels":["a","room:7"],"since":"k3v9x1qa-42"}"#,
            Kind::Subscribe {
                channels: list(&["a", "room:7"]),
                since: Some("k3v9x1qa-42".into()),
            },
        ),
        (
            r#" { "since" : null , "channels" : [ "\u00e9" , "b" , "b" ] , "\u0074ype" : "subscribe" } "#,
            Kind::Subscribe {
                channels: list(&["é", "b", "b"]),
                since: None,
            },
        ),
        (
            r#"{"type":"unsubscribe","channels":[""]}"#,
            Kind::Unsubscribe { channels: list(&[""]) },
        ),
        (
            r#"{"type":"publish","channel":"c","event":"e","data":{"a": 1.50},"key":"k","volatile":true}"#,
            Kind::Publish {
                channel: "c".into(),
                event: "e".into(),
                data: r#"{"a": 1.50}"#,
                key: Some("k".into()),
                volatile: true,
            },
        ),
        (
            r#"{"type":"publish","channel":"c","event":"e","data":"\ud800"}"#,
            Kind::Publish {
                channel: "c".into(),
                event: "e".into(),
                data: r#""\ud800""#,
                key: None,
                volatile: false,
            },
        ),
        (
            r#"{"type":"publish","channel":"c","event":"e","key":null,"volatile":false}"#,
            Kind::Publish {
                channel: "c".into(),
                event: "e".into(),
                data: "null",
                key: None,
                volatile: false,
            },
        ),
        (
            r#"{"type":"history","channel":"c"}"#,
            Kind::History {
                channel: "c".into(),
                before: None,
                after: None,
                limit: None,
            },
        ),
        (
            r#"{"type":"history","channel":"c","before":"x","after":null,"limit":50}"#,
            Kind::History {
                channel: "c".into(),
                before: Some("x".into()),
                after: None,
                limit: Some(50),
            },
        ),
        (
            r#"{"type":"history","channel":"c","after":"y","limit":99999999999999999999999}"#,
            Kind::History {
                channel: "c".into(),
                before: None,
                after: Some("y".into()),
                limit: Some(u64::MAX),
            },
        ),
        (
            r#"{"type":"presence","channel":"c","after":"ann","limit":0}"#,
            Kind::Presence {
                channel: "c".into(),
                after: Some("ann".into()),
                limit: Some(0),
            },
        ),
        (
            r#"{"type":"read","channel":"c","until":"k3v9x1qa-42"}"#,
            Kind::Read {
                channel: "c".into(),
                until: "k3v9x1qa-42".into(),
            },
        ),
        (
            r#"{"type":"unread","channel":"c"}"#,
            Kind::Unread { channel: "c".into() },
        ),
        (r#"{"type":"ping"}"#, Kind::Ping),
    ] {
        assert_eq!(read(text), Request { id: None, kind }, "{text}");
    }
    let request = read(r#"{"type":"auth","token":"secret"}"#);
    assert!(matches!(&request.kind, Kind::Auth { token } if &**token == "secret"));
    assert!(!format!("{request:?}").contains("secret"));
}

#[test]
fn a_request_keeps_its_id_as_it_was_written() {
    let sixty_four = format!("\"{}é\"", "x".repeat(62));
    for id in [
        "0",
        "-0",
        "7",
        "-12",
        "123456789012345678901234567890",
        "\"\"",
        "\"a b\"",
        r#""\u0061\n\"""#,
        &sixty_four,
        &"9".repeat(64),
    ] {
        for text in [
            format!(r#"{{"id":{id},"type":"ping"}}"#),
            format!(r#"{{ "type" : "ping" , "id" : {id} }}"#),
        ] {
            let request = read(&text);
            assert_eq!(request.id.map(|id| id.as_json()), Some(id));
            let kept = request.id.unwrap().to_json();
            let out = ok(RequestId::of_json(&kept).unwrap(), "{}");
            assert_eq!(out, format!(r#"{{"type":"ok","id":{id},"result":{{}}}}"#).as_bytes());
        }
    }
    assert_eq!(read(r#"{"type":"ping","id":null}"#).id, None);
    let past = format!("\"{}é\"", "x".repeat(63));
    let digits = "9".repeat(65);
    for id in [&*past, &digits, "1.0", "1e3", "true", "[1]", "{}", r#""\ud800""#] {
        assert_eq!(
            refused(&format!(r#"{{"type":"ping","id":{id}}}"#)),
            "- bad_request: `id` has to be a string of at most 64 bytes or an integer"
        );
    }
}

#[test]
fn what_is_wrong_is_said_with_the_id_and_the_field() {
    let takes = "which has `channels`, `since`";
    let types = "subscribe, unsubscribe, publish, history, presence, read, unread, auth and ping";
    for (text, expect) in [
        (
            "",
            "- invalid_json: the message is not JSON, or is nested deeper than 512 levels, at byte 0".to_owned(),
        ),
        (
            "hello",
            "- invalid_json: the message is not JSON, or is nested deeper than 512 levels, at byte 0".to_owned(),
        ),
        (
            r#"{"type":"ping"} {"#,
            "- invalid_json: the message is not JSON, or is nested deeper than 512 levels, at byte 16".to_owned(),
        ),
        (
            r#"{"id":5,"type":"ping","#,
            "5 invalid_json: the message is not JSON, or is nested deeper than 512 levels, at byte 22".to_owned(),
        ),
        (
            r#"{"id":[],"type":"ping","#,
            "- invalid_json: the message is not JSON, or is nested deeper than 512 levels, at byte 23".to_owned(),
        ),
        (
            r#"{"type":"publish","data":{'a':1},"id":5}"#,
            "- invalid_json: the message is not JSON, or is nested deeper than 512 levels, at byte 26".to_owned(),
        ),
        ("[]", "- bad_request: a message has to be a JSON object".to_owned()),
        (
            "[] x",
            "- invalid_json: the message is not JSON, or is nested deeper than 512 levels, at byte 3".to_owned(),
        ),
        (
            "\"ping\"",
            "- bad_request: a message has to be a JSON object".to_owned(),
        ),
        ("{}", "- bad_request: a message needs a `type`".to_owned()),
        (
            r#"{"id":"a","type":null}"#,
            "\"a\" bad_request: a message needs a `type`".to_owned(),
        ),
        (
            r#"{"id":1,"type":5}"#,
            "1 bad_request: `type` has to be a string".to_owned(),
        ),
        (
            r#"{"id":1,"type":"Ping"}"#,
            format!("1 bad_request: `Ping` is no type of message: there are {types}"),
        ),
        (
            r#"{"id":1,"type":"ok","result":1}"#,
            format!("1 bad_request: `ok` is no type of message: there are {types}"),
        ),
        (
            r#"{"id":1,"type":"subscribe","channels":["a"],"sinse":"x"}"#,
            format!("1 bad_request: `sinse` is no field of `subscribe`, {takes}"),
        ),
        (
            r#"{"id":1,"type":"subscribe","channel":"a"}"#,
            format!("1 bad_request: `channel` is no field of `subscribe`, {takes}"),
        ),
        (
            r#"{"id":1,"type":"ping","x":1}"#,
            "1 bad_request: `x` is no field of `ping`, which has no other".to_owned(),
        ),
        (
            r#"{"id":1,"type":"ping","\ud800":1}"#,
            "1 bad_request: `\"\\ud800\"` is no field of `ping`, which has no other".to_owned(),
        ),
        (
            r#"{"id":1,"type":"subscribe"}"#,
            "1 bad_request: `subscribe` needs `channels`".to_owned(),
        ),
        (
            r#"{"id":1,"type":"subscribe","channels":"a"}"#,
            "1 bad_request: `channels` has to be a list of strings".to_owned(),
        ),
        (
            r#"{"id":1,"type":"subscribe","channels":["a",1]}"#,
            "1 bad_request: `channels` has to be a list of strings".to_owned(),
        ),
        (
            r#"{"id":1,"type":"subscribe","channels":[["a"]]}"#,
            "1 bad_request: `channels` has to be a list of strings".to_owned(),
        ),
        (
            r#"{"id":1,"type":"unsubscribe","channels":[]}"#,
            "1 bad_request: `channels` has to name one at least".to_owned(),
        ),
        (
            r#"{"id":1,"type":"subscribe","channels":["\ud800"]}"#,
            "1 bad_request: `channels` holds half a surrogate pair".to_owned(),
        ),
        (
            r#"{"id":1,"type":"subscribe","channels":["a"],"since":5}"#,
            "1 bad_request: `since` has to be a string".to_owned(),
        ),
        (
            r#"{"id":1,"type":"publish","event":"e"}"#,
            "1 bad_request: `publish` needs `channel`".to_owned(),
        ),
        (
            r#"{"id":1,"type":"publish","channel":"c","data":1}"#,
            "1 bad_request: `publish` needs `event`".to_owned(),
        ),
        (
            r#"{"id":1,"type":"publish","channel":"c","event":"e","volatile":1}"#,
            "1 bad_request: `volatile` has to be true or false".to_owned(),
        ),
        (
            r#"{"id":1,"type":"publish","channel":"c","event":"e","key":7}"#,
            "1 bad_request: `key` has to be a string".to_owned(),
        ),
        (
            r#"{"id":1,"type":"history","channel":"c","before":"x","after":"y"}"#,
            "1 bad_request: `history` has `before` or `after`, not both".to_owned(),
        ),
        (
            r#"{"id":1,"type":"history","channel":"c","limit":-1}"#,
            "1 bad_request: `limit` has to be a whole number".to_owned(),
        ),
        (
            r#"{"id":1,"type":"presence","channel":"c","limit":1.5}"#,
            "1 bad_request: `limit` has to be a whole number".to_owned(),
        ),
        (
            r#"{"id":1,"type":"presence","channel":"c","limit":"5"}"#,
            "1 bad_request: `limit` has to be a whole number".to_owned(),
        ),
        (
            r#"{"id":1,"type":"read","channel":"c"}"#,
            "1 bad_request: `read` needs `until`".to_owned(),
        ),
        (
            r#"{"id":1,"type":"unread"}"#,
            "1 bad_request: `unread` needs `channel`".to_owned(),
        ),
        (
            r#"{"id":1,"type":"auth"}"#,
            "1 bad_request: `auth` needs `token`".to_owned(),
        ),
        (
            r#"{"id":1,"type":"auth","token":{}}"#,
            "1 bad_request: `token` has to be a string".to_owned(),
        ),
        (
            r#"{"id":1,"type":"auth","type":"ping"}"#,
            "1 bad_request: `type` is there twice".to_owned(),
        ),
        (
            r#"{"id":1,"\u0069d":2,"type":"ping"}"#,
            "1 bad_request: `id` is there twice".to_owned(),
        ),
    ] {
        assert_eq!(refused(text), expect, "{text}");
    }
}

#[test]
fn long_texts_are_cut_and_many_fields_not_kept() {
    let long = "é".repeat(1000);
    let message = refused(&format!(r#"{{"type":"{long}"}}"#));
    assert!(message.contains(&format!("`{}…`", "é".repeat(40))), "{message}");
    let message = refused(&format!(r#"{{"type":"ping","{long}":1}}"#));
    assert!(message.contains(&format!("`{}…`", "é".repeat(40))), "{message}");
    let many: Vec<_> = (0..100_000).map(|number| format!("\"{number}\":1")).collect();
    assert_eq!(
        refused(&format!("{{\"id\":1,{}}}", many.join(","))),
        "1 bad_request: a message does not have so many fields"
    );
}

#[test]
fn depth_has_a_limit() {
    let of = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let publish = |data: &str| format!(r#"{{"type":"publish","channel":"c","event":"e","data":{data}}}"#);
    let data = of(512);
    assert!(matches!(parse(&publish(&data)).unwrap().kind, Kind::Publish { data: read, .. } if read == data));
    assert_eq!(parse(&data).unwrap_err().code, "bad_request");
    assert_eq!(parse(&data[1..]).unwrap_err().code, "invalid_json");
    for depth in [513, 300_000] {
        assert_eq!(parse(&publish(&of(depth))).unwrap_err().code, "invalid_json", "{depth}");
    }
}

#[test]
fn messages_are_written() {
    for (written, expect) in [
        (welcome(None, 25_000), r#"{"type":"welcome","heartbeat_ms":25000}"#),
        (
            welcome(Some("a\"b"), 1),
            r#"{"type":"welcome","user":"a\"b","heartbeat_ms":1}"#,
        ),
        (
            error(None, "internal", "a\u{1}\"b"),
            r#"{"type":"error","code":"internal","message":"a\u0001\"b"}"#,
        ),
        (gap(&[], "e-1"), r#"{"type":"gap","channels":[],"next":"e-1"}"#),
        (
            gap(&["a\\", "b"], "e-1"),
            r#"{"type":"gap","channels":["a\\","b"],"next":"e-1"}"#,
        ),
        (
            join("c", "u\n", Some("{\"a\": 1}")),
            r#"{"type":"join","channel":"c","user":"u\n","info":{"a": 1}}"#,
        ),
        (leave("c", "u", None), r#"{"type":"leave","channel":"c","user":"u"}"#),
        (
            leave("c", "u", Some("1")),
            r#"{"type":"leave","channel":"c","user":"u","info":1}"#,
        ),
        (expiring(), r#"{"type":"expiring"}"#),
        (pong(), r#"{"type":"pong"}"#),
    ] {
        assert_eq!(String::from_utf8(written).unwrap(), expect);
    }
}

#[test]
fn what_is_no_id_is_none() {
    for json in [
        "", "-", "01", "-01", "+1", "1 ", " 1", "\"a\" ", "\"", "\"a", "\"a\"b", "\"\n\"", "\"\\", "null", "1.5", "'a'",
    ] {
        assert_eq!(RequestId::of_json(json), None, "{json}");
    }
    for (text, id) in [
        (r#"{"id":7,"type":"nonsense"}"#, Some("7")),
        (r#"{"id":7,"#, Some("7")),
        (r#"{"x":[1,{"id":1}],"id":"a"}"#, Some("\"a\"")),
        (r#"{"id":1.5}"#, None),
        (r#"[{"id":7}]"#, None),
        ("", None),
    ] {
        assert_eq!(request_id(text).map(|id| id.as_json()), id, "{text}");
    }
}

/// Messages that are right or nearly so.
fn message() -> impl Strategy<Value = Value> {
    let kinds = "subscribe|unsubscribe|publish|history|presence|read|unread|auth|ping|join";
    let name = "(id|channel|channels|since|event|data|key|volatile|before|after|limit|until|token|x)";
    let value = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..2000_u32).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::collection::vec(any::<String>(), 0..5).prop_map(Value::from),
        Just(json!({ "a": [1.5] })),
    ];
    (kinds, prop::collection::btree_map(name, value, 0..5)).prop_map(|(kind, mut fields)| {
        fields.insert("type".to_owned(), kind.into());
        Value::from_iter(fields)
    })
}

proptest! {
    #[test]
    fn any_message_is_read_as_it_is_or_refused(message in message()) {
        invariant::check(&message.to_string());
    }

    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        invariant::check(&text);
    }

    #[test]
    fn what_is_asked_arrives(
        channels in prop::collection::vec(any::<String>(), 1..4),
        since in prop::option::of(any::<String>()),
        id in "[ -~é]{0,60}",
    ) {
        prop_assume!(id.len() <= 64);
        let text = json!({ "type": "subscribe", "id": id, "channels": channels, "since": since }).to_string();
        let request = parse(&text).unwrap();
        let channels = channels.iter().map(|name| Cow::Borrowed(&**name)).collect();
        let since = since.as_deref().map(Cow::Borrowed);
        prop_assert_eq!(request.kind, Kind::Subscribe { channels, since });
        prop_assert_eq!(serde_json::from_str::<String>(request.id.unwrap().as_json()).unwrap(), id);
    }

    #[test]
    fn published_data_arrives_as_it_was_written(data in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,5})?") {
        let text = format!(r#"{{"type":"publish","channel":"c","event":"e","data": [{data} ]}}"#);
        let Kind::Publish { data: read, .. } = parse(&text).unwrap().kind else {
            panic!("{text}");
        };
        prop_assert_eq!(read, format!("[{data} ]"));
        let event = Event { id: None, channel: "c", event: "e", data: read, time: 1, user: None };
        let mut out = Vec::new();
        event.ws_event(&mut out);
        let expect = format!(r#"{{"type":"event","channel":"c","event":"e","data":[{data} ],"time":1}}"#);
        prop_assert_eq!(String::from_utf8(out).unwrap(), expect);
    }
}

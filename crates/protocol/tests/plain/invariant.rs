//! What holds for any text, used by the mutation test and by the cargo-fuzz target.

use serde_json::value::RawValue;
use serde_json::{Value, json};
use tidings_protocol::plain::{Error, Kind, REQUEST_ID_BYTES_MAX, Request, RequestId, error, ok, parse, request_id};

/// Panics unless `text` is refused with an answer that a client can read, or is read as serde_json reads it.
pub(crate) fn check(text: &str) {
    let is_json = serde_json::from_str::<&RawValue>(text).is_ok();
    match parse(text) {
        Err(error) => {
            assert_eq!(request_id(text), error.id, "{text:?}");
            assert_eq!(error.code == "invalid_json", !is_json, "{text:?}: {error}");
            refusal(text, &error);
        }
        Ok(request) => {
            assert!(is_json, "{text:?}");
            assert_eq!(request_id(text), request.id, "{text:?}");
            if let Some(id) = request.id {
                let out = ok(id, "[1.50]");
                let expect = format!(r#"{{"type":"ok","id":{},"result":[1.50]}}"#, id.as_json());
                assert_eq!(out, expect.as_bytes());
                an_id(id);
            }
            fields(text, &request);
            let written = written(&request);
            assert_eq!(parse(&written), Ok(request), "{text:?} was written as {written:?}");
        }
    }
}

fn refusal(text: &str, refused: &Error<'_>) {
    assert!(refused.message.len() < 400, "{text:?}: {refused}");
    if let Some(id) = refused.id {
        an_id(id);
    }
    let out = error(refused.id, refused.code, &refused.message);
    let written: Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!(written["code"], refused.code);
    assert_eq!(written["message"], *refused.message);
    assert_eq!(written.get("id").is_some(), refused.id.is_some());
}

fn an_id(id: RequestId<'_>) {
    match serde_json::from_str(id.as_json()).expect("JSON") {
        Value::String(text) => assert!(text.len() <= REQUEST_ID_BYTES_MAX),
        Value::Number(_) => assert!(id.as_json().bytes().all(|byte| byte == b'-' || byte.is_ascii_digit())),
        other => panic!("{other} is no id"),
    }
    assert_eq!(RequestId::of_json(&id.to_json()), Some(id));
}

/// serde_json has the same fields; some texts are only JSON and no values to it.
fn fields(text: &str, request: &Request<'_>) {
    let Ok(Value::Object(mut read)) = serde_json::from_str(text) else {
        return;
    };
    read.retain(|name, value| name == "data" || !value.is_null());
    if read.get("volatile") == Some(&Value::Bool(false)) {
        read.remove("volatile");
    }
    // Of any length, as no number of serde_json's is.
    if let Some(id) = read.remove("id") {
        assert_eq!(
            id.is_string(),
            request.id.is_some_and(|id| id.as_json().starts_with('"'))
        );
    }
    for name in ["limit", "data"] {
        if let Some(value) = read.remove(name) {
            let before = match &request.kind {
                Kind::Publish { data, .. } => serde_json::from_str(data).expect("JSON"),
                Kind::History { limit, .. } | Kind::Presence { limit, .. } => json!(limit),
                other => panic!("{other:?} has {name}"),
            };
            assert!(before == value || before == u64::MAX, "{text:?}");
        }
    }
    assert_eq!(Value::Object(read), value(&request.kind), "{text:?}");
}

/// What was asked, but for `limit` and `data`.
fn value(kind: &Kind<'_>) -> Value {
    let mut value = match kind {
        Kind::Subscribe { channels, since } => json!({ "type": "subscribe", "channels": channels, "since": since }),
        Kind::Unsubscribe { channels } => json!({ "type": "unsubscribe", "channels": channels }),
        Kind::Publish {
            channel,
            event,
            key,
            volatile,
            ..
        } => {
            let volatile = volatile.then_some(true);
            json!({ "type": "publish", "channel": channel, "event": event, "key": key, "volatile": volatile })
        }
        Kind::History {
            channel, before, after, ..
        } => {
            json!({ "type": "history", "channel": channel, "before": before, "after": after })
        }
        Kind::Presence { channel, after, .. } => json!({ "type": "presence", "channel": channel, "after": after }),
        Kind::Read { channel, until } => json!({ "type": "read", "channel": channel, "until": until }),
        Kind::Unread { channel } => json!({ "type": "unread", "channel": channel }),
        Kind::Auth { token } => json!({ "type": "auth", "token": &**token }),
        Kind::Ping => json!({ "type": "ping" }),
    };
    if let Value::Object(fields) = &mut value {
        fields.retain(|_, value| !value.is_null());
    }
    value
}

/// The request in another spelling.
fn written(request: &Request<'_>) -> String {
    let mut text = value(&request.kind).to_string();
    text.pop();
    if let Some(id) = &request.id {
        text.push_str(&format!(" ,\n\"\\u0069d\":\t{}", id.as_json()));
    }
    match &request.kind {
        Kind::Publish { data, .. } => text.push_str(&format!(",\"data\":{data}")),
        Kind::History { limit: Some(limit), .. } | Kind::Presence { limit: Some(limit), .. } => {
            text.push_str(&format!(",\"limit\":{limit}"));
        }
        _ => {}
    }
    text + "}"
}

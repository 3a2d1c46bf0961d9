//! What the back end says: read strictly, since a misspelt `allow` must let nobody in. Only a refusal is taken however it
//! is worded.

use std::sync::Arc;

use http::StatusCode;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tidings::{Code, Error, check_event_name};

use crate::access::check_name;
use crate::token::INFO_BYTES_MAX;

/// Channels that a client is put into.
const CHANNELS_MAX: usize = 128;

/// Events that are published for one.
const PUBLISH_MAX: usize = 100;

/// A refusal's own code, in bytes.
const CODE_BYTES_MAX: usize = 64;

/// What a client is told, in bytes.
const MESSAGE_BYTES_MAX: usize = 1_024;

/// A decision that can be no.
pub(super) type Decision<T> = Result<T, Refusal>;

/// That somebody is let in, and what comes with it.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// The channels that it is put into.
    pub(crate) channels: Vec<Arc<str>>,
    /// What presence shows, instead of what the token says.
    pub(crate) info: Option<Arc<RawValue>>,
}

/// No, and what is said to the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// 401 or 403.
    status: StatusCode,
    code: Option<String>,
    message: Option<String>,
}

/// The answer to an event.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reply {
    /// What the client's acknowledgement holds.
    #[serde(default, deserialize_with = "given")]
    pub(crate) reply: Option<Box<RawValue>>,
    error: Option<Said>,
    /// What is published then.
    #[serde(default)]
    pub(crate) publish: Vec<Draft>,
}

/// An event that the back end publishes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Draft {
    pub(crate) channel: String,
    pub(crate) event: String,
    pub(crate) data: Option<Box<RawValue>>,
    pub(crate) key: Option<String>,
}

/// A code and a message, where they are given.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    code: Option<String>,
    message: Option<String>,
}

// Both may have what goes with a refusal: some write it always.

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Connect {
    #[serde(default, deserialize_with = "given")]
    allow: Option<bool>,
    #[serde(default)]
    subscribe: Vec<String>,
    info: Option<Box<RawValue>>,
    code: Option<IgnoredAny>,
    message: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subscribe {
    allow: bool,
    #[serde(rename = "code")]
    _code: Option<IgnoredAny>,
    #[serde(rename = "message")]
    _message: Option<IgnoredAny>,
}

/// The answer to `connect`.
pub(super) fn connect(status: StatusCode, body: &[u8]) -> Result<Decision<Entry>, String> {
    if let Some(refusal) = refusal(status, body) {
        return Ok(Err(refusal));
    }
    let Connect {
        allow,
        subscribe,
        info,
        code,
        message,
    } = parse(status, body)?;
    if allow.is_none() && (code.is_some() || message.is_some()) {
        return Err("the answer has the words of a refusal, and no `allow`".to_owned());
    }
    debug_assert_ne!(allow, Some(false), "that is a refusal");
    if subscribe.len() > CHANNELS_MAX {
        return Err(format!(
            "the answer names {} channels; {CHANNELS_MAX} are the most",
            subscribe.len()
        ));
    }
    for channel in &subscribe {
        check_name(channel).map_err(|error| format!("`subscribe` has {channel:?}: {}", error.message()))?;
    }
    if info.as_ref().is_some_and(|info| info.get().len() > INFO_BYTES_MAX) {
        return Err(format!("`info` has more than {INFO_BYTES_MAX} bytes"));
    }
    Ok(Ok(Entry {
        channels: subscribe.into_iter().map(Arc::from).collect(),
        info: info.map(Arc::from),
    }))
}

/// The answer to `subscribe`.
pub(super) fn subscribe(status: StatusCode, body: &[u8]) -> Result<Decision<()>, String> {
    if let Some(refusal) = refusal(status, body) {
        return Ok(Err(refusal));
    }
    match parse(status, body)? {
        Subscribe { allow: true, .. } => Ok(Ok(())),
        Subscribe { .. } => Err("`allow` is false".to_owned()),
    }
}

/// The answer to `event`.
pub(super) fn event(status: StatusCode, body: &[u8]) -> Result<Decision<Reply>, String> {
    if let Some(refusal) = refusal(status, body) {
        return Ok(Err(refusal));
    }
    let reply: Reply = match body.trim_ascii() {
        [] if status.is_success() => Reply::default(),
        body => parse(status, body)?,
    };
    if let Some(said) = reply.error {
        return Ok(Err(Refusal::of(StatusCode::BAD_REQUEST, said)));
    }
    if reply.publish.len() > PUBLISH_MAX {
        return Err(format!(
            "`publish` has {} events; {PUBLISH_MAX} are the most",
            reply.publish.len()
        ));
    }
    for Draft { channel, event, .. } in &reply.publish {
        let checked = check_name(channel).and_then(|()| check_event_name(event));
        checked.map_err(|error| format!("`publish` has {event:?} for {channel:?}: {}", error.message()))?;
    }
    Ok(Ok(reply))
}

/// The answer to `disconnect`, in which nothing matters.
pub(super) fn disconnect(status: StatusCode, _: &[u8]) -> Result<(), String> {
    match status.is_success() {
        true => Ok(()),
        false => Err(format!("the answer is {status}")),
    }
}

/// What is there is a value, `null` too.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

fn parse<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<T, String> {
    if !status.is_success() {
        return Err(format!("the answer is {status}"));
    }
    serde_json::from_slice(body).map_err(|error| format!("the answer is not what is expected: {error}"))
}

/// 401, 403, or a good answer that says no. What else is in it does not matter.
fn refusal(status: StatusCode, body: &[u8]) -> Option<Refusal> {
    #[derive(Deserialize)]
    struct No {
        allow: Option<bool>,
    }
    let is_no = || serde_json::from_slice(body).is_ok_and(|no: No| no.allow == Some(false));
    let status = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => status,
        status if status.is_success() && is_no() => StatusCode::FORBIDDEN,
        _ => return None,
    };
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    // As a good answer to an event has it, too.
    let said = body.get("error").filter(|error| error.is_object()).unwrap_or(&body);
    let field = |name: &str| said.get(name)?.as_str().map(str::to_owned);
    let said = Said {
        code: field("code"),
        message: field("message"),
    };
    Some(Refusal::of(status, said))
}

impl Refusal {
    /// What can't be shown to a client is left out.
    fn of(status: StatusCode, said: Said) -> Self {
        let fits = |text: &String, max: usize| !text.is_empty() && text.len() <= max;
        Self {
            status,
            code: said.code.filter(|code| fits(code, CODE_BYTES_MAX)),
            message: said.message.filter(|message| fits(message, MESSAGE_BYTES_MAX)),
        }
    }

    /// As an error for a client that is not let in. Codes that say to come back keep that meaning; all others are final.
    pub(super) fn of_connect(self) -> Error {
        let usual = match self.status {
            StatusCode::UNAUTHORIZED => Code::Unauthenticated,
            _ => Code::Forbidden,
        };
        let code = self.code.unwrap_or_else(|| usual.as_str().to_owned());
        let status = match Code::ALL.iter().find(|known| known.as_str() == code) {
            Some(known) if matches!(known.status(), 401 | 429 | 503) => known.status(),
            _ => self.status.as_u16(),
        };
        let message = self
            .message
            .unwrap_or_else(|| "the back end does not let this client in".to_owned());
        let error = Error::with_code(code, message);
        match StatusCode::from_u16(status) {
            Ok(status) => error.with_status(status),
            Err(_) => error,
        }
    }

    /// As an error for who may not subscribe: what does not exist looks the same, so that there is one code.
    pub(super) fn of_subscribe(self) -> Error {
        let usual = || "the back end does not allow this subscription".to_owned();
        Error::forbidden(self.message.unwrap_or_else(usual))
    }

    /// As an error that answers an event.
    pub(super) fn of_event(self) -> Error {
        let usual = match self.status {
            StatusCode::UNAUTHORIZED => Code::Unauthenticated,
            StatusCode::FORBIDDEN => Code::Forbidden,
            _ => Code::BadRequest,
        };
        let code = self.code.unwrap_or_else(|| usual.as_str().to_owned());
        let usual = || "the back end refuses this event".to_owned();
        Error::with_code(code, self.message.unwrap_or_else(usual))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: StatusCode = StatusCode::OK;

    fn said(refusal: Error) -> (String, String, u16) {
        let status = refusal.status().as_u16();
        (refusal.code().to_owned(), refusal.message().to_owned(), status)
    }

    #[test]
    fn connect_lets_in_what_says_so_and_nothing_else() {
        for body in [
            "{}",
            r#"{"allow":true,"code":null,"message":"x"}"#,
            r#" {"subscribe":[]} "#,
        ] {
            assert!(connect(OK, body.as_bytes()).unwrap().is_ok(), "{body}");
        }
        let full = br#"{"allow":true,"subscribe":["room:7","user:eve"],"info":{"name":"Ann"}}"#;
        let entry = connect(StatusCode::CREATED, full).unwrap().unwrap();
        assert_eq!(entry.channels, [Arc::from("room:7"), Arc::from("user:eve")]);
        assert_eq!(entry.info.unwrap().get(), r#"{"name":"Ann"}"#);
        let long = format!(r#"{{"info":"{}"}}"#, "x".repeat(1_023));
        let many = format!(r#"{{"subscribe":[{}"a"]}}"#, "\"a\",".repeat(128));
        for (body, part) in [
            ("", "not what is expected"),
            ("<html>", "not what is expected"),
            ("[]", "not what is expected"),
            (r#"{"alow":false}"#, "unknown field `alow`"),
            (r#"{"allow":null}"#, "not what is expected"),
            (r#"{"code":"banned"}"#, "no `allow`"),
            (r#"{"message":"go away"}"#, "no `allow`"),
            (r#"{"allow":"yes"}"#, "not what is expected"),
            (r#"{"subscribe":["/n,r"]}"#, "/n,r"),
            (&long, "1024"),
            (&many, "129 channels"),
        ] {
            let problem = connect(OK, body.as_bytes()).unwrap_err();
            assert!(problem.contains(part), "{body}: {problem}");
        }
        for status in [302, 400, 404, 500, 503] {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(connect(status, b"{}").unwrap_err().contains(status.as_str()));
        }
    }

    #[test]
    fn a_refusal_is_taken_however_it_is_worded() {
        let refused = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            said(connect(status, body.as_bytes()).unwrap().unwrap_err().of_connect())
        };
        let of = |code: &str, message: &str, status: u16| (code.to_owned(), message.to_owned(), status);
        let usual = "the back end does not let this client in";
        assert_eq!(
            refused(200, r#"{"allow":false,"code":"banned","message":"until Monday"}"#),
            of("banned", "until Monday", 403)
        );
        assert_eq!(refused(200, r#"{"allow":false,"why":1}"#), of("forbidden", usual, 403));
        assert_eq!(refused(403, "<html>"), of("forbidden", usual, 403));
        assert_eq!(refused(401, ""), of("unauthenticated", usual, 401));
        assert_eq!(refused(403, r#"{"code":7,"message":"no"}"#), of("forbidden", "no", 403));
        assert_eq!(
            refused(403, r#"{"code":"token_expired"}"#),
            of("token_expired", usual, 401)
        );
        assert_eq!(
            refused(200, r#"{"allow":false,"code":"unavailable"}"#),
            of("unavailable", usual, 503)
        );
        assert_eq!(
            refused(200, r#"{"allow":false,"code":"not_found"}"#),
            of("not_found", usual, 403)
        );
        let long = format!(r#"{{"code":"{}"}}"#, "x".repeat(65));
        assert_eq!(refused(403, &long), of("forbidden", usual, 403));
    }

    #[test]
    fn subscribe_wants_a_plain_yes() {
        assert!(subscribe(OK, br#"{"allow":true}"#).unwrap().is_ok());
        for body in ["{}", "", r#"{"allow":true,"channels":[]}"#, "true"] {
            assert!(subscribe(OK, body.as_bytes()).is_err(), "{body}");
        }
        let refused =
            |status, body: &str| said(subscribe(status, body.as_bytes()).unwrap().unwrap_err().of_subscribe());
        let (code, message, _) = refused(OK, r#"{"allow":false,"code":"x","message":"members only"}"#);
        assert_eq!((&*code, &*message), ("forbidden", "members only"));
        assert_eq!(refused(StatusCode::UNAUTHORIZED, "").0, "forbidden");
    }

    #[test]
    fn an_event_is_answered_refused_or_not_understood() {
        let reply = |body: &str| event(OK, body.as_bytes());
        assert!(reply("").unwrap().unwrap().reply.is_none());
        assert_eq!(
            reply(r#"{"reply":{"id":1.50}}"#).unwrap().unwrap().reply.unwrap().get(),
            r#"{"id":1.50}"#
        );
        let published =
            reply(r#"{"publish":[{"channel":"a","event":"e","data":1},{"channel":"b","event":"f","key":"k"}]}"#);
        let published = published.unwrap().unwrap().publish;
        assert_eq!(
            (published[0].data.as_ref().unwrap().get(), published[1].key.as_deref()),
            ("1", Some("k"))
        );
        let refused = |body: &str| said(reply(body).unwrap().unwrap_err().of_event());
        let usual = "the back end refuses this event";
        assert_eq!(
            refused(r#"{"error":{"code":"sold_out","message":"none left"}}"#),
            ("sold_out".to_owned(), "none left".to_owned(), 400)
        );
        assert_eq!(
            refused(r#"{"error":{}}"#),
            ("bad_request".to_owned(), usual.to_owned(), 400)
        );
        let forbidden = event(StatusCode::FORBIDDEN, b"").unwrap().unwrap_err().of_event();
        assert_eq!(forbidden.code(), "forbidden");
        let draft = r#"{"channel":"a","event":"e"}"#;
        let many = format!(r#"{{"publish":[{}{draft}]}}"#, format!("{draft},").repeat(100));
        for body in [
            "null",
            r#"{"replay":1}"#,
            r#"{"publish":[{"channel":"/","event":"e"}]}"#,
            r#"{"publish":[{"channel":"a","event":"gap"}]}"#,
            r#"{"publish":[{"channel":"a"}]}"#,
            &many,
        ] {
            assert!(reply(body).is_err(), "{body}");
        }
        assert!(event(StatusCode::INTERNAL_SERVER_ERROR, b"{}").is_err());
    }
}

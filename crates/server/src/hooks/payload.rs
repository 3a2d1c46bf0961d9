//! What the back end is told.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::value::RawValue;
use tidings::ConnectionKind;

use super::call::Call;
use crate::token::{Claims, random_hex};

/// Who it is about. No token is in it.
#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct Who<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connection: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<ConnectionKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) claims: Option<&'a Claims>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<IpAddr>,
}

/// What has happened, or is asked.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Subject<'a> {
    Connect {},
    Subscribe {
        channels: &'a [&'a str],
    },
    Event {
        event: &'a str,
        data: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        args: Option<&'a [Box<RawValue>]>,
    },
    Disconnect {
        reason: &'a str,
        lasted_ms: u64,
    },
}

#[derive(Serialize)]
struct Payload<'a> {
    hook: &'static str,
    id: &'a str,
    time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(flatten)]
    who: Who<'a>,
    #[serde(flatten)]
    subject: Subject<'a>,
}

impl Subject<'_> {
    fn hook(&self) -> &'static str {
        match self {
            Subject::Connect {} => "connect",
            Subject::Subscribe { .. } => "subscribe",
            Subject::Event { .. } => "event",
            Subject::Disconnect { .. } => "disconnect",
        }
    }
}

impl Call {
    /// A call that tells this, with a name of its own.
    ///
    /// # Errors
    /// When the system has no random bytes to give.
    pub(super) fn of(who: Who<'_>, subject: Subject<'_>) -> Result<Self, String> {
        let id = random_hex::<16>()?;
        let payload = Payload {
            hook: subject.hook(),
            id: &id,
            time: now_ms(),
            user: who.claims.map(|claims| claims.sub.as_str()),
            who,
            subject,
        };
        let body = serde_json::to_vec(&payload).map_err(|error| error.to_string())?;
        Ok(Self {
            hook: payload.hook,
            body: body.into(),
            id: id.into(),
        })
    }
}

fn now_ms() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body of a call, without what differs each time.
    fn body(who: Who<'_>, subject: Subject<'_>) -> String {
        let call = Call::of(who, subject).unwrap();
        let text = String::from_utf8(call.body.to_vec()).unwrap();
        let (head, rest) = text.split_once(",\"time\":").unwrap();
        assert_eq!(head, format!("{{\"hook\":\"{}\",\"id\":\"{}\"", call.hook, call.id));
        rest.split_once([',', '}']).unwrap().1.to_owned()
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        assert_eq!(body(Who::default(), Subject::Connect {}), "");
        let claims: Claims = serde_json::from_str(r#"{"sub":"ann","exp":9,"info":{"a":1}}"#).unwrap();
        let who = Who {
            connection: Some("c"),
            kind: Some(ConnectionKind::Sse),
            claims: Some(&claims),
            address: Some([127, 0, 0, 1].into()),
        };
        let of_ann = r#""user":"ann","connection":"c","kind":"sse","claims":{"sub":"ann","exp":9,"channels":{"subscribe":[],"publish":[]},"info":{"a":1}},"address":"127.0.0.1","#;
        let channels = ["room:7"];
        let subject = Subject::Subscribe { channels: &channels };
        assert_eq!(body(who, subject), format!("{of_ann}\"channels\":[\"room:7\"]}}"));
    }

    #[test]
    fn data_stays_as_it_was_sent() {
        let data = RawValue::from_string(r#"{ "b":1.50,"a":1e400,"c":"\ud800" }"#.to_owned()).unwrap();
        let event = |args| Subject::Event {
            event: "order:new",
            data: &data,
            args,
        };
        let expected = format!(r#""event":"order:new","data":{}"#, data.get());
        assert_eq!(body(Who::default(), event(None)), format!("{expected}}}"));
        let args = [data.clone(), data.clone()];
        let both = format!(r#"{expected},"args":[{0},{0}]}}"#, data.get());
        assert_eq!(body(Who::default(), event(Some(&args))), both);
    }
}

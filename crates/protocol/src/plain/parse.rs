//! From the text of a message to what it asks.

use super::fields::{Fields, Problem, shown};
use super::{Error, Kind, Request, RequestId, Token};

/// Reads a message that a client sent.
///
/// # Errors
/// [`Error`], ready to be sent, for what is not JSON or not a message as in the table of [`plain`](super). It has the request's
/// id, also where that stands before the place from which on it is no JSON.
pub fn parse(text: &str) -> Result<Request<'_>, Error<'_>> {
    let mut fields = Fields::default();
    let read = fields.read(text);
    let (id, kind) = match fields.id() {
        Ok(id) => (id, read.and_then(|()| kind(&fields))),
        Err(problem) => (None, read.and(Err(problem))),
    };
    match kind {
        Ok(kind) => Ok(Request { id, kind }),
        Err(Problem { code, message }) => Err(Error { id, code, message }),
    }
}

/// The id of a message whatever else is in it, for an answer that does not depend on the rest; none if there is none, or none that
/// could be one.
///
/// ```
/// let id = tidings_protocol::plain::request_id(r#"{"id":"7","tpye":"ping"}"#);
/// assert_eq!(id.map(|id| id.as_json()), Some("\"7\""));
/// ```
pub fn request_id(text: &str) -> Option<RequestId<'_>> {
    let mut fields = Fields::default();
    // What was read before a fault is there too.
    let _ = fields.read(text);
    fields.id().ok().flatten()
}

fn kind<'a>(fields: &Fields<'a>) -> Result<Kind<'a>, Problem> {
    let Some(kind) = fields.optional_text("type")? else {
        return Err(Problem::bad_request("a message needs a `type`"));
    };
    let kind = &*kind;
    match kind {
        "subscribe" => {
            fields.only(kind, &["channels", "since"])?;
            Ok(Kind::Subscribe {
                channels: fields.channels(kind)?,
                since: fields.optional_text("since")?,
            })
        }
        "unsubscribe" => {
            fields.only(kind, &["channels"])?;
            let channels = fields.channels(kind)?;
            Ok(Kind::Unsubscribe { channels })
        }
        "publish" => {
            fields.only(kind, &["channel", "event", "data", "key", "volatile"])?;
            Ok(Kind::Publish {
                channel: fields.text(kind, "channel")?,
                event: fields.text(kind, "event")?,
                data: fields.raw("data").unwrap_or("null"),
                key: fields.optional_text("key")?,
                volatile: fields.flag("volatile")?,
            })
        }
        "history" => {
            fields.only(kind, &["channel", "before", "after", "limit"])?;
            let before = fields.optional_text("before")?;
            let after = fields.optional_text("after")?;
            if before.is_some() && after.is_some() {
                return Err(Problem::bad_request("`history` has `before` or `after`, not both"));
            }
            Ok(Kind::History {
                channel: fields.text(kind, "channel")?,
                before,
                after,
                limit: fields.optional_number("limit")?,
            })
        }
        "presence" => {
            fields.only(kind, &["channel", "after", "limit"])?;
            Ok(Kind::Presence {
                channel: fields.text(kind, "channel")?,
                after: fields.optional_text("after")?,
                limit: fields.optional_number("limit")?,
            })
        }
        "read" => {
            fields.only(kind, &["channel", "until"])?;
            Ok(Kind::Read {
                channel: fields.text(kind, "channel")?,
                until: fields.text(kind, "until")?,
            })
        }
        "unread" => {
            fields.only(kind, &["channel"])?;
            let channel = fields.text(kind, "channel")?;
            Ok(Kind::Unread { channel })
        }
        "auth" => {
            fields.only(kind, &["token"])?;
            let token = Token(fields.text(kind, "token")?);
            Ok(Kind::Auth { token })
        }
        "ping" => {
            fields.only(kind, &[])?;
            Ok(Kind::Ping)
        }
        other => Err(Problem::bad_request(format!(
            "`{}` is no type of message: there are subscribe, unsubscribe, publish, history, presence, read, unread, auth \
             and ping",
            shown(other)
        ))),
    }
}

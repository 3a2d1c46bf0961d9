//! The messages that a server sends. Events are [`json::Event::ws_event`](crate::json::Event::ws_event).

use super::RequestId;
use crate::json::{gap_fields, write_string};

/// `{"type":"welcome","user":…,"heartbeat_ms":…}`, without `user` for somebody anonymous.
///
/// ```
/// let message = tidings_protocol::plain::welcome(Some("ann"), 25_000);
/// assert_eq!(message, br#"{"type":"welcome","user":"ann","heartbeat_ms":25000}"#);
/// ```
pub fn welcome(user: Option<&str>, heartbeat_ms: u64) -> Vec<u8> {
    let mut out = br#"{"type":"welcome""#.to_vec();
    if let Some(user) = user {
        out.extend_from_slice(br#","user":"#);
        write_string(&mut out, user);
    }
    out.extend_from_slice(br#","heartbeat_ms":"#);
    out.extend_from_slice(itoa::Buffer::new().format(heartbeat_ms).as_bytes());
    out.push(b'}');
    out
}

/// `{"type":"ok","id":…,"result":…}`; `result` is raw JSON.
///
/// ```
/// use tidings_protocol::plain::{RequestId, ok};
/// let message = RequestId::of_json("\"p1\"").map(|id| ok(id, "{}"));
/// assert_eq!(message.as_deref(), Some(&br#"{"type":"ok","id":"p1","result":{}}"#[..]));
/// ```
pub fn ok(id: RequestId<'_>, result: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + id.as_json().len() + result.len());
    out.extend_from_slice(br#"{"type":"ok","id":"#);
    out.extend_from_slice(id.as_json().as_bytes());
    out.extend_from_slice(br#","result":"#);
    out.extend_from_slice(result.as_bytes());
    out.push(b'}');
    out
}

/// `{"type":"error","id":…,"code":…,"message":…}`, without `id` where no request is answered, or one that had none.
///
/// ```
/// let message = tidings_protocol::plain::error(None, "forbidden", "not here");
/// assert_eq!(message, br#"{"type":"error","code":"forbidden","message":"not here"}"#);
/// ```
pub fn error(id: Option<RequestId<'_>>, code: &str, message: &str) -> Vec<u8> {
    let mut out = br#"{"type":"error""#.to_vec();
    if let Some(id) = id {
        out.extend_from_slice(br#","id":"#);
        out.extend_from_slice(id.as_json().as_bytes());
    }
    out.extend_from_slice(br#","code":"#);
    write_string(&mut out, code);
    out.extend_from_slice(br#","message":"#);
    write_string(&mut out, message);
    out.push(b'}');
    out
}

/// `{"type":"gap","channels":[…],"next":…}`.
///
/// ```
/// let message = tidings_protocol::plain::gap(&["a", "b"], "k3v9x1qa-0");
/// assert_eq!(message, br#"{"type":"gap","channels":["a","b"],"next":"k3v9x1qa-0"}"#);
/// ```
pub fn gap(channels: &[&str], next: &str) -> Vec<u8> {
    let mut out = br#"{"type":"gap","#.to_vec();
    gap_fields(&mut out, channels, next);
    out.push(b'}');
    out
}

/// `{"type":"join","channel":…,"user":…,"info":…}`; `info` is raw JSON, or left out.
///
/// ```
/// let message = tidings_protocol::plain::join("room:7", "ann", Some(r#"{"name":"Ann"}"#));
/// assert_eq!(message, br#"{"type":"join","channel":"room:7","user":"ann","info":{"name":"Ann"}}"#);
/// ```
pub fn join(channel: &str, user: &str, info: Option<&str>) -> Vec<u8> {
    presence(br#"{"type":"join","channel":"#, channel, user, info)
}

/// `{"type":"leave","channel":…,"user":…,"info":…}`; `info` is raw JSON, or left out.
///
/// ```
/// let message = tidings_protocol::plain::leave("room:7", "ann", None);
/// assert_eq!(message, br#"{"type":"leave","channel":"room:7","user":"ann"}"#);
/// ```
pub fn leave(channel: &str, user: &str, info: Option<&str>) -> Vec<u8> {
    presence(br#"{"type":"leave","channel":"#, channel, user, info)
}

fn presence(head: &[u8], channel: &str, user: &str, info: Option<&str>) -> Vec<u8> {
    let mut out = head.to_vec();
    write_string(&mut out, channel);
    out.extend_from_slice(br#","user":"#);
    write_string(&mut out, user);
    if let Some(info) = info {
        out.extend_from_slice(br#","info":"#);
        out.extend_from_slice(info.as_bytes());
    }
    out.push(b'}');
    out
}

/// `{"type":"expiring"}`: the token ends soon, and `auth` takes a fresh one.
pub fn expiring() -> Vec<u8> {
    br#"{"type":"expiring"}"#.to_vec()
}

/// `{"type":"pong"}`: the answer to a `ping` without id. One with an id gets an `ok` as any request.
pub fn pong() -> Vec<u8> {
    br#"{"type":"pong"}"#.to_vec()
}

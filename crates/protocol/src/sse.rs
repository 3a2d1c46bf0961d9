//! Server-sent events, as a server writes them.
//!
//! Source: the HTML standard, section "Server-sent events" (<https://html.spec.whatwg.org/multipage/server-sent-events.html>). A
//! stream is lines of `field:value`, and an empty line ends an event. Nothing that is written here can end a line or an
//! event early, whatever text it is given: line breaks in data become lines of data, which the client joins again, and fields that
//! have to be one line lose theirs. The client drops one space behind the colon, so a value that begins with one gets another.
//!
//! How the stream travels (chunks, HTTP/1.1 or 2) is the caller's part.
//!
//! ```
//! use tidings_protocol::sse;
//!
//! let mut out = Vec::new();
//! sse::write_retry(&mut out, 3000);
//! sse::write_cursor(&mut out, "k3v9x1qa-41");
//! sse::write_event(&mut out, Some("k3v9x1qa-42"), Some("note"), "one\r\ntwo");
//! assert_eq!(
//!     String::from_utf8(out)?,
//!     "retry:3000\n\nid:k3v9x1qa-41\n\nevent:note\nid:k3v9x1qa-42\ndata:one\ndata:two\n\n"
//! );
//! # Ok::<(), std::string::FromUtf8Error>(())
//! ```

use crate::json;

/// Appends an event: `event:` with its name, `id:`, `data:` a line for each line of `data`, and the empty line.
///
/// Without a name it is a `message`, and without an id the client keeps the one it had. In a name or an id CR, LF and NUL are
/// left out. CR, LF and CRLF in `data` all reach the client as LF, which is the same to JSON, where they can only stand between
/// values; NUL, which JSON never has, becomes U+FFFD. Empty data is an event too.
pub fn write_event(out: &mut Vec<u8>, id: Option<&str>, name: Option<&str>, data: &str) {
    head(out, id, name);
    lines(out, data.as_bytes());
    out.push(b'\n');
}

/// Appends an event of a channel, with its id if it has one: `data:` is `{channel, event, data, time, user}`, or with
/// `raw` the event's data alone; with `named`, `event:` is its name.
///
/// ```
/// # use tidings_protocol::{json::Event, sse};
/// # let (channel, time, user) = ("c", 1, None);
/// let event = Event { id: Some("k3v9x1qa-42"), channel, event: "news", data: "[1]", time, user };
/// let mut out = Vec::new();
/// sse::write_message(&mut out, &event, true, true);
/// assert_eq!(out, b"event:news\nid:k3v9x1qa-42\ndata:[1]\n\n");
/// ```
pub fn write_message(out: &mut Vec<u8>, event: &json::Event<'_>, named: bool, raw: bool) {
    let name = named.then_some(event.event);
    if raw {
        return write_event(out, event.id, name, event.data);
    }
    head(out, event.id, name);
    if has_breaks(event.data.as_bytes()) {
        let mut data = Vec::new();
        event.sse_data(&mut data);
        lines(out, &data);
    } else {
        // The other fields are escaped, so it is one line.
        out.extend_from_slice(b"data:");
        event.sse_data(out);
        out.push(b'\n');
    }
    out.push(b'\n');
}

/// Appends `id:` and an empty line, which sets the client's `lastEventId` and fires no event.
pub fn write_cursor(out: &mut Vec<u8>, id: &str) {
    line(out, b"id:", id);
    out.push(b'\n');
}

/// Appends `retry:`, how many milliseconds the client is to wait before it comes back.
pub fn write_retry(out: &mut Vec<u8>, ms: u64) {
    out.extend_from_slice(b"retry:");
    out.extend_from_slice(itoa::Buffer::new().format(ms).as_bytes());
    out.extend_from_slice(b"\n\n");
}

fn head(out: &mut Vec<u8>, id: Option<&str>, name: Option<&str>) {
    if let Some(name) = name {
        line(out, b"event:", name);
    }
    if let Some(id) = id {
        line(out, b"id:", id);
    }
}

/// A field that has to be one line.
fn line(out: &mut Vec<u8>, field: &[u8], value: &str) {
    out.extend_from_slice(field);
    let kept = out.len();
    out.extend(value.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
    if out.get(kept) == Some(&b' ') {
        out.insert(kept, b' ');
    }
    out.push(b'\n');
}

fn has_breaks(bytes: &[u8]) -> bool {
    memchr::memchr3(b'\r', b'\n', 0, bytes).is_some()
}

fn lines(out: &mut Vec<u8>, mut rest: &[u8]) {
    out.reserve(rest.len() + 8);
    data_start(out, rest);
    while let Some(at) = memchr::memchr3(b'\r', b'\n', 0, rest) {
        out.extend_from_slice(&rest[..at]);
        if rest[at] == 0 {
            out.extend_from_slice("\u{fffd}".as_bytes());
            rest = &rest[at + 1..];
            continue;
        }
        let both = rest[at..].starts_with(b"\r\n");
        rest = &rest[at + 1 + usize::from(both)..];
        out.push(b'\n');
        data_start(out, rest);
    }
    out.extend_from_slice(rest);
    out.push(b'\n');
}

fn data_start(out: &mut Vec<u8>, rest: &[u8]) {
    out.extend_from_slice(b"data:");
    if rest.first() == Some(&b' ') {
        out.push(b' ');
    }
}

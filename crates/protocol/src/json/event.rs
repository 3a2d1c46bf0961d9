//! An event's envelope.

use super::write_string;

/// An event as clients of the plain transports see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its id, `<epoch>-<seq>`; a value that moves no cursor has none.
    pub id: Option<&'a str>,
    /// The channel it was published to.
    pub channel: &'a str,
    /// Its name.
    pub event: &'a str,
    /// What it says, raw JSON: written as it is, on the caller's word that it is one well-formed value.
    pub data: &'a str,
    /// When it was published, Unix milliseconds.
    pub time: u64,
    /// Who published it; nobody for the API.
    pub user: Option<&'a str>,
}

impl Event<'_> {
    /// Appends the fields that it has, with commas between and no braces around, in the order of the struct.
    pub fn write_fields(&self, out: &mut Vec<u8>, with_id: bool) {
        let texts = self.channel.len() + self.event.len() + self.data.len();
        out.reserve(texts + self.id.map_or(0, str::len) + self.user.map_or(0, str::len) + 80);
        if let Some(id) = self.id.filter(|_| with_id) {
            out.extend_from_slice(br#""id":"#);
            write_string(out, id);
            out.push(b',');
        }
        out.extend_from_slice(br#""channel":"#);
        write_string(out, self.channel);
        out.extend_from_slice(br#","event":"#);
        write_string(out, self.event);
        out.extend_from_slice(br#","data":"#);
        out.extend_from_slice(self.data.as_bytes());
        out.extend_from_slice(br#","time":"#);
        out.extend_from_slice(itoa::Buffer::new().format(self.time).as_bytes());
        if let Some(user) = self.user {
            out.extend_from_slice(br#","user":"#);
            write_string(out, user);
        }
    }

    /// Appends the message of a plain WebSocket: `{"type":"event","id":…,"channel":…,"event":…,"data":…,"time":…,"user":…}`.
    pub fn ws_event(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"type":"event","#);
        self.write_fields(out, true);
        out.push(b'}');
    }

    /// Appends the event as polls and history have it, one object with its id.
    pub fn poll_event(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        self.write_fields(out, true);
        out.push(b'}');
    }

    /// Appends the event as server-sent events have it in `data:`, one object without the id, which has a field of its
    /// own there. See [`sse::write_message`](crate::sse::write_message) for all of it.
    pub fn sse_data(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        self.write_fields(out, false);
        out.push(b'}');
    }
}

/// Appends `{"channels":[…],"next":…}`: in these channels something is gone that a client should have had, and what comes
/// begins behind `next`.
///
/// ```
/// let mut out = Vec::new();
/// tidings_protocol::json::write_gap(&mut out, &["a"], "k3v9x1qa-0");
/// assert_eq!(out, br#"{"channels":["a"],"next":"k3v9x1qa-0"}"#);
/// ```
pub fn write_gap(out: &mut Vec<u8>, channels: &[&str], next: &str) {
    out.push(b'{');
    gap_fields(out, channels, next);
    out.push(b'}');
}

/// The same without the braces.
pub(crate) fn gap_fields(out: &mut Vec<u8>, channels: &[&str], next: &str) {
    out.extend_from_slice(br#""channels":["#);
    for (index, channel) in channels.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(out, channel);
    }
    out.extend_from_slice(br#"],"next":"#);
    write_string(out, next);
}

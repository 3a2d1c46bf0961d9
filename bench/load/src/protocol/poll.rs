//! Long polling: a request that is answered when there is something, and then the next, on a connection that stays open.
//! Who publishes does so on a WebSocket of the same server.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use super::tidings::{BEFORE_DATA, channel};
use super::{Heard, Listener, Place, Protocol, Speaker, Transport, bare, tidings};
use crate::http;
use crate::note::position;

/// Tidings' `/poll`: an answer has all that there is.
pub(crate) struct TidingsPoll;

/// Nchan's long-poll subscribers: an answer has one event.
pub(crate) struct NchanPoll;

impl Protocol for TidingsPoll {
    fn transport(&self) -> Transport {
        Transport::Poll
    }

    fn member(&self, place: Place) -> Box<dyn Speaker> {
        Box::new(TidingsPoller {
            address: place.address,
            channel: channel(place),
            data_bytes: place.data_bytes,
            since: None,
        })
    }

    fn publisher(&self, place: Place) -> Option<Box<dyn Speaker>> {
        Some(tidings::publisher(place))
    }
}

impl Protocol for NchanPoll {
    fn transport(&self) -> Transport {
        Transport::Poll
    }

    fn member(&self, place: Place) -> Box<dyn Speaker> {
        Box::new(NchanPoller {
            address: place.address,
            room: place.room,
        })
    }

    fn publisher(&self, place: Place) -> Option<Box<dyn Speaker>> {
        Some(bare::nchan_publisher(place))
    }
}

struct TidingsPoller {
    address: SocketAddr,
    channel: String,
    data_bytes: usize,
    /// The cursor; none before the first answer, which only tells it.
    since: Option<String>,
}

impl TidingsPoller {
    fn request(&self, out: &mut Vec<u8>) {
        let since = self.since.as_ref().map_or(String::new(), |id| format!("&since={id}"));
        let request = format!(
            "GET /poll?channel={}{since} HTTP/1.1\r\nHost: {}\r\n\r\n",
            self.channel, self.address
        );
        out.extend(request.bytes());
    }
}

impl Speaker for TidingsPoller {
    fn begin(&mut self, out: &mut Vec<u8>, _: &mut Listener<'_>) {
        self.request(out);
    }

    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>, listener: &mut Listener<'_>) -> Result<usize> {
        const BEFORE_NEXT: &[u8] = br#""next":""#;
        let Some((head, body)) = http::answer(bytes)? else {
            return Ok(0);
        };
        ensure!(
            head.status == 200 && position(body, br#","gap":false,"#).is_some(),
            "a poll was answered {} {:?}",
            head.status,
            String::from_utf8_lossy(body)
        );
        let mut rest = body;
        while let Some(at) = position(rest, BEFORE_DATA) {
            let (data, after) = rest[at + BEFORE_DATA.len()..]
                .split_at_checked(self.data_bytes)
                .unwrap_or((rest, &[]));
            listener(Heard::Event(data));
            rest = after;
        }
        // Behind the events.
        let next = body.windows(BEFORE_NEXT.len()).rposition(|part| part == BEFORE_NEXT);
        let next = &body[next.context("a poll without a cursor")? + BEFORE_NEXT.len()..];
        let next = next.split(|byte| *byte == b'"').next().unwrap_or_default();
        if self.since.is_none() {
            listener(Heard::Entered);
        }
        self.since = Some(String::from_utf8(next.to_vec())?);
        self.request(out);
        Ok(head.bytes + body.len())
    }

    fn say(&mut self, _: &[u8], _: &mut Vec<u8>) {
        unreachable!("members that poll only listen");
    }
}

struct NchanPoller {
    address: SocketAddr,
    room: usize,
}

impl NchanPoller {
    fn request(&self, cursor: &str, out: &mut Vec<u8>) {
        let request = format!(
            "GET /poll/{} HTTP/1.1\r\nHost: {}\r\n{cursor}\r\n",
            self.room, self.address
        );
        out.extend(request.bytes());
    }
}

impl Speaker for NchanPoller {
    fn begin(&mut self, out: &mut Vec<u8>, listener: &mut Listener<'_>) {
        self.request("", out);
        // There is no answer before the first event.
        listener(Heard::Entered);
    }

    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>, listener: &mut Listener<'_>) -> Result<usize> {
        let Some((head, body)) = http::answer(bytes)? else {
            return Ok(0);
        };
        ensure!(head.status == 200, "a poll was answered {}", head.status);
        listener(Heard::Event(body));
        let header = |name| http::header(&bytes[..head.bytes], name).context("a poll without a cursor");
        let cursor = format!(
            "If-Modified-Since: {}\r\nIf-None-Match: {}\r\n",
            header("last-modified")?,
            header("etag")?
        );
        self.request(&cursor, out);
        Ok(head.bytes + body.len())
    }

    fn say(&mut self, _: &[u8], _: &mut Vec<u8>) {
        unreachable!("members that poll only listen");
    }
}

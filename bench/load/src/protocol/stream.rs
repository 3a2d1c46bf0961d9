//! Server-sent events. Members only listen; who publishes does so on a WebSocket of the same server.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::{Heard, Listener, Place, Protocol, Speaker, Transport, bare, tidings};
use crate::http::{self, Body};
use crate::protocol::tidings::event_data;

/// Tidings' `/sse`.
pub(crate) struct TidingsSse;

/// Nchan's EventSource subscribers.
pub(crate) struct NchanSse;

impl Protocol for TidingsSse {
    fn transport(&self) -> Transport {
        Transport::Sse
    }

    fn member(&self, place: Place) -> Box<dyn Speaker> {
        let target = format!("/sse?channel={}", tidings::channel(place));
        Box::new(EventStream::new(place, target, event_data))
    }

    fn publisher(&self, place: Place) -> Option<Box<dyn Speaker>> {
        Some(tidings::publisher(place))
    }
}

impl Protocol for NchanSse {
    fn transport(&self) -> Transport {
        Transport::Sse
    }

    fn member(&self, place: Place) -> Box<dyn Speaker> {
        let target = format!("/sse/{}", place.room);
        Box::new(EventStream::new(place, target, |line, _| line))
    }

    fn publisher(&self, place: Place) -> Option<Box<dyn Speaker>> {
        Some(bare::nchan_publisher(place))
    }
}

struct EventStream {
    address: SocketAddr,
    target: String,
    data_bytes: usize,
    /// Finds an event's data in the value of a `data:` line.
    find: fn(&[u8], usize) -> &[u8],
    /// How the body comes; none before it does.
    body: Option<Body>,
    /// What chunks have brought and no line has ended yet.
    text: Vec<u8>,
}

impl EventStream {
    fn new(place: Place, target: String, find: fn(&[u8], usize) -> &[u8]) -> Self {
        Self {
            address: place.address,
            target,
            data_bytes: place.data_bytes,
            find,
            body: None,
            text: Vec::new(),
        }
    }

    /// The whole lines of a stream.
    fn lines(&self, text: &[u8], listener: &mut Listener<'_>) -> usize {
        http::each_data(text, |value| {
            listener(Heard::Event((self.find)(value, self.data_bytes)));
        })
    }
}

impl Speaker for EventStream {
    fn begin(&mut self, out: &mut Vec<u8>, _: &mut Listener<'_>) {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\r\n",
            self.target, self.address
        );
        out.extend(request.bytes());
    }

    fn take(&mut self, bytes: &[u8], _: &mut Vec<u8>, listener: &mut Listener<'_>) -> Result<usize> {
        let mut at = 0;
        if self.body.is_none() {
            let Some(head) = http::head(bytes)? else {
                return Ok(0);
            };
            ensure!(head.status == 200, "the stream was answered {}", head.status);
            at = head.bytes;
            self.body = Some(head.body);
            listener(Heard::Entered);
        }
        if self.body != Some(Body::Chunked) {
            return Ok(at + self.lines(&bytes[at..], listener));
        }
        while let Some(chunk) = http::chunk(bytes, at)? {
            ensure!(!chunk.data.is_empty(), "the stream was ended");
            at = chunk.end;
            let data = &bytes[chunk.data];
            // Mostly a chunk is whole lines, and nothing needs to be kept.
            if self.text.is_empty() {
                let done = self.lines(data, listener);
                self.text.extend_from_slice(&data[done..]);
            } else {
                self.text.extend_from_slice(data);
                let done = self.lines(&self.text, listener);
                self.text.drain(..done);
            }
        }
        Ok(at)
    }

    fn say(&mut self, _: &[u8], _: &mut Vec<u8>) {
        unreachable!("members of a stream only listen");
    }
}

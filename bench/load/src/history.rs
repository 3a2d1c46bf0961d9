//! Reading what a channel keeps: each client asks for a page, and asks again when it has it.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use crate::broker::{API_KEY, CHANNELS, channel_name};
use crate::http;
use crate::note::{NOTE_BYTES, Note, position};
use crate::protocol::{Heard, Listener, Place, Speaker};
use crate::round::Round;
use crate::server::Server;
use crate::workload::Durations;
use crate::{question, storm};

/// Events that each channel has.
const KEPT: u64 = 1_000;
const PAGE: u64 = 50;

pub(crate) fn run(server: &mut Server, durations: Durations, clients: usize) -> Result<Round> {
    storm::publish(server.address, 0..KEPT)?;
    // From now on what it knows of them is on the disk.
    server.restart()?;
    let asker = |place: Place| -> Box<dyn Speaker> {
        Box::new(Reader {
            address: place.address,
            channel: place.room % CHANNELS,
        })
    };
    question::run(asker, server, durations, clients)
}

/// Asks for the newest page of a channel over HTTP, on a connection that stays open.
struct Reader {
    address: SocketAddr,
    channel: usize,
}

impl Speaker for Reader {
    fn begin(&mut self, _: &mut Vec<u8>, listener: &mut Listener<'_>) {
        listener(Heard::Entered);
    }

    fn take(&mut self, bytes: &[u8], _: &mut Vec<u8>, listener: &mut Listener<'_>) -> Result<usize> {
        const BEFORE_DATA: &[u8] = br#""data":"#;
        let Some((head, body)) = http::answer(bytes)? else {
            return Ok(0);
        };
        ensure!(head.status == 200, "a page was answered {}", head.status);
        let (mut rest, mut next) = (body, KEPT - PAGE);
        while let Some(at) = position(rest, BEFORE_DATA) {
            let data = rest.get(at + BEFORE_DATA.len()..at + BEFORE_DATA.len() + NOTE_BYTES);
            let note = data.and_then(Note::decode);
            let expected = note.is_some_and(|note| note.seq == next && note.lane as usize == self.channel);
            ensure!(expected, "a page has {note:?} where event {next} should be");
            rest = &rest[at + BEFORE_DATA.len() + NOTE_BYTES..];
            next += 1;
        }
        ensure!(next == KEPT, "a page ends before event {next}");
        listener(Heard::Answer(None));
        Ok(head.bytes + body.len())
    }

    fn say(&mut self, _: &[u8], out: &mut Vec<u8>) {
        let request = format!(
            "GET /api/v1/channels/{}/history?limit={PAGE} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {API_KEY}\r\n\r\n",
            channel_name(self.channel),
            self.address
        );
        out.extend(request.bytes());
    }
}

//! Nchan: publishes over HTTP, subscribers on WebSocket.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::{Broker, Publisher, Subscriber};
use crate::http;
use crate::link::Link;
use crate::note::NOTE_BYTES;
use crate::protocol::{self, Heard, NchanWs, Place, Protocol, Speaker};

/// Room for an upgrade's answer.
const SCRATCH_BYTES: usize = 4096;

/// A POST to the channel's address, one at a time on each connection, as HTTP clients do.
pub(crate) struct NchanApi;

impl Broker for NchanApi {
    fn pipelines(&self) -> bool {
        false
    }

    fn prepare(&self, _: SocketAddr) -> Result<()> {
        Ok(())
    }

    fn publisher(&self, address: SocketAddr) -> Result<(Link, Box<dyn Publisher>)> {
        Ok((Link::connect(address)?, Box::new(Post { address, ticket: 0 })))
    }

    fn subscriber(&self, address: SocketAddr, channel: usize, _: usize) -> Result<(Link, Box<dyn Subscriber>)> {
        // Its channels are numbers like the rooms.
        let mut speaker = NchanWs.member(Place {
            address,
            room: channel,
            data_bytes: NOTE_BYTES,
            channels: 1,
        });
        let link = protocol::enter(Link::connect(address)?, &mut *speaker, &mut [0; SCRATCH_BYTES])?;
        Ok((link, Box::new(Listening(speaker))))
    }
}

struct Post {
    address: SocketAddr,
    /// Of the one publish in flight.
    ticket: u64,
}

impl Publisher for Post {
    fn publish(&mut self, out: &mut Vec<u8>, ticket: u64, channel: usize, data: &[u8]) {
        self.ticket = ticket;
        let head = format!(
            "POST /publish/{channel} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.address,
            data.len()
        );
        out.extend(head.bytes());
        out.extend(data);
    }

    fn take(&mut self, bytes: &[u8], _: &mut Vec<u8>, on_answer: &mut dyn FnMut(u64)) -> Result<usize> {
        let Some((head, body)) = http::answer(bytes)? else {
            return Ok(0);
        };
        // 201 where somebody listens.
        ensure!(
            matches!(head.status, 201 | 202),
            "a publish was answered {}",
            head.status
        );
        on_answer(self.ticket);
        Ok(head.bytes + body.len())
    }
}

struct Listening(Box<dyn Speaker>);

impl Subscriber for Listening {
    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>, on_data: &mut dyn FnMut(&[u8])) -> Result<usize> {
        self.0.take(bytes, out, &mut |heard| match heard {
            Heard::Event(data) => on_data(data),
            // Not a note, and counted as such.
            _ => on_data(b""),
        })
    }
}

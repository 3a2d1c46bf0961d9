//! One Socket.IO client on WebSocket: connects, reads what came, answers pings.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::frame::{Opcode, client_frame, next_frame};
use crate::http;

/// A handshake that takes longer has failed.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// A connection in the room.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// The bytes of a frame that has not arrived whole; mostly empty.
    partial: Vec<u8>,
}

impl Client {
    /// Upgrades, sends Socket.IO's CONNECT and waits for the answer; from then on the socket does not block.
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect(address).context("connecting")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(CONNECT_WAIT))?;
        let request = http::upgrade(address, "/socket.io/?EIO=4&transport=websocket");
        stream.write_all(request.as_bytes())?;

        let mut bytes = Vec::new();
        let head_bytes = loop {
            receive(&mut stream, &mut bytes)?;
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
        };
        ensure!(
            bytes.starts_with(b"HTTP/1.1 101 "),
            "the upgrade was answered {:?}",
            String::from_utf8_lossy(&bytes[..head_bytes])
        );
        bytes.drain(..head_bytes);

        // Engine.IO `open`, then Socket.IO's CONNECT and its answer.
        expect_packet(&mut stream, &mut bytes, b"0{")?;
        stream.write_all(&client_frame(Opcode::Text, b"40"))?;
        expect_packet(&mut stream, &mut bytes, b"40{")?;

        // A ping may have come along; it wants its answer now, not with the next read.
        let mut messages = 0;
        let (taken, open) = parse(&mut stream, &bytes, &mut |_| messages += 1)?;
        ensure!(open && messages == 0, "more than a handshake came");
        bytes.drain(..taken);

        stream.set_nonblocking(true)?;
        Ok(Self { stream, partial: bytes })
    }

    /// Sends packets in one write.
    ///
    /// # Errors
    /// When the server takes nothing more: the load is then not what the table says.
    pub(crate) fn send(&mut self, packets: &[Vec<u8>]) -> Result<()> {
        let bytes: Vec<u8> = packets
            .iter()
            .flat_map(|packet| client_frame(Opcode::Text, packet))
            .collect();
        self.stream.write_all(&bytes).context("the server stopped reading")
    }

    /// One read; gives each message that is now whole to `on_message` and answers pings. False when the server has
    /// closed the connection.
    pub(crate) fn read(&mut self, scratch: &mut [u8], mut on_message: impl FnMut(&[u8])) -> Result<bool> {
        let count = match self.stream.read(scratch) {
            Ok(0) => return Ok(false),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if self.partial.is_empty() {
            let (taken, open) = parse(&mut self.stream, &scratch[..count], &mut on_message)?;
            self.partial.extend_from_slice(&scratch[taken..count]);
            return Ok(open);
        }
        self.partial.extend_from_slice(&scratch[..count]);
        let (taken, open) = parse(&mut self.stream, &self.partial, &mut on_message)?;
        self.partial.drain(..taken);
        Ok(open)
    }
}

/// Goes through the whole frames in `bytes`: how many bytes they are, and false after a close frame.
fn parse(stream: &mut TcpStream, bytes: &[u8], on_message: &mut impl FnMut(&[u8])) -> Result<(usize, bool)> {
    let mut at = 0;
    while let Some(frame) = next_frame(bytes, at)? {
        at = frame.payload.end;
        let payload = &bytes[frame.payload];
        match frame.opcode {
            Opcode::Text if payload == b"2" => {
                stream.write_all(&client_frame(Opcode::Text, b"3"))?;
            }
            Opcode::Text => on_message(payload),
            Opcode::Ping => stream.write_all(&client_frame(Opcode::Pong, payload))?,
            Opcode::Pong => {}
            Opcode::Close => return Ok((at, false)),
        }
    }
    Ok((at, true))
}

fn receive(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<()> {
    let mut chunk = [0; 4096];
    let count = stream.read(&mut chunk).context("in the handshake")?;
    ensure!(count > 0, "the server closed in the handshake");
    bytes.extend_from_slice(&chunk[..count]);
    Ok(())
}

/// Takes one packet off the stream, which must begin with `prefix`.
fn expect_packet(stream: &mut TcpStream, bytes: &mut Vec<u8>, prefix: &[u8]) -> Result<()> {
    let deadline = Instant::now() + CONNECT_WAIT;
    while Instant::now() < deadline {
        if let Some(frame) = next_frame(bytes, 0)? {
            let payload = &bytes[frame.payload.clone()];
            // Some servers ping at once.
            let ping = payload == b"2";
            ensure!(
                ping || frame.opcode == Opcode::Text && payload.starts_with(prefix),
                "got {:?} in the handshake",
                String::from_utf8_lossy(payload)
            );
            bytes.drain(..frame.payload.end);
            if !ping {
                return Ok(());
            }
            stream.write_all(&client_frame(Opcode::Text, b"3"))?;
            continue;
        }
        receive(stream, bytes)?;
    }
    bail!("the handshake took too long")
}

//! A TCP connection whose bytes are taken in whole messages.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};

/// A handshake or a single question that takes longer has failed.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// What a narrow connection buffers: two of the largest events.
const NARROW_BYTES: usize = 128 * 1024;

/// A connection, blocking until it is told otherwise.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) stream: TcpStream,
    /// The bytes of a message that has not arrived whole; mostly empty.
    partial: Vec<u8>,
}

impl Link {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).context("connecting")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WAIT))?;
        Ok(Self::of(stream))
    }

    /// From now on it takes in little when it isn't read, where the kernel would let it have megabytes.
    pub(crate) fn narrow(&self) -> Result<()> {
        Ok(setsockopt(&self.stream, sockopt::RcvBuf, &NARROW_BYTES)?)
    }

    /// On a socket that is set up as it shall be.
    pub(crate) fn of(stream: TcpStream) -> Self {
        Self {
            stream,
            partial: Vec::new(),
        }
    }

    /// Writes, and reads until `take` has found its answer, and how many bytes that is, in what has come.
    pub(crate) fn ask<T>(
        &mut self,
        question: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<Option<(usize, T)>>,
    ) -> Result<T> {
        self.send(question)?;
        loop {
            if let Some((taken, answer)) = take(&self.partial)? {
                self.partial.drain(..taken);
                return Ok(answer);
            }
            let mut chunk = [0; 4096];
            let count = self.stream.read(&mut chunk).context("waiting for an answer")?;
            ensure!(count > 0, "the server closed instead of answering");
            self.partial.extend_from_slice(&chunk[..count]);
        }
    }

    /// From now on neither reads nor writes wait.
    pub(crate) fn stop_waiting(&mut self) -> Result<()> {
        Ok(self.stream.set_nonblocking(true)?)
    }

    /// # Errors
    /// When the server takes nothing more: the load is then not what the table says.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("the server stopped reading")
    }

    /// One read. `take` is given all that has come and says how many bytes of it were whole messages. False when the
    /// server has closed the connection.
    pub(crate) fn read(&mut self, scratch: &mut [u8], mut take: impl FnMut(&[u8]) -> Result<usize>) -> Result<bool> {
        let count = match self.stream.read(scratch) {
            Ok(0) => return Ok(false),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if self.partial.is_empty() {
            let taken = take(&scratch[..count])?;
            self.partial.extend_from_slice(&scratch[taken..count]);
        } else {
            self.partial.extend_from_slice(&scratch[..count]);
            let taken = take(&self.partial)?;
            self.partial.drain(..taken);
        }
        Ok(true)
    }
}

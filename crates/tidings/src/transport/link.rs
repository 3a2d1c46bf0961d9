//! The byte stream under a WebSocket: a TCP socket where it can be had, anything else in a box.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A stream that is no bare TCP socket: TLS, a Unix socket, a test's pipe.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) enum Link {
    Tcp(TcpStream),
    Boxed(Box<dyn Stream>),
}

/// A stream on its way to the shard that will own it.
pub(crate) struct NewLink {
    pub(crate) stream: NewStream,
    /// The head of the answer that it begins with, if that is still to be written: before all else.
    pub(crate) head: Bytes,
    /// What was read of it already.
    pub(crate) early: Bytes,
}

impl NewLink {
    /// Of a connection whose answer has a head already.
    pub(crate) fn new(stream: NewStream, early: Bytes) -> Self {
        Self {
            stream,
            head: Bytes::new(),
            early,
        }
    }
}

pub(crate) enum NewStream {
    /// Taken off the reactor of the thread that accepted it.
    Tcp(std::net::TcpStream),
    Boxed(Box<dyn Stream>),
}

impl NewStream {
    /// Says a first thing before any reactor knows of the stream: so little that the kernel's buffer takes it, where nothing lies there. Who
    /// does not get it finds the connection closed.
    pub(crate) fn begin_with(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        match self {
            NewStream::Tcp(stream) => stream.write_all(bytes),
            NewStream::Boxed(stream) => {
                let mut cx = Context::from_waker(Waker::noop());
                let written = Pin::new(&mut *stream).poll_write(&mut cx, bytes);
                let is_written = matches!(written, Poll::Ready(Ok(count)) if count == bytes.len());
                match Pin::new(stream).poll_flush(&mut cx) {
                    Poll::Ready(flushed) if is_written => flushed,
                    _ => Err(io::ErrorKind::WriteZero.into()),
                }
            }
        }
    }

    /// The same, and that it is the last.
    pub(crate) fn end_with(mut self, bytes: &[u8]) {
        if self.begin_with(bytes).is_err() {
            return;
        }
        match self {
            NewStream::Tcp(stream) => drop(stream.shutdown(std::net::Shutdown::Write)),
            NewStream::Boxed(mut stream) => {
                let mut cx = Context::from_waker(Waker::noop());
                let _ = Pin::new(&mut stream).poll_shutdown(&mut cx);
            }
        }
    }

    /// Registers it with the reactor of this thread.
    pub(crate) fn into_link(self) -> io::Result<Link> {
        match self {
            NewStream::Tcp(stream) => Ok(Link::Tcp(TcpStream::from_std(stream)?)),
            NewStream::Boxed(stream) => Ok(Link::Boxed(stream)),
        }
    }
}

impl Link {
    /// Reads into `buffer`; 0 is the end.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        let read = match self {
            Link::Tcp(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            Link::Boxed(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
        };
        read.map_ok(|()| buffer.filled().len())
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Link::Tcp(stream) => match direct::write(stream, bytes) {
                Poll::Pending => Pin::new(stream).poll_write(cx, bytes),
                written => written,
            },
            Link::Boxed(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    pub(crate) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Link::Tcp(stream) => match direct::write_vectored(stream, slices) {
                Poll::Pending => Pin::new(stream).poll_write_vectored(cx, slices),
                written => written,
            },
            Link::Boxed(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    /// Whatever buffers there are under a boxed stream.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Link::Tcp(_) => Poll::Ready(Ok(())),
            Link::Boxed(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Link::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Link::Boxed(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Writes without asking the reactor first, whose own state of a socket is in none of the processor's caches when a fan-out comes to it.
/// Pending where it has to be asked.
#[cfg(target_os = "linux")]
mod direct {
    use super::*;
    use rustix::io::Errno;
    use rustix::net::{self, SendAncillaryBuffer, SendFlags};

    pub(super) fn write(stream: &TcpStream, bytes: &[u8]) -> Poll<io::Result<usize>> {
        outcome(net::send(stream, bytes, SendFlags::NOSIGNAL))
    }

    pub(super) fn write_vectored(stream: &TcpStream, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut nothing = SendAncillaryBuffer::default();
        outcome(net::sendmsg(stream, slices, &mut nothing, SendFlags::NOSIGNAL))
    }

    fn outcome(sent: rustix::io::Result<usize>) -> Poll<io::Result<usize>> {
        match sent {
            Err(Errno::AGAIN | Errno::INTR) => Poll::Pending,
            sent => Poll::Ready(sent.map_err(io::Error::from)),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod direct {
    use super::*;

    pub(super) fn write(_: &TcpStream, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    pub(super) fn write_vectored(_: &TcpStream, _: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }
}

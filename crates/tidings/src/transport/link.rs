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

/// A stream on its way to the shard that will own it, with the bytes that were read of it already.
pub(crate) struct NewLink {
    pub(crate) stream: NewStream,
    pub(crate) early: Bytes,
}

pub(crate) enum NewStream {
    /// Taken off the reactor of the thread that accepted it.
    Tcp(std::net::TcpStream),
    Boxed(Box<dyn Stream>),
}

impl NewStream {
    /// Says a last thing, and that it is the last, before any reactor knows of the stream: so little that the kernel's buffer of
    /// a new socket takes it. Who does not get it finds the connection closed.
    pub(crate) fn end_with(mut self, bytes: &[u8]) {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = match &mut self {
            NewStream::Tcp(stream) => {
                stream.write_all(bytes).is_ok() && stream.shutdown(std::net::Shutdown::Write).is_ok()
            }
            NewStream::Boxed(stream) => {
                Pin::new(&mut *stream).poll_write(&mut cx, bytes).is_ready()
                    && Pin::new(stream).poll_shutdown(&mut cx).is_ready()
            }
        };
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
            Link::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Link::Boxed(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    pub(crate) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Link::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
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

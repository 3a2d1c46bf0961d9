//! A client's byte stream, as hyper gets it and as a WebSocket takes it back.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::flow::{Count, Counted, Flow};
use crate::transport::link::{NewLink, NewStream};

/// What a client of HTTP/2 begins with (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// So much is read at first: most requests are smaller, and then hyper has no need to read.
const FIRST_READ_BYTES: usize = 2 << 10;

/// So much of what a client says is kept while it waits for an answer, in bytes.
const EARLY_BYTES_MAX: usize = 1 << 10;

/// What a client of TLS begins with: a record that holds a handshake (RFC 8446, section 5.1).
pub(crate) const TLS_RECORD: u8 = 22;

pub(crate) enum Stream {
    Tcp {
        tcp: Socket,
        early: Bytes,
    },
    /// TLS, or a Unix socket.
    Boxed {
        stream: Box<dyn crate::transport::link::Stream>,
        early: Bytes,
    },
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
    /// TLS, and here is none, or none within.
    Tls,
}

macro_rules! inner {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut *$self {
            Stream::Tcp { tcp: $stream, .. } => $call,
            Stream::Boxed { stream: $stream, .. } => $call,
        }
    };
}

impl Stream {
    pub(crate) fn tcp(tcp: Socket) -> Self {
        Stream::Tcp {
            tcp,
            early: Bytes::new(),
        }
    }

    #[cfg(any(feature = "tls", unix))]
    pub(crate) fn boxed(stream: impl crate::transport::link::Stream + 'static) -> Self {
        Stream::Boxed {
            stream: Box::new(stream),
            early: Bytes::new(),
        }
    }

    /// Waits for the first bytes and tells by them what the client speaks. They are not lost.
    pub(crate) async fn protocol(&mut self) -> io::Result<Protocol> {
        let mut said = Bytes::new();
        let protocol = loop {
            let more = self.some().await?;
            match (said.is_empty(), more.is_empty()) {
                (true, true) => return Err(io::ErrorKind::UnexpectedEof.into()),
                (false, true) => break Protocol::Http1,
                _ => said = joined(said, more),
            }
            let compared = said.len().min(HTTP2_PREFACE.len());
            if said[0] == TLS_RECORD {
                break Protocol::Tls;
            }
            if said[..compared] != HTTP2_PREFACE[..compared] {
                break Protocol::Http1;
            }
            if compared == HTTP2_PREFACE.len() {
                break Protocol::Http2;
            }
        };
        *self.early() = said;
        Ok(protocol)
    }

    /// What the client says next, up to what a usual request has; nothing at its end.
    async fn some(&mut self) -> io::Result<Bytes> {
        poll_fn(|cx| {
            let mut bytes = [MaybeUninit::uninit(); FIRST_READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut bytes);
            ready!(Pin::new(&mut *self).poll_read(cx, &mut buffer))?;
            Poll::Ready(Ok(Bytes::copy_from_slice(buffer.filled())))
        })
        .await
    }

    fn early(&mut self) -> &mut Bytes {
        match self {
            Stream::Tcp { early, .. } => early,
            Stream::Boxed { early, .. } => early,
        }
    }

    /// Puts bytes back, before all that is read.
    pub(crate) fn unread(&mut self, bytes: &[u8]) {
        let early = self.early();
        if !bytes.is_empty() {
            *early = [bytes, early].concat().into();
        }
    }

    /// Waits for the client's end. What it says until then is kept; the more it says, the less it can go unnoticed.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 256];
        while self.early().len() < EARLY_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = inner!(self, stream => Pin::new(stream).poll_read(cx, &mut buffer));
            match (ready!(read), buffer.filled()) {
                (Err(_), _) | (Ok(()), []) => return Poll::Ready(()),
                (Ok(()), read) => *self.early() = [self.early(), read].concat().into(),
            }
        }
        Poll::Pending
    }

    /// The stream for a WebSocket, after `read`, what hyper has read beyond the request: the bare TCP socket where there
    /// is one. None when the socket is gone.
    pub(crate) fn into_link(self, read: Bytes) -> Option<NewLink> {
        match self {
            Stream::Tcp { tcp, early } => {
                let stream = tcp.stream.into_std().ok()?;
                Some(NewLink::new(NewStream::Tcp(stream), joined(read, early)))
            }
            Stream::Boxed { stream, early } => Some(NewLink::new(NewStream::Boxed(stream), joined(read, early))),
        }
    }
}

fn joined(first: Bytes, second: Bytes) -> Bytes {
    match (first.is_empty(), second.is_empty()) {
        (_, true) => first,
        (true, _) => second,
        _ => [first, second].concat().into(),
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let early = self.early();
        if !early.is_empty() {
            let count = early.len().min(buffer.remaining());
            buffer.put_slice(&early[..count]);
            early.advance(count);
            if early.is_empty() {
                *early = Bytes::new(); // gives the allocation back
            }
            return Poll::Ready(Ok(()));
        }
        inner!(self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        inner!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        inner!(self, stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Tcp { tcp, .. } => tcp.is_write_vectored(),
            Stream::Boxed { stream, .. } => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

/// A socket, of TCP if nothing else is said, that tells the [`Flow`] when the client takes no more.
pub(crate) struct Socket<S = TcpStream> {
    stream: S,
    flow: Arc<Flow>,
    blocked: Option<Counted>,
}

impl<S> Socket<S> {
    pub(crate) fn new(stream: S, flow: &Arc<Flow>) -> Self {
        Self {
            stream,
            flow: Arc::clone(flow),
            blocked: None,
        }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn bare(&mut self) -> &mut S {
        &mut self.stream
    }

    fn note(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            self.blocked
                .get_or_insert_with(|| Counted::new(&self.flow, Count::Sending));
        }
        let written = ready!(written);
        self.flow.note_movement();
        self.blocked = None;
        Poll::Ready(written)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

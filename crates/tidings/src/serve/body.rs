//! Bodies that tell whether the client keeps up: with sending a request's, with taking an answer's.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use bytes::{Buf, Bytes};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use super::flow::{Count, Counted, Flow};

/// A request's body. It fails when the client sends nothing for too long while it is waited for.
pub(crate) struct RequestBody {
    incoming: Incoming,
    flow: Arc<Flow>,
    stall: Duration,
    waiting: Option<(Counted, Pin<Box<Sleep>>)>,
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming, flow: &Arc<Flow>, stall: Duration) -> Self {
        Self {
            incoming,
            flow: Arc::clone(flow),
            stall,
            waiting: None,
        }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) {
            if this.waiting.take().is_some() {
                this.flow.note_movement();
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let (_, sleep) = this.waiting.get_or_insert_with(|| {
            (
                Counted::new(&this.flow, Count::Receiving),
                Box::pin(tokio::time::sleep(this.stall)),
            )
        });
        sleep.as_mut().poll(cx).map(|()| {
            let error = io::Error::new(
                io::ErrorKind::TimedOut,
                "the client sends its request's body no further",
            );
            Some(Err(error.into()))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// An answer's body. Over HTTP/2 a client can read the socket and still take nothing of a stream, so what hyper has of
/// the body counts until it is sent; over HTTP/1.1 the socket tells enough.
pub(crate) struct AnswerBody {
    body: Body,
    /// None where the exchange is over but for these bytes.
    exchange: Option<Counted>,
    is_multiplexed: bool,
}

impl AnswerBody {
    pub(crate) fn new(body: Body, exchange: Option<Counted>, is_multiplexed: bool) -> Self {
        Self {
            body,
            exchange,
            is_multiplexed,
        }
    }
}

impl HttpBody for AnswerBody {
    type Data = Sending;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Sending>, axum::Error>>> {
        let this = &mut *self;
        let exchange = this.exchange.as_ref().filter(|_| this.is_multiplexed);
        let sending = |bytes| Sending {
            bytes,
            counted: exchange.map(|exchange| Counted::new(exchange.flow(), Count::Sending)),
        };
        Pin::new(&mut this.body)
            .poll_frame(cx)
            .map(|frame| frame.map(|frame| frame.map(|frame| frame.map_data(sending))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        HttpBody::size_hint(&self.body)
    }
}

/// Bytes on their way to the client.
pub(crate) struct Sending {
    bytes: Bytes,
    counted: Option<Counted>,
}

impl Buf for Sending {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(counted) = &self.counted {
            counted.flow().note_movement();
        }
    }
}

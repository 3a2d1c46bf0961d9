//! Taking a connection back from hyper, whose buffers and state are many times what a client needs that only waits.
//!
//! An answer that goes on until its connection ends, as of server-sent events, gets the byte stream for itself: what is
//! written there is its body. So does a 101, before it is sent: it leaves with the WebSocket's first
//! message. A request that waits for long is answered outside of hyper; a new one writes the answer and goes on with what
//! the client asks next. HTTP/1.1 only: over HTTP/2 others share the connection.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{FutureExt as _, stream};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Collected};
use hyper::body::{Body as _, Incoming};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep};

use super::body::AnswerBody;
use super::connection::{Answer, Outcome};
use super::flow::{Count, Flow};
use crate::transport::link::NewLink;
use crate::transport::websocket::{Begin, Upgrade};

/// So long a request that waits stays with hyper where the last that was taken from it was answered as soon: where events are many,
/// a new one for each would cost more than it saves.
const PATIENCE: Duration = Duration::from_millis(50);

/// The same where that took longer, or there was none: of many that come at once, few are with hyper at a time.
const PATIENCE_AT_FIRST: Duration = Duration::from_millis(5);

/// In an answer's extensions: what makes the byte stream, with the answer's head, its body. Where that can't be had, the body that it has is sent.
#[derive(Clone)]
pub(crate) struct Streams(Arc<Mutex<Option<Begin>>>);

impl Streams {
    pub(crate) fn new(begin: impl FnOnce(NewLink) + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(begin)))))
    }
}

/// How a handler says that its request is going to wait for long. It had better let go of the request first: its headers keep
/// hyper's buffer alive.
pub(crate) struct Waiting(Option<Arc<Slot>>);

/// In a request's extensions: where what becomes of its connection goes.
#[derive(Clone)]
pub(crate) struct Upgrades {
    slot: Arc<Slot>,
    /// Which of the connection's requests it is.
    request: u64,
}

impl Upgrades {
    /// Does nothing for a request that is answered already.
    pub(crate) fn set(&self, upgrade: Upgrade) {
        let mut current = self.slot.upgrade.lock();
        if current.request == self.request {
            current.upgrade = Some(upgrade);
        }
    }
}

/// In an answer's extensions: its body is going to take long, and its head can wait for it.
#[derive(Clone, Copy)]
struct BodyWaits;

impl Waiting {
    /// For the request whose extensions these are.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        Self(extensions.get().map(|Upgrades { slot, .. }| Arc::clone(slot)))
    }

    /// The answer is going to take long.
    pub(crate) fn note(&self) {
        if let Some(slot) = &self.0 {
            slot.waits.store(true, Ordering::Release);
        }
    }

    /// An answer whose body is going to take long. That is lighter, since nothing of what the answer goes through waits with it, and costs that
    /// its head is decided.
    pub(crate) async fn for_body<F>(&self, mut head: Response<()>, body: F) -> Response<Body>
    where
        F: Future<Output = Bytes> + Send + 'static,
    {
        if self.0.is_none() {
            let body = body.await;
            return head.map(|()| Body::from(body));
        }
        head.extensions_mut().insert(BodyWaits);
        head.map(|()| Body::from_stream(stream::once(body.map(Ok::<_, Infallible>))))
    }
}

/// What a connection goes on with instead of hyper.
pub(super) enum Taken {
    Stream {
        begin: Begin,
        head: Bytes,
        /// Of an event stream, to which it tells that the client is gone when it is dropped before the stream has begun.
        body: AnswerBody,
    },
    Wait {
        answer: Answer,
        since: Instant,
        /// What hyper is to read for the request, so that it writes the answer.
        stand_in: &'static [u8],
    },
}

/// Where a connection finds what it is to go on with.
pub(super) struct Slot {
    patience: Duration,
    /// The request under way is going to wait for long.
    waits: AtomicBool,
    upgrade: Mutex<Current>,
    taken: Mutex<Option<Taken>>,
}

/// The request under way.
#[derive(Default)]
struct Current {
    /// Counts requests and answers.
    request: u64,
    /// Its answer, if that is a 101, makes a WebSocket of the connection.
    upgrade: Option<Upgrade>,
}

impl Slot {
    /// After a request that was taken from hyper and answered after so long, if one was.
    pub(super) fn new(waited: Option<Duration>) -> Arc<Self> {
        let was_short = waited.is_some_and(|waited| waited < PATIENCE);
        Arc::new(Self {
            patience: if was_short { PATIENCE } else { PATIENCE_AT_FIRST },
            waits: AtomicBool::new(false),
            upgrade: Mutex::default(),
            taken: Mutex::default(),
        })
    }

    /// Another request, or none: what the one before has left is of no use.
    fn next(&self) -> (u64, Option<Upgrade>) {
        let mut current = self.upgrade.lock();
        current.request += 1;
        (current.request, current.upgrade.take())
    }

    pub(super) fn take(&self) -> Option<Taken> {
        self.taken.lock().take()
    }
}

/// What hyper waits for: an answer, for as long as it is not taken over.
pub(super) struct UnderHyper {
    answer: Option<Answer>,
    /// None where hyper has to go on: a body would have to be read, or nobody expects one.
    slot: Option<Arc<Slot>>,
    flow: Arc<Flow>,
    stand_in: &'static [u8],
    /// Runs once the answer is known to take long.
    patience: Option<Pin<Box<Sleep>>>,
}

impl UnderHyper {
    /// For the stand-in of a request.
    pub(super) fn answered(response: Response<AnswerBody>, flow: &Arc<Flow>) -> Self {
        Self {
            answer: Some(Box::pin(ready(Ok(response)))),
            slot: None,
            flow: Arc::clone(flow),
            stand_in: &[],
            patience: None,
        }
    }

    pub(super) fn new(
        mut request: Request<Incoming>,
        slot: &Arc<Slot>,
        flow: &Arc<Flow>,
        answer: impl FnOnce(Request<Incoming>) -> Answer,
    ) -> Self {
        let can_be_taken = request.method() == Method::GET && request.body().is_end_stream();
        let slot = can_be_taken.then(|| {
            slot.waits.store(false, Ordering::Release);
            let upgrades = Upgrades {
                slot: Arc::clone(slot),
                request: slot.next().0,
            };
            request.extensions_mut().insert(upgrades);
            Arc::clone(slot)
        });
        Self {
            stand_in: stand_in(&request),
            answer: Some(answer(request)),
            slot,
            flow: Arc::clone(flow),
            patience: None,
        }
    }
}

impl Future for UnderHyper {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let this = &mut *self;
        loop {
            let Some(answer) = &mut this.answer else {
                return Poll::Pending; // it is somebody else's
            };
            let answered = answer.as_mut().poll(cx);
            let Some(slot) = this.slot.as_deref() else {
                return answered;
            };
            // Not while hyper has bytes of an earlier answer that the client has still to take.
            let can_be_taken = !this.flow.any(Count::Sending);
            let Poll::Ready(Ok(mut response)) = answered else {
                if can_be_taken && slot.waits.load(Ordering::Acquire) {
                    let patience = this.patience.get_or_insert_with(|| Box::pin(sleep(slot.patience)));
                    if patience.as_mut().poll(cx).is_ready() {
                        let stand_in = this.stand_in;
                        let since = patience.deadline() - slot.patience;
                        let wait = |answer| Taken::Wait {
                            answer,
                            since,
                            stand_in,
                        };
                        *slot.taken.lock() = this.answer.take().map(wait);
                    }
                }
                return Poll::Pending;
            };
            let (_, upgrade) = slot.next();
            // A layer may have made something else of it.
            let upgrade = upgrade.filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS);
            if !can_be_taken {
                upgrade.into_iter().for_each(Upgrade::follow);
                return Poll::Ready(Ok(response));
            }
            if response.extensions_mut().remove::<BodyWaits>().is_some() {
                slot.waits.store(true, Ordering::Release);
                this.answer = Some(whole(response));
                continue;
            }
            let streams = response.extensions_mut().remove::<Streams>();
            // What was made of the body since is not in what the stream writes.
            let is_bare = !response.headers().contains_key(header::CONTENT_ENCODING);
            let streams = streams.filter(|_| is_bare);
            let begin = upgrade.map(|upgrade| upgrade.begin);
            let Some(begin) = begin.or_else(|| streams?.0.lock().take()) else {
                return Poll::Ready(Ok(response));
            };
            *slot.taken.lock() = Some(Taken::Stream {
                begin,
                head: head(&response),
                body: response.into_body(),
            });
            this.answer = None;
            return Poll::Pending;
        }
    }
}

/// An answer with all of its body. What waits is made small: a `HeaderMap` alone has a kilobyte.
fn whole(response: Response<AnswerBody>) -> Answer {
    let status = response.status();
    let mut lines = Vec::new();
    for (name, value) in response.headers() {
        line(&mut lines, name.as_str(), value.as_bytes());
    }
    let lines = lines.into_boxed_slice();
    let mut body = response.into_body().collect();
    Box::pin(async move {
        let body = (&mut body).await; // where it lies, rather than at another place beside it
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers(&lines);
        let body = body
            .map(Collected::to_bytes)
            .map_err(|error| tracing::warn!(%error, "an answer's body failed"));
        if body.is_err() {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        Ok(response.map(|()| AnswerBody::new(Body::from(body.unwrap_or_default()), None, false)))
    })
}

/// The head of an answer whose body ends with the connection (RFC 9112, section 6.3, rule 8), or that has none: a 101.
fn head<B>(response: &Response<B>) -> Bytes {
    let mut head = Vec::with_capacity(256);
    let status = response.status();
    let is_upgrade = status == StatusCode::SWITCHING_PROTOCOLS;
    let reason = status.canonical_reason().unwrap_or_default();
    head.extend_from_slice(b"HTTP/1.1 ");
    head.extend_from_slice(status.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(reason.as_bytes());
    head.extend_from_slice(b"\r\n");
    for (name, value) in response.headers() {
        let is_framing = name == header::TRANSFER_ENCODING || name == header::CONTENT_LENGTH;
        if !is_framing && (is_upgrade || name != header::CONNECTION) {
            line(&mut head, name.as_str(), value.as_bytes());
        }
    }
    if !is_upgrade {
        if !response.headers().contains_key(header::DATE) {
            line(&mut head, "date", httpdate::fmt_http_date(SystemTime::now()).as_bytes());
        }
        line(&mut head, "connection", b"close");
    }
    head.extend_from_slice(b"\r\n");
    head.into()
}

fn line(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

/// The headers of such lines.
fn headers(lines: &[u8]) -> HeaderMap {
    let lines = lines.split(|byte| *byte == b'\n');
    let headers = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        Some((name, value))
    });
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name, value);
    }
    map
}

/// Hyper reads a request before it writes an answer: this one stands for one that is answered without it, and tells what hyper has to
/// know of it.
fn stand_in<B>(request: &Request<B>) -> &'static [u8] {
    let closes = request.headers().get_all(header::CONNECTION).iter();
    let mut closes = closes.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    match request.version() {
        Version::HTTP_10 => b"GET / HTTP/1.0\r\n\r\n",
        _ if closes.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close")) => {
            b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n"
        }
        _ => b"GET / HTTP/1.1\r\n\r\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_as_they_were() {
        let mut map = HeaderMap::new();
        for (name, value) in [
            ("vary", "Origin"),
            ("vary", "Cookie"),
            ("x-empty", ""),
            ("x-url", "a: b:c"),
        ] {
            map.append(name, HeaderValue::from_static(value));
        }
        let mut lines = Vec::new();
        for (name, value) in &map {
            line(&mut lines, name.as_str(), value.as_bytes());
        }
        assert_eq!(headers(&lines), map);
        assert_eq!(headers(b""), HeaderMap::new());
    }
}

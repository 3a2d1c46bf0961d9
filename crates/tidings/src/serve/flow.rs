//! Whether a connection moves: what waits for its client, and since when.
//!
//! Most waiting is good: a long poll, a stream of events with none to send. A connection stands still only where there
//! are bytes that the client does not take, or does not send though it began to. No timer runs but then.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::{Instant, Sleep};

use super::doors::Place;

/// How long a connection may stand still at the shutdown.
const STOPPING_STALL: Duration = Duration::from_secs(1);

/// What is known of a connection's movement, shared by its stream, its bodies and the task that drives it.
pub(crate) struct Flow {
    start: Instant,
    /// When a byte was last taken or sent by the client, in milliseconds after `start`.
    moved_ms: AtomicU64,
    /// Bytes that the client should take.
    sending: AtomicUsize,
    /// Bodies that the client should send.
    receiving: AtomicUsize,
    /// Requests that the application has not answered.
    requests: AtomicUsize,
    /// Requests whose answers have not ended.
    exchanges: AtomicUsize,
    /// When the last exchange ended, in milliseconds after `start`.
    idle_ms: AtomicU64,
    /// The task wants to learn of that: where hyper looks itself, it is not woken after each request.
    watches_idle: AtomicBool,
    place: Place,
    /// The server ends.
    is_stopping: AtomicBool,
    task: AtomicWaker,
}

/// Which of the counts something is in.
#[derive(Clone, Copy)]
pub(crate) enum Count {
    Sending,
    Receiving,
    Request,
    Exchange,
}

impl Flow {
    pub(crate) fn new(place: Place) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            moved_ms: AtomicU64::new(0),
            sending: AtomicUsize::new(0),
            receiving: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            exchanges: AtomicUsize::new(0),
            idle_ms: AtomicU64::new(0),
            watches_idle: AtomicBool::new(false),
            place,
            is_stopping: AtomicBool::new(false),
            task: AtomicWaker::new(),
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn note_movement(&self) {
        self.moved_ms.store(self.now_ms(), Ordering::Release);
    }

    /// The connection is none of HTTP's any more.
    pub(crate) fn give_up_place(&self) {
        self.place.give_up();
    }

    fn update_place(&self) {
        self.place.update(|| self.any(Count::Exchange));
    }

    fn moved(&self) -> Instant {
        self.start + Duration::from_millis(self.moved_ms.load(Ordering::Acquire))
    }

    /// Since when nothing is asked, unless something is.
    fn idle_since(&self) -> Option<Instant> {
        let since = self.start + Duration::from_millis(self.idle_ms.load(Ordering::Acquire));
        (!self.any(Count::Exchange)).then_some(since)
    }

    fn count(&self, count: Count) -> &AtomicUsize {
        match count {
            Count::Sending => &self.sending,
            Count::Receiving => &self.receiving,
            Count::Request => &self.requests,
            Count::Exchange => &self.exchanges,
        }
    }

    pub(crate) fn any(&self, count: Count) -> bool {
        self.count(count).load(Ordering::Acquire) > 0
    }
}

/// Something that counts, until it is dropped.
pub(crate) struct Counted {
    flow: Arc<Flow>,
    count: Count,
}

impl Counted {
    pub(crate) fn new(flow: &Arc<Flow>, count: Count) -> Self {
        let is_first = flow.count(count).fetch_add(1, Ordering::AcqRel) == 0;
        match count {
            Count::Sending | Count::Receiving if is_first => {
                // The time counts from now on, and the task must learn of it: another one may be polling the body.
                flow.note_movement();
                flow.task.wake();
            }
            Count::Exchange if is_first => flow.update_place(),
            _ => {}
        }
        Self {
            flow: Arc::clone(flow),
            count,
        }
    }

    pub(crate) fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let flow = &self.flow;
        let is_last = flow.count(self.count).fetch_sub(1, Ordering::AcqRel) == 1;
        if !is_last {
            return;
        }
        let mut is_told = flow.is_stopping.load(Ordering::Acquire);
        if matches!(self.count, Count::Exchange) {
            flow.update_place();
            if flow.watches_idle.load(Ordering::Acquire) {
                flow.idle_ms.store(flow.now_ms(), Ordering::Release);
                is_told = true;
            }
        }
        if is_told {
            flow.task.wake();
        }
    }
}

/// A connection of hyper's, of either protocol.
pub(crate) trait Connection: Future<Output = hyper::Result<()>> {
    /// No further requests; those that are under way may end.
    fn begin_end(self: Pin<&mut Self>);
}

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("the client takes no byte")]
    Stalled,
    #[error("cut off, since it was told to end and did not")]
    Stopped,
}

/// Drives a connection until it ends or stands still for too long.
pub(crate) struct Watched<C> {
    connection: Pin<Box<C>>,
    flow: Arc<Flow>,
    stall: Duration,
    /// How long nothing may be asked, where it is not hyper that looks.
    idle: Option<Duration>,
    stopping: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<C: Connection> Watched<C> {
    pub(crate) fn new(connection: C, flow: Arc<Flow>, stall: Duration, idle: Option<Duration>) -> Self {
        flow.watches_idle.store(idle.is_some(), Ordering::Release);
        Self {
            connection: Box::pin(connection),
            flow,
            stall,
            idle,
            stopping: None,
            sleep: None,
        }
    }

    /// The connection, to be used otherwise.
    pub(crate) fn into_inner(self) -> C
    where
        C: Unpin,
    {
        *Pin::into_inner(self.connection)
    }

    /// The server ends: what is under way may end, but from now on nothing is waited for that does not move, unless the
    /// application has still to answer.
    pub(crate) fn stop(&mut self) {
        self.connection.as_mut().begin_end();
        self.flow.is_stopping.store(true, Ordering::Release);
        self.stopping = Some(Instant::now());
    }

    /// When the connection has stood still for too long, as things are.
    fn deadline(&self) -> Option<Instant> {
        let flow = &self.flow;
        match self.stopping {
            None if flow.any(Count::Sending) => Some(flow.moved() + self.stall),
            None => Some(flow.idle_since()? + self.idle?),
            Some(since) => {
                let is_due = !flow.any(Count::Request) || flow.any(Count::Sending) || flow.any(Count::Receiving);
                is_due.then(|| flow.moved().max(since) + self.stall.min(STOPPING_STALL))
            }
        }
    }
}

impl<C: Connection> Future for Watched<C> {
    type Output = Result<(), Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Poll::Ready(ended) = this.connection.as_mut().poll(cx) {
            return Poll::Ready(ended.map_err(Failure::Http));
        }
        this.flow.task.register(cx.waker());
        loop {
            let Some(deadline) = this.deadline() else {
                this.sleep = None;
                return Poll::Pending;
            };
            let sleep = this
                .sleep
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            // A deadline that has moved on is looked at when the old one is over: bytes may move often.
            if sleep.deadline() > deadline {
                sleep.as_mut().reset(deadline);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if deadline <= Instant::now() {
                let failure = match this.stopping {
                    None if !this.flow.any(Count::Sending) => {
                        this.stop();
                        return self.poll(cx);
                    }
                    None => Failure::Stalled,
                    Some(_) => Failure::Stopped,
                };
                return Poll::Ready(Err(failure));
            }
            this.sleep = None;
        }
    }
}

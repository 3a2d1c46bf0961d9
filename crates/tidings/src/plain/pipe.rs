//! The way from a shard to the body of an HTTP answer that goes on: the shard fills it, the body empties it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::Frame;
use parking_lot::Mutex;

use crate::outbox::Outbox;
use crate::random::RandomId;
use crate::server::Server;
use crate::shard::command::Command;

/// What the pipe holds at the most before the body has taken all of it, in bytes; one chunk always fits.
const PIPE_BYTES_MAX: usize = 64 << 10;

#[derive(Default)]
pub(crate) struct Pipe(Mutex<State>);

#[derive(Default)]
struct State {
    chunks: VecDeque<Bytes>,
    /// The shard has more and wants to hear when all is taken.
    has_more: bool,
    is_finished: bool,
    is_gone: bool,
    /// The shard writes to the byte stream itself.
    is_taken: bool,
    reader: Option<Waker>,
}

/// What became of a write.
pub(crate) enum Piped {
    All,
    /// The body has not yet taken what is in there.
    Full {
        /// It had taken what was in there before.
        has_moved: bool,
    },
    /// The client is gone.
    Gone,
}

impl Pipe {
    /// Moves chunks from an outbox into the pipe, if the body has taken all that was there.
    pub(crate) fn fill(&self, outbox: &mut Outbox) -> Piped {
        let mut state = self.0.lock();
        if state.is_gone {
            return Piped::Gone;
        }
        let mut bytes = 0;
        if state.chunks.is_empty() {
            while bytes < PIPE_BYTES_MAX
                && let Some(chunk) = outbox.pop()
            {
                bytes += chunk.len();
                state.chunks.push_back(chunk);
            }
        }
        if bytes > 0
            && let Some(reader) = state.reader.take()
        {
            reader.wake();
        }
        state.has_more = !outbox.is_empty();
        match state.has_more {
            true => Piped::Full { has_moved: bytes > 0 },
            false => Piped::All,
        }
    }

    /// The shard is about to do without the body. Its end says nothing any more.
    pub(crate) fn take_over(&self) {
        self.0.lock().is_taken = true;
    }

    /// What the body has not taken.
    pub(crate) fn take_rest(&self) -> impl Iterator<Item = Bytes> {
        std::mem::take(&mut self.0.lock().chunks).into_iter()
    }

    /// The body ends when it has taken all.
    pub(crate) fn finish(&self) {
        let mut state = self.0.lock();
        state.is_finished = true;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }
}

/// The body of an answer that goes on until its client or its connection ends.
pub(crate) struct StreamBody {
    pipe: Arc<Pipe>,
    server: Arc<Server>,
    sid: RandomId,
}

impl StreamBody {
    pub(crate) fn new(pipe: Arc<Pipe>, server: Arc<Server>, sid: RandomId) -> Self {
        Self { pipe, server, sid }
    }

    fn tell(&self, command: Command) {
        let hub = &self.server.hub;
        hub.send(hub.shard_of(self.sid), command);
    }
}

impl http_body::Body for StreamBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut state = self.pipe.0.lock();
        match state.chunks.pop_front() {
            Some(chunk) => {
                if state.chunks.is_empty() && std::mem::take(&mut state.has_more) {
                    drop(state);
                    self.tell(Command::Writable { sid: self.sid });
                }
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            None if state.is_finished => Poll::Ready(None),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for StreamBody {
    /// The answer is over, or the client went away.
    fn drop(&mut self) {
        let mut state = self.pipe.0.lock();
        if state.is_taken {
            return;
        }
        state.is_gone = true;
        let was_finished = state.is_finished;
        state.chunks.clear();
        drop(state);
        if !was_finished {
            self.tell(Command::Gone { sid: self.sid });
        }
    }
}

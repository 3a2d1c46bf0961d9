//! A plain WebSocket's conversation: its messages are handled one after another, in the order they came.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use tidings_protocol::plain;
use tidings_protocol::websocket::{self, Decoder, Message, Opcode};

use super::{Granted, Plain, requests};
use crate::access::Visitor;
use crate::connection::{Key, Socket, Speaks, Transport};
use crate::error::{Code, Error, Result};
use crate::handshake::Opening;
use crate::hub::Permit;
use crate::limits::{PUBLISHING_MAX, QUEUE_BYTES_MAX};
use crate::log::Since;
use crate::random::RandomId;
use crate::shard::command::Command;
use crate::shard::run::{self, Cell};
use crate::shard::{Farewell, Shard};
use crate::socketio::broadcast::Emitted;
use crate::socketio::rate::{Rate, Verdict};
use crate::socketio::reason::Reason;
use crate::transport::link::NewLink;
use crate::wire::Wire;

#[derive(Default)]
pub(crate) struct Session {
    queue: VecDeque<Job>,
    queued_bytes: usize,
    /// A message is being handled: those after it wait.
    is_busy: bool,
    /// The client came without a token and has yet to say who it is.
    awaits_auth: bool,
    rate: Rate,
    /// Publishes that are not answered yet, while the messages after them are handled.
    publishing: usize,
    /// When it was pinged last.
    pinged_ms: u64,
}

/// What is to be handled next.
pub(super) enum Job {
    /// The request that the WebSocket began with says who the client is, or not.
    Enter,
    Text(Box<str>),
}

impl Session {
    pub(super) fn is_behind(&self) -> bool {
        self.queued_bytes > QUEUE_BYTES_MAX
    }

    pub(super) fn clear(&mut self) {
        self.queue = VecDeque::new();
        self.queued_bytes = 0;
    }

    fn push(&mut self, job: Job) {
        self.queued_bytes += bytes(&job);
        self.queue.push_back(job);
    }

    fn pop(&mut self) -> Option<Job> {
        let job = self.queue.pop_front()?;
        self.queued_bytes -= bytes(&job);
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        Some(job)
    }
}

fn bytes(job: &Job) -> usize {
    match job {
        Job::Enter => 0,
        Job::Text(text) => text.len() + size_of::<Job>(),
    }
}

/// A message as a text frame.
pub(crate) fn text(json: &[u8]) -> Bytes {
    websocket::frame(Opcode::Text, &[json])
}

impl Shard {
    pub(crate) fn open_session(&mut self, sid: RandomId, opening: Arc<Opening>, permit: Permit, link: NewLink) {
        let Ok(stream) = link.stream.into_link() else { return };
        let task = self.next_task();
        let socket = Socket {
            link: stream,
            decoder: Decoder::new(),
            task,
        };
        let now_ms = self.now_ms;
        let mut session = Session {
            pinged_ms: now_ms,
            is_busy: true,
            ..Session::default()
        };
        session.push(Job::Enter);
        let index = self.add(
            sid,
            Transport::WebSocket(socket),
            Wire::Json,
            Speaks::Plain(Plain::new(None, Some(session), 0)),
            Some(opening),
            Some(permit),
        );
        let Some(connection) = self.at(index) else { return };
        let key = connection.key;
        // It leaves with the welcome, if that comes at once.
        connection.outbox.push(link.head);
        self.start_reading(index, task);
        self.asking.push_back(key);
        self.receive_early(key, false, &link.early);
    }

    fn session_mut(&mut self, index: u32) -> Option<&mut Session> {
        self.plain_mut(index)?.session.as_deref_mut()
    }

    /// A message of a plain WebSocket.
    pub(crate) fn session_message(&mut self, index: u32, message: Message<'_>) -> ControlFlow<()> {
        let limits = &self.server.hub.limits;
        let (per_second, burst) = (limits.messages_per_second, limits.messages_burst);
        let now_ms = self.now_ms;
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => {
                let problem = "this server takes text messages; bytes go as {\"$bytes\":\"<base64>\"}";
                self.say_error(index, None, Code::BadRequest.as_str(), problem);
                self.end(index, Reason::TransportError, Farewell::Close(Some(1003)));
                return ControlFlow::Break(());
            }
            Message::Ping(payload) => {
                let pong = websocket::frame(Opcode::Pong, &[payload]);
                if let Some(connection) = self.at(index) {
                    connection.outbox.push(pong);
                    self.mark_dirty(index);
                }
                return ControlFlow::Continue(());
            }
            Message::Pong(_) => return ControlFlow::Continue(()),
            Message::Close { code, .. } => {
                self.end(index, Reason::TransportClose, Farewell::Close(code));
                return ControlFlow::Break(());
            }
        };
        let Some(session) = self.session_mut(index) else {
            return ControlFlow::Break(());
        };
        let verdict = session.rate.count(now_ms, per_second, burst);
        self.meters.received.add(1);
        self.meters.rate_limited.add(u64::from(verdict != Verdict::Pass));
        match verdict {
            Verdict::Pass => {}
            Verdict::Refuse => {
                let id = plain::request_id(text);
                self.say_error(index, id, Code::RateLimited.as_str(), "too many messages: slow down");
                return ControlFlow::Continue(());
            }
            Verdict::Close => {
                self.end(index, Reason::ForcedClose, Farewell::Close(Some(4429)));
                return ControlFlow::Break(());
            }
        }
        let Some(session) = self.session_mut(index) else {
            return ControlFlow::Break(());
        };
        session.push(Job::Text(text.into()));
        if !std::mem::replace(&mut session.is_busy, true)
            && let Some(connection) = self.at(index)
        {
            let key = connection.key;
            self.asking.push_back(key);
        }
        ControlFlow::Continue(())
    }

    /// The next message to handle; none when there is no more, and then the session is no longer busy.
    fn next_job(&mut self, key: Key) -> Option<Job> {
        let outbox_bytes_max = self.server.hub.limits.outbox_bytes;
        let connection = self.get(key)?;
        if connection.is_full(outbox_bytes_max) {
            // Who does not read is answered no more; it goes on when all is written.
            connection.drivers_wait = true;
            return None;
        }
        let session = connection.plain_mut()?.session.as_deref_mut()?;
        let was_behind = session.is_behind();
        let job = session.pop();
        session.is_busy = job.is_some();
        if was_behind {
            connection.resume_reading(outbox_bytes_max);
        }
        job
    }

    // What the server says

    /// A message that is no event of the log, behind all events delivered so far.
    pub(crate) fn say(&mut self, index: u32, json: &[u8]) {
        let position = self.position;
        let Some(connection) = self.at(index) else { return };
        if !connection.is_open() {
            return;
        }
        let chunk = text(json);
        connection.push_unlogged(position, chunk);
        self.mark_dirty(index);
    }

    pub(crate) fn say_to(&mut self, key: Key, json: &[u8]) {
        if self.get(key).is_some() {
            self.say(key.index, json);
        }
    }

    /// An error: the answer to a request where `id` is its id.
    pub(crate) fn say_error(&mut self, index: u32, id: Option<plain::RequestId<'_>>, code: &str, message: &str) {
        tracing::debug!(connection = %self.name(index), code, message, "a request is refused");
        self.say(index, &plain::error(id, code, message));
    }

    // Who the client is

    /// The application has decided about the request that the WebSocket began with.
    pub(crate) fn session_entered(&mut self, key: Key, outcome: Result<Visitor>, shows_token: bool, own: Vec<Granted>) {
        if self.get(key).is_none_or(|connection| !connection.is_open()) {
            return;
        }
        self.mark_dirty(key.index);
        match outcome {
            Ok(visitor) => self.welcome(key.index, visitor, &own),
            Err(error) if shows_token || error.code() != Code::Unauthenticated.as_str() => {
                self.refuse_session(key.index, None, &error);
            }
            Err(_) => {
                if let Some(session) = self.session_mut(key.index) {
                    session.awaits_auth = true;
                }
            }
        }
    }

    fn welcome(&mut self, index: u32, visitor: Visitor, own: &[Granted]) {
        let user = visitor.id().cloned();
        if let Some(session) = self.session_mut(index) {
            session.awaits_auth = false;
        }
        if let Some(connection) = self.at(index) {
            connection.opening = None;
        }
        self.set_visitor(index, visitor);
        let heartbeat_ms = self.server.config.ping_interval_ms();
        self.say(index, &plain::welcome(user.as_deref(), heartbeat_ms));
        self.plain_subscribe(index, own, true, None);
    }

    fn refuse_session(&mut self, index: u32, id: Option<plain::RequestId<'_>>, error: &Error) {
        self.say_error(index, id, error.code(), error.message());
        let code = error.refusal_close_code();
        self.end(index, Reason::ForcedClose, Farewell::Close(Some(code)));
    }

    /// The answer to an `auth` message: the first makes the client somebody, later ones renew that.
    pub(crate) fn session_authenticated(&mut self, key: Key, id: Option<&str>, outcome: Result<Renewal>) {
        let Some(connection) = self.get(key) else { return };
        if !connection.is_open() {
            return;
        }
        let index = key.index;
        let visitor = connection.plain().and_then(|plain| plain.visitor.as_ref());
        let is_first = visitor.is_none();
        let was_nobody = visitor.is_some_and(|visitor| visitor.id().is_none());
        let id = id.and_then(plain::RequestId::of_json);
        match outcome {
            Err(error) if is_first => self.refuse_session(index, id, &error),
            Err(error) => self.say_error(index, id, error.code(), error.message()),
            Ok(renewal) => {
                let mut ended = Vec::new();
                if is_first {
                    self.welcome(index, renewal.visitor, &renewal.own);
                } else {
                    self.set_visitor(index, renewal.visitor);
                    self.plain_present(index, &renewal.kept);
                    for channel in &renewal.lost {
                        self.plain_unsubscribe(index, channel);
                    }
                    ended.extend(renewal.lost.iter().map(|channel| &**channel));
                    ended.sort_unstable();
                    if was_nobody {
                        self.plain_subscribe(index, &renewal.own, true, None);
                    }
                }
                if let Some(id) = id {
                    let result = match ended.is_empty() {
                        true => "{}".to_owned(),
                        false => serde_json::json!({ "ended": ended }).to_string(),
                    };
                    self.say(index, &plain::ok(id, &result));
                }
            }
        }
    }

    // Channels

    /// Carries out a `subscribe` whose channels the application has granted: all of them or none.
    pub(crate) fn session_subscribe(&mut self, key: Key, id: Option<&str>, channels: &[Granted], since: Option<Since>) {
        let max = self.server.hub.limits.subscriptions;
        let index = key.index;
        if self.get(key).is_none_or(|connection| !connection.is_open()) {
            return;
        }
        let id = id.and_then(plain::RequestId::of_json);
        let Some(plain) = self.plain_mut(index) else { return };
        let is_new = |name: &Arc<str>| !plain.channels.iter().any(|named| named.name == *name && !named.is_own);
        let new = channels.iter().filter(|(name, _)| is_new(name)).count();
        if max > 0 && plain.asked_for() + new > max {
            let problem = format!("a client may have {max} subscriptions");
            return self.say_error(index, id, Code::TooManyChannels.as_str(), &problem);
        }
        let delivered = self.cursor(index);
        let cursor = match since {
            Some(Since::Known(seq)) if seq < delivered.seq() => self.server.hub.id(seq),
            Some(Since::Unknown) => self.server.hub.id(0),
            _ => delivered,
        };
        let ok = id.map(|id| plain::ok(id, &format!("{{\"cursor\":\"{cursor}\"}}")));
        // The gap of one whose id says nothing comes before the new cursor: cut between the two, it comes back with the old one.
        let gap_first = since == Some(Since::Unknown);
        if let Some(ok) = ok.as_ref().filter(|_| !gap_first) {
            self.say(index, ok);
        }
        self.plain_subscribe(index, channels, false, since);
        if let Some(ok) = ok.filter(|_| gap_first)
            && let Some(connection) = self.at(index)
        {
            connection.outbox.push(text(&ok));
        }
    }

    pub(crate) fn session_unsubscribe(&mut self, key: Key, id: Option<&str>, channels: &[Arc<str>]) {
        if self.get(key).is_none_or(|connection| !connection.is_open()) {
            return;
        }
        for name in channels {
            self.plain_unsubscribe(key.index, name);
        }
        if let Some(id) = id.and_then(plain::RequestId::of_json) {
            self.say(key.index, &plain::ok(id, "{}"));
        }
    }

    // Life

    pub(super) fn visit_session(&mut self, index: u32) {
        let now_ms = self.now_ms;
        let interval_ms = self.server.config.ping_interval_ms();
        let handshake_ms = self.server.config.handshake_timeout_ms();
        let Some(connection) = self.at(index) else { return };
        let received_ms = connection.heartbeat.received_ms;
        let opened_ms = connection.opened_ms;
        let Some(plain) = connection.plain_mut() else { return };
        let Some(session) = &mut plain.session else { return };
        if plain.visitor.is_none() && handshake_ms > 0 && now_ms - opened_ms > handshake_ms {
            let problem = "no `auth` message came in time";
            self.say_error(index, None, Code::Unauthenticated.as_str(), problem);
            return self.end(index, Reason::ForcedClose, Farewell::Close(Some(4408)));
        }
        if now_ms - received_ms > 2 * interval_ms {
            return self.end(index, Reason::PingTimeout, Farewell::Close(Some(4408)));
        }
        if now_ms - session.pinged_ms >= interval_ms {
            session.pinged_ms = now_ms;
            connection.outbox.push(websocket::frame(Opcode::Ping, &[]));
            self.mark_dirty(index);
        }
    }
}

/// What a fresh token changes.
pub(crate) struct Renewal {
    pub(crate) visitor: Visitor,
    /// The channels that it is in from the start, for who was nobody before.
    pub(crate) own: Vec<Granted>,
    /// The channels that it still may read.
    pub(crate) kept: Vec<Granted>,
    /// The channels that it no longer may read.
    pub(crate) lost: Vec<Arc<str>>,
}

/// Handles what waits, one message after another.
pub(crate) fn drive(cell: &Rc<Cell>, key: Key) {
    loop {
        let job = cell.state.borrow_mut().next_job(key);
        let Some(job) = job else { return };
        let task = Box::pin(requests::handle(Rc::clone(cell), key, job));
        if let Some(rest) = run::poll_once(&cell.server, task) {
            let rest = run::guard(&cell.server, rest);
            let cell = Rc::clone(cell);
            tokio::task::spawn_local(async move {
                rest.await;
                drive(&cell, key);
            });
            return;
        }
    }
}

impl Shard {
    /// Counts a publish that is under way; false when there are so many that the next message has to wait for it.
    pub(super) fn begin_publish(&mut self, key: Key) -> bool {
        let session = self.session_of(key);
        let Some(session) = session.filter(|session| session.publishing < PUBLISHING_MAX) else {
            return false;
        };
        session.publishing += 1;
        true
    }

    /// Answers a publish whose event has come to its place.
    pub(crate) fn session_published(&mut self, key: Key, id: Option<Box<str>>, mut emitted: Emitted) {
        let Some(outcome) = emitted.try_receipt() else {
            // The log is about to say what became of it. Those behind it may be answered first.
            let server = Arc::clone(&self.server);
            return self.asked.push(Box::pin(async move {
                let emitted = Emitted::answered(emitted.receipt().await);
                let published = Command::PlainPublished { key, id, emitted };
                server.hub.send(key.shard, published);
            }));
        };
        if let Some(session) = self.session_of(key) {
            session.publishing -= 1;
        }
        if let Some(json) = requests::answer(key, id.as_deref(), outcome.map(requests::receipt)) {
            self.say_to(key, &json);
        }
    }

    fn session_of(&mut self, key: Key) -> Option<&mut Session> {
        self.get(key)?.plain_mut()?.session.as_deref_mut()
    }

    /// Whether the client has yet to say who it is.
    pub(super) fn awaits_auth(&mut self, key: Key) -> bool {
        self.get(key)
            .and_then(|connection| connection.plain()?.session.as_ref())
            .is_some_and(|session| session.awaits_auth)
    }

    /// Anything but `auth` from who has yet to say who it is.
    pub(super) fn refuse_nobody(&mut self, key: Key, id: Option<plain::RequestId<'_>>) {
        let problem = "the first message must be `auth`, with a token";
        if self.get(key).is_some() {
            self.say_error(key.index, id, Code::Unauthenticated.as_str(), problem);
            self.end(key.index, Reason::ForcedClose, Farewell::Close(Some(4401)));
        }
    }

    pub(super) fn visitor_of(&mut self, key: Key) -> Option<Visitor> {
        self.get(key)?.plain()?.visitor.clone()
    }

    pub(super) fn opening_of(&mut self, key: Key) -> Option<Arc<Opening>> {
        self.get(key)?.opening.clone()
    }

    pub(super) fn channels_of(&mut self, key: Key) -> Vec<(Arc<str>, bool)> {
        let plain = self.get(key).and_then(|connection| connection.plain());
        let channels = plain.map(|plain| &plain.channels[..]).unwrap_or_default();
        channels
            .iter()
            .map(|named| (Arc::clone(&named.name), named.is_own))
            .collect()
    }
}

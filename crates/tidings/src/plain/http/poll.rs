//! `/poll`: long polling, and with `wait=0` short polling.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use tokio::sync::oneshot;

use super::request::Query;
use super::{admit, engine};
use crate::access::{Identity, Visitor};
use crate::channel::Channel;
use crate::connections::ConnectionKind;
use crate::error::Result;
use crate::event::Event;
use crate::hub::Permit;
use crate::limits::{HISTORY_BYTES_MAX, HISTORY_EVENTS_MAX};
use crate::log::{Cursor, From, Log, Page, PageLimit, Since};
use crate::plain::history::page_limit;
use crate::plain::waiter::{self, NewWaiter};
use crate::plain::{Granted, requests};
use crate::random::RandomId;
use crate::serve::Waiting;
use crate::server::Server;
use crate::shard::command::Command;
use crate::wire;

/// How long a poll waits unless it says so, and at the most.
const WAIT_SECONDS: u64 = 25;
const WAIT_SECONDS_MAX: u64 = 60;

/// What a client asked for.
struct Poll {
    channels: Vec<Granted>,
    since: Option<Since>,
    wait: Duration,
    is_short: bool,
    limit: Option<usize>,
}

pub(super) async fn poll(State(server): State<Arc<Server>>, request: Request<Body>) -> Result<Response<Body>> {
    let request = request.map(drop);
    let query = Query::parse(request.uri().query().unwrap_or_default())?;
    let since = match query.get("since") {
        Some(text) => Some(server.hub.log.check(requests::parse_id(text)?)),
        None => None,
    };
    let wait = query.number("wait")?.unwrap_or(WAIT_SECONDS).min(WAIT_SECONDS_MAX);
    let limit = match query.number("limit")? {
        Some(limit) => Some(page_limit(Some(limit))?.events),
        None => None,
    };
    let permit = server.hub.admit(engine::client_address(&server, &request))?;
    let sid = RandomId::new();
    let (visitor, channels) = admit(&server, sid, &request, ConnectionKind::Poll, &query.channels).await?;
    let mut wait = Duration::from_secs(wait);
    let is_short = wait.is_zero();
    // It hears nothing past the end of its credential.
    if let Some(end) = visitor.identity.as_deref().and_then(Identity::expiry) {
        wait = wait.min(end.duration_since(SystemTime::now()).unwrap_or_default());
    }
    let waiting = Waiting::of(request.extensions());
    let poll = Poll {
        channels,
        since,
        wait,
        is_short,
        limit,
    };
    match poll.since {
        Some(since) => {
            drop(request);
            poll.after(server, sid, visitor, permit, since, &waiting).await
        }
        None if is_short => poll.newest(&server, request.headers()).await,
        None => Ok(long(empty(&server, server.hub.log.position()))),
    }
}

impl Poll {
    /// What came after a cursor, now or within the wait.
    async fn after(
        self,
        server: Arc<Server>,
        sid: RandomId,
        visitor: Visitor,
        permit: Permit,
        since: Since,
        waiting: &Waiting,
    ) -> Result<Response<Body>> {
        let limit = PageLimit {
            events: self.limit.unwrap_or(HISTORY_EVENTS_MAX),
            bytes: HISTORY_BYTES_MAX,
        };
        let after = match since {
            Since::Known(seq) => seq,
            Since::Unknown => 0,
        };
        let until = server.hub.log.position();
        let cursors = waiter::cursors(&self.channels, after);
        let mut page = read(&server, &cursors, until, limit).await?;
        if since == Since::Unknown {
            page.gaps = (0..cursors.len()).collect();
        }
        let answer = |body| if self.is_short { short(body) } else { long(body) };
        if self.is_short || !page.events.is_empty() || !page.gaps.is_empty() {
            return Ok(answer(waiter::answer(&server, &cursors, &page)));
        }
        let (reply, event) = oneshot::channel();
        let new = NewWaiter {
            visitor,
            channels: self.channels,
            after: until,
            limit,
            permit,
            reply,
        };
        let new = Box::new(new);
        server
            .hub
            .send(server.hub.shard_of(sid), Command::OpenWaiter { sid, new });
        let asked = Asked {
            server,
            sid,
            is_answered: false,
        };
        let body = wait(asked, event, self.wait, cursors, until, limit);
        Ok(waiting.for_body(head("no-store"), body).await)
    }

    /// The newest events of each channel.
    async fn newest(self, server: &Arc<Server>, headers: &HeaderMap) -> Result<Response<Body>> {
        let hub = &server.hub;
        // What comes after this is for the next poll.
        let tail = hub.log.position();
        let channels: Vec<Channel> = self
            .channels
            .iter()
            .filter_map(|(name, _)| Channel::room("/", name).ok())
            .collect();
        let last = channels.iter().map(|channel| hub.log.last(channel)).max().unwrap_or(0);
        let limit = PageLimit {
            events: self.limit.unwrap_or(1),
            bytes: HISTORY_BYTES_MAX,
        };
        let (conflated, version) = conflated(server, &channels, limit.events);
        let last = hub.id(last.min(tail));
        // A value that is no longer kept makes another answer too.
        let etag = match conflated.len() {
            0 => format!("\"{last}\""),
            count => format!("\"{last}.{version}.{count}\""),
        };
        if is_known(headers, &etag) {
            return Ok(with_etag(short(Bytes::new()), &etag, StatusCode::NOT_MODIFIED));
        }
        let events = hub.read(move |log| newest(log, &channels, tail, limit)).await?;
        let encode = |(channel, event): &(Channel, Arc<Event>)| wire::poll_event(event, channel, hub.epoch);
        let encoded: Vec<Vec<u8>> = events.iter().chain(&conflated).map(encode).collect();
        // About a megabyte: the oldest are left out.
        let mut bytes = 0;
        let fits = |event: &&Vec<u8>| {
            bytes += event.len();
            bytes == event.len() || bytes <= HISTORY_BYTES_MAX
        };
        let mut fitting: Vec<&[u8]> = encoded.iter().rev().take_while(fits).map(Vec::as_slice).collect();
        fitting.reverse();
        let mut body = Vec::new();
        wire::poll_answer(&mut body, &fitting, &hub.id(tail).to_string(), &[]);
        Ok(with_etag(short(body.into()), &etag, StatusCode::OK))
    }
}

/// The body of the answer to a poll that waits.
fn wait(
    mut asked: Asked,
    mut event: oneshot::Receiver<Bytes>,
    time: Duration,
    mut cursors: Vec<Cursor>,
    until: u64,
    limit: PageLimit,
) -> impl Future<Output = Bytes> + Send {
    // All that there was up to here is known not to be.
    cursors.iter_mut().for_each(|cursor| cursor.after = until);
    cursors.shrink_to_fit();
    async move {
        let body = match tokio::time::timeout(time, &mut event).await {
            Ok(body) => body,
            Err(_) => {
                let (hub, sid) = (&asked.server.hub, asked.sid);
                hub.send(hub.shard_of(sid), Command::StopWaiting { sid });
                (&mut event).await
            }
        };
        asked.is_answered = true;
        match body {
            Ok(body) => body,
            // Its shard fell behind, or has ended: what came is in the log.
            Err(_) => Box::pin(look(&asked.server, &cursors, until, limit)).await,
        }
    }
}

/// What has come after the cursors.
async fn look(server: &Server, cursors: &[Cursor], after: u64, limit: PageLimit) -> Bytes {
    match read(server, cursors, server.hub.log.position(), limit).await {
        Ok(page) => waiter::answer(server, cursors, &page),
        // The next poll, from where this one was, is told what is wrong.
        Err(_) => empty(server, after),
    }
}

/// What came after the cursors.
async fn read(server: &Server, cursors: &[Cursor], until: u64, limit: PageLimit) -> Result<Page> {
    match server.hub.log.read_tail(cursors, until, limit) {
        Some(page) => Ok(page),
        None => {
            let cursors = cursors.to_vec();
            server.hub.read(move |log| log.read(&cursors, until, limit)).await
        }
    }
}

/// The newest events of several channels, in one order, each once.
fn newest(log: &dyn Log, channels: &[Channel], tail: u64, limit: PageLimit) -> Result<Vec<(Channel, Arc<Event>)>> {
    let mut events: Vec<(Channel, Arc<Event>)> = Vec::new();
    for channel in channels {
        let history = log.history(channel, From::Before(tail + 1), limit)?;
        events.extend(history.events.into_iter().map(|event| (channel.clone(), event)));
    }
    // An event of several channels is shown in the first of its own.
    let place = |channel: &Channel, event: &Event| event.draft.channels.iter().position(|name| name == channel);
    events.sort_by_key(|(channel, event)| (event.seq, place(channel, event)));
    events.dedup_by_key(|(_, event)| event.seq);
    Ok(events)
}

/// The latest values of the channels that are conflated, which have no ids, and the newest of their versions; 0 where there are none.
fn conflated(server: &Server, channels: &[Channel], limit: usize) -> (Vec<(Channel, Arc<Event>)>, u64) {
    let (mut values, mut newest) = (Vec::new(), 0);
    let Some(pacer) = &server.pacer else {
        return (values, newest);
    };
    for channel in channels {
        let (events, version) = pacer.latest(channel);
        let skipped = events.len().saturating_sub(limit);
        values.extend(events.into_iter().skip(skipped).map(|event| (channel.clone(), event)));
        newest = newest.max(version);
    }
    (values, newest)
}

/// Whether the client has this version (RFC 9110, section 13.1.2: weak comparison).
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim())
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

fn empty(server: &Server, next: u64) -> Bytes {
    let mut body = Vec::new();
    wire::poll_answer(&mut body, &[], &server.hub.id(next).to_string(), &[]);
    body.into()
}

fn long(body: Bytes) -> Response<Body> {
    head("no-store").map(|()| Body::from(body))
}

/// A cache may keep it, but must ask each time.
fn short(body: Bytes) -> Response<Body> {
    let mut response = head("private, no-cache").map(|()| Body::from(body));
    response
        .headers_mut()
        .append(header::VARY, HeaderValue::from_static("Authorization, Cookie"));
    response
}

fn head(cache: &'static str) -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

fn with_etag(mut response: Response<Body>, etag: &str, status: StatusCode) -> Response<Body> {
    if let Ok(etag) = HeaderValue::from_str(etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    if status == StatusCode::NOT_MODIFIED {
        response.headers_mut().remove(header::CONTENT_TYPE);
    }
    *response.status_mut() = status;
    response
}

/// A poll that waits at its shard. Dropped before it is answered, its client has closed the request, and nobody waits any more.
struct Asked {
    server: Arc<Server>,
    sid: RandomId,
    is_answered: bool,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.is_answered {
            let hub = &self.server.hub;
            hub.send(hub.shard_of(self.sid), Command::Gone { sid: self.sid });
        }
    }
}

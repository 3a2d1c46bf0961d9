//! What a plain WebSocket's client asks for: read, decided by the application, and handed to the shard as a command,
//! so that it takes its place among the events.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::poll_immediate;
use hashbrown::HashSet;

use tidings_protocol::plain::{self, Kind, RequestId};
use tokio::sync::oneshot;

use super::history::{HistoryPage, page_limit};
use super::session::{Job, Renewal};
use super::{Granted, history};
use crate::access::{Action, Visitor};
use crate::channel::Channel;
use crate::connection::Key;
use crate::connections::ConnectionKind;
use crate::error::{Code, Error, Result};
use crate::handshake::Handshake;
use crate::id::EventId;
use crate::log::Receipt;
use crate::server::Server;
use crate::shard::command::Command;
use crate::shard::run::{self, Cell};
use crate::socketio::arguments::Raw;
use crate::socketio::broadcast::Emitted;
use crate::socketio::io::Io;

/// Channels that one `unsubscribe` may name.
const UNSUBSCRIBE_MAX: usize = 10_000;

/// Handles one message to its end.
pub(super) async fn handle(cell: Rc<Cell>, key: Key, job: Job) {
    match job {
        Job::Enter => enter(&cell, key).await,
        Job::Text(text) => match plain::parse(&text) {
            Ok(request) => respond(&cell, key, request).await,
            Err(error) => {
                let mut state = cell.state.borrow_mut();
                if state.awaits_auth(key) {
                    state.refuse_nobody(key, error.id);
                } else {
                    let json = plain::error(error.id, error.code, &error.message);
                    cell.server.hub.send(key.shard, Command::PlainSay { key, json });
                }
            }
        },
    }
}

async fn enter(cell: &Rc<Cell>, key: Key) {
    let server = &cell.server;
    let Some(opening) = cell.state.borrow_mut().opening_of(key) else {
        return;
    };
    let handshake = handshake(server, &opening, None);
    let shows_token = handshake.token().is_ok() || handshake.header("authorization").is_some();
    let deciding = run::decided(async {
        let visitor = server.let_in(handshake).await?;
        let own = first_channels(server, &visitor).await;
        Ok((visitor, own))
    });
    let mut deciding = pin!(deciding);
    let decided = poll_immediate(deciding.as_mut()).await;
    // The handshake does not wait for the application, nor for the disk.
    if decided.is_none() || server.hub.log.assigned() > cell.state.borrow().position {
        cell.state.borrow_mut().mark_dirty(key.index);
    }
    let (outcome, own) = match decided {
        Some(decided) => decided,
        None => deciding.await,
    }
    .map_or_else(|error| (Err(error), Vec::new()), |(visitor, own)| (Ok(visitor), own));
    let (done, is_done) = oneshot::channel();
    let command = Command::PlainEntered {
        key,
        outcome,
        shows_token,
        own,
        done,
    };
    server.hub.send(key.shard, command);
    // The messages that came meanwhile are for who the client is from then on.
    let _ = is_done.await;
}

fn handshake(server: &Server, opening: &Arc<crate::handshake::Opening>, auth: Option<Arc<str>>) -> Handshake {
    let cookie = server.config.token_cookie.clone();
    Handshake::new(Arc::clone(opening), auth, Arc::from("/"), cookie).on(ConnectionKind::Websocket)
}

/// The channels that a client is in from the start: every user's own, and those that the application names.
async fn first_channels(server: &Server, visitor: &Visitor) -> Vec<Granted> {
    let own = visitor.identity.as_ref().map(|identity| identity.own_channel());
    let mut granted: Vec<Granted> = Vec::new();
    let mut known = HashSet::new();
    for name in own.into_iter().chain(server.access.first_channels(&visitor.user)) {
        if known.insert(Arc::clone(&name))
            && let Ok(grant) = server.authorize(visitor, Action::Subscribe, &name).await
        {
            granted.push((name, grant));
        }
    }
    granted
}

async fn respond(cell: &Rc<Cell>, key: Key, request: plain::Request<'_>) {
    let id = request.id.map(RequestId::to_json);
    if let Kind::Auth { token } = request.kind {
        return authenticate(cell, key, id, &token).await;
    }
    let visitor = {
        let mut state = cell.state.borrow_mut();
        match state.visitor_of(key) {
            Some(visitor) => visitor,
            None => return state.refuse_nobody(key, request.id),
        }
    };
    let server = &cell.server;
    let outcome = match request.kind {
        Kind::Subscribe { channels, since } => {
            return match subscription(server, &visitor, &channels, since.as_deref()).await {
                Ok((channels, since)) => {
                    let (done, is_done) = oneshot::channel();
                    let command = Command::PlainSubscribe {
                        key,
                        id,
                        channels,
                        since,
                        done,
                    };
                    server.hub.send(key.shard, command);
                    // An `auth` that comes next looks at what it is subscribed to.
                    let _ = is_done.await;
                }
                Err(error) => reply(server, key, id.as_deref(), Err(error)).await,
            };
        }
        Kind::Unsubscribe { channels } if channels.len() > UNSUBSCRIBE_MAX => Err(Error::coded(
            Code::TooManyChannels,
            format!("one request names at most {UNSUBSCRIBE_MAX} channels"),
        )),
        Kind::Unsubscribe { channels } => {
            let channels = channels.iter().map(|name| Arc::from(&**name)).collect();
            return server
                .hub
                .send(key.shard, Command::PlainUnsubscribe { key, id, channels });
        }
        Kind::Publish {
            channel,
            event,
            data,
            key: key_of,
            volatile,
        } => {
            let published_key = key_of.as_deref();
            match publish(server, &visitor, &channel, &event, data, published_key, volatile).await {
                Ok(emitted) => return answer_when_kept(cell, key, id, emitted).await,
                Err(error) => Err(error),
            }
        }
        Kind::History {
            channel,
            before,
            after,
            limit,
        } => read_history(server, &visitor, &channel, before.as_deref(), after.as_deref(), limit).await,
        Kind::Presence { channel, after, limit } => presence(server, &visitor, &channel, after.as_deref(), limit).await,
        Kind::Ping => Ok("{}".to_owned()),
        Kind::Read { channel, until } => unread(server, &visitor, &channel, Some(&until)).await,
        Kind::Unread { channel } => unread(server, &visitor, &channel, None).await,
        Kind::Auth { .. } => return,
    };
    reply(server, key, id.as_deref(), outcome).await;
}

/// The answer to a request, behind the events that came before it. What is long is in the outbox when this ends, so that the
/// next request is not answered before it is known whether the client reads.
async fn reply(server: &Server, key: Key, id: Option<&str>, outcome: Result<String>) {
    const LONG: usize = 1_024;
    let Some(json) = answer(key, id, outcome) else { return };
    let is_long = json.len() > LONG;
    server.hub.send(key.shard, Command::PlainSay { key, json });
    if is_long {
        let (done, is_done) = oneshot::channel();
        server.hub.send(key.shard, Command::Settle { done });
        let _ = is_done.await;
    }
}

/// The message that answers a request. Without an id there is only one that says what went wrong.
pub(super) fn answer(key: Key, id: Option<&str>, outcome: Result<String>) -> Option<Vec<u8>> {
    let id = id.and_then(RequestId::of_json);
    match (outcome, id) {
        (Ok(result), Some(id)) => Some(plain::ok(id, &result)),
        (Ok(_), None) => None,
        (Err(error), id) => {
            if error.source().is_some() {
                tracing::error!(connection = %key, %error, "a request failed");
            } else {
                tracing::debug!(connection = %key, %error, "a request is refused");
            }
            Some(plain::error(id, error.code(), error.message()))
        }
    }
}

async fn authenticate(cell: &Rc<Cell>, key: Key, id: Option<Box<str>>, token: &str) {
    let server = &cell.server;
    let (opening, before, channels) = {
        let mut state = cell.state.borrow_mut();
        (state.opening_of(key), state.visitor_of(key), state.channels_of(key))
    };
    let opening = opening.unwrap_or_default();
    let auth = serde_json::json!({ "token": token }).to_string();
    let known = before.as_ref().map(|visitor| Arc::clone(&visitor.user));
    let handshake = handshake(server, &opening, Some(auth.into())).renewing(known);
    let outcome = renew(server, handshake, before.as_ref(), &channels).await;
    let (done, is_done) = oneshot::channel();
    let command = Command::PlainAuth { key, id, outcome, done };
    server.hub.send(key.shard, command);
    let _ = is_done.await;
}

async fn renew(
    server: &Server,
    handshake: Handshake,
    before: Option<&Visitor>,
    channels: &[(Arc<str>, bool)],
) -> Result<Renewal> {
    let visitor = server.let_in(handshake).await?;
    if let Some(before) = before.and_then(Visitor::id)
        && visitor.id() != Some(before)
    {
        return Err(Error::unauthenticated(
            "the token is another user's; open a new connection for it",
        ));
    }
    let (mut kept, mut lost) = (Vec::new(), Vec::new());
    for (name, _) in channels {
        match server.authorize(&visitor, Action::Subscribe, name).await {
            Ok(grant) => kept.push((Arc::clone(name), grant)),
            Err(_) => lost.push(Arc::clone(name)),
        }
    }
    let own = first_channels(server, &visitor).await;
    Ok(Renewal {
        visitor,
        own,
        kept,
        lost,
    })
}

/// The channels with their grants, and where the client stands.
pub(super) async fn subscription(
    server: &Server,
    visitor: &Visitor,
    channels: &[impl AsRef<str>],
    since: Option<&str>,
) -> Result<(Vec<Granted>, Option<crate::log::Since>)> {
    let since = match since {
        Some(text) => Some(server.hub.log.check(parse_id(text)?)),
        None => None,
    };
    Ok((grants(server, visitor, channels).await?, since))
}

/// All of the channels, or the refusal of the first that is not granted. A channel that is named twice is granted once.
pub(super) async fn grants(server: &Server, visitor: &Visitor, channels: &[impl AsRef<str>]) -> Result<Vec<Granted>> {
    let max = server.hub.limits.subscriptions;
    if max > 0 && channels.len() > max {
        return Err(Error::coded(
            Code::TooManyChannels,
            format!("a client may have {max} subscriptions"),
        ));
    }
    let mut granted: Vec<Granted> = Vec::with_capacity(channels.len());
    let mut named = HashSet::with_capacity(channels.len());
    for name in channels {
        let name = name.as_ref();
        if !named.insert(name) {
            continue;
        }
        crate::channel::check(name)?;
        let name: Arc<str> = Arc::from(name);
        let grant = server.authorize(visitor, Action::Subscribe, &name).await?;
        granted.push((name, grant));
    }
    let names = || granted.iter().map(|(name, _)| Arc::clone(name)).collect();
    server.access.before_subscribe(&visitor.user, names).await?;
    Ok(granted)
}

pub(super) fn parse_id(text: &str) -> Result<EventId> {
    text.parse().map_err(|_| {
        Error::coded(
            Code::InvalidId,
            format!("{text:?} is no event id: it has the form <epoch>-<seq>"),
        )
    })
}

async fn publish(
    server: &Arc<Server>,
    visitor: &Visitor,
    channel: &str,
    event: &str,
    data: &str,
    key: Option<&str>,
    volatile: bool,
) -> Result<Emitted> {
    let name: Arc<str> = Arc::from(channel);
    server.authorize(visitor, Action::Publish, &name).await?;
    let mut broadcast = Io::root(Arc::clone(server)).to(channel);
    if let Some(user) = visitor.id() {
        broadcast = broadcast.publisher(Arc::clone(user));
    }
    if volatile {
        broadcast = broadcast.volatile();
    }
    if let Some(key) = key {
        broadcast = broadcast.key(key);
    }
    let data = Raw::from_json(data, server.hub.limits.attachments)?;
    Ok(broadcast.emit(event, data))
}

/// Answers a publish when it is kept. It has its place, and so has the answer: what the client says next is handled meanwhile, unless
/// very many of its publishes are under way.
async fn answer_when_kept(cell: &Rc<Cell>, key: Key, id: Option<Box<str>>, mut emitted: Emitted) {
    let server = &cell.server;
    let outcome = match emitted.try_receipt() {
        Some(outcome) => outcome,
        None if cell.state.borrow_mut().begin_publish(key) => {
            return server.hub.send(key.shard, Command::PlainPublished { key, id, emitted });
        }
        None => emitted.receipt().await,
    };
    reply(server, key, id.as_deref(), outcome.map(receipt)).await;
}

/// What the answer to a publish says.
pub(super) fn receipt(receipt: Option<Receipt>) -> String {
    match receipt {
        Some(Receipt { id, duplicate, .. }) => format!("{{\"id\":\"{id}\",\"duplicate\":{duplicate}}}"),
        // It is not logged, and so has no id.
        None => r#"{"duplicate":false}"#.to_owned(),
    }
}

async fn read_history(
    server: &Arc<Server>,
    visitor: &Visitor,
    channel: &str,
    before: Option<&str>,
    after: Option<&str>,
    limit: Option<u64>,
) -> Result<String> {
    let name: Arc<str> = Arc::from(channel);
    server.authorize(visitor, Action::History, &name).await?;
    let from = history::from(
        server,
        before.map(parse_id).transpose()?,
        after.map(parse_id).transpose()?,
    )?;
    let limit = page_limit(limit)?;
    let page = HistoryPage::read(server, Channel::room("/", channel)?, from, limit).await?;
    Ok(serde_json::to_string(&page)?)
}

/// What the user has not read of a channel, once the mark is moved to `until`.
async fn unread(server: &Arc<Server>, visitor: &Visitor, channel: &str, until: Option<&str>) -> Result<String> {
    let user = visitor.id().ok_or_else(|| {
        Error::unauthenticated("what is read is kept for users, and this connection has none: show a token with `auth`")
    })?;
    let name: Arc<str> = Arc::from(channel);
    server.authorize(visitor, Action::History, &name).await?;
    let io = Io::root(Arc::clone(server));
    let unread = match until {
        Some(until) => io.inbox().read(user, channel, parse_id(until)?).await?,
        None => io.inbox().unread(user, channel).await?,
    };
    Ok(serde_json::to_string(&unread)?)
}

async fn presence(
    server: &Arc<Server>,
    visitor: &Visitor,
    channel: &str,
    after: Option<&str>,
    limit: Option<u64>,
) -> Result<String> {
    let name: Arc<str> = Arc::from(channel);
    server.authorize(visitor, Action::Presence, &name).await?;
    let limit = page_limit(limit)?.events;
    let page = Io::root(Arc::clone(server)).presence().users(channel, after, limit);
    Ok(serde_json::to_string(&page)?)
}

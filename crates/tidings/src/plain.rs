//! A client without Socket.IO, as its shard sees it: a plain WebSocket, an event stream, or a poll that waits.
//!
//! What all three have in common is here: channels, the place to read on from, gaps, presence and the end of a
//! credential. [`session`] is the WebSocket's conversation, [`stream`] and [`waiter`] are the other two, [`http`] is how
//! they come in.

pub(crate) mod history;
pub(crate) mod http;
pub(crate) mod pipe;
mod requests;
pub(crate) mod session;
pub(crate) mod sse;
pub(crate) mod stream;
pub(crate) mod waiter;

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::access::{Grant, Visitor};
use crate::channel::Channel;
use crate::credential::{Credential, Due};
use crate::error::Code;
use crate::id::EventId;
use crate::log::Since;
use crate::shard::{Farewell, Shard};
use crate::socketio::io::Io;
use crate::socketio::reason::Reason;
use crate::tight;
use crate::wire::Wire;
use session::Session;

/// For so many channels at once a table is made of those that are there.
const MANY: usize = 8;

pub(crate) struct Plain {
    /// None until a WebSocket's client has said who it is.
    pub(crate) visitor: Option<Visitor>,
    pub(crate) channels: Vec<Named>,
    credential: Credential,
    /// When it is to hear from the server next.
    pub(crate) heartbeat_due_ms: u64,
    /// Of a WebSocket.
    pub(crate) session: Option<Box<Session>>,
}

/// A channel that it is subscribed to.
pub(crate) struct Named {
    pub(crate) name: Arc<str>,
    /// It counts in the channel's presence.
    pub(crate) is_present: bool,
    /// The server put it there.
    pub(crate) is_own: bool,
}

/// A channel that a client may subscribe to.
pub(crate) type Granted = (Arc<str>, Grant);

impl Plain {
    pub(crate) fn new(visitor: Option<Visitor>, session: Option<Session>, heartbeat_due_ms: u64) -> Self {
        Self {
            visitor,
            channels: Vec::new(),
            credential: Credential::default(),
            heartbeat_due_ms,
            session: session.map(Box::new),
        }
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_behind())
    }

    /// The channels that it asked for.
    pub(crate) fn asked_for(&self) -> usize {
        self.channels.iter().filter(|channel| !channel.is_own).count()
    }
}

impl Shard {
    fn plain_mut(&mut self, index: u32) -> Option<&mut Plain> {
        self.at(index)?.plain_mut()
    }

    /// Notes who the client is, from now on.
    pub(crate) fn set_visitor(&mut self, index: u32, visitor: Visitor) {
        let expiry = visitor.identity.as_ref().and_then(|identity| identity.expiry());
        let Some(plain) = self.plain_mut(index) else { return };
        plain.credential = Credential::until(expiry);
        let user = visitor.id().cloned();
        plain.visitor = Some(visitor);
        tracing::debug!(connection = %self.name(index), ?user, "a client is in");
    }

    /// Subscribes to channels, in one step, and with `since` replays what came after it. A channel that the client is
    /// subscribed to already is only replayed.
    pub(crate) fn plain_subscribe(&mut self, index: u32, channels: &[Granted], is_own: bool, since: Option<Since>) {
        let server = Arc::clone(&self.server);
        let Some(plain) = self.plain_mut(index) else { return };
        // Each is named once: those that are new now are not looked for among each other.
        let known: Option<HashMap<Arc<str>, usize>> = (channels.len() > MANY).then(|| {
            let names = plain.channels.iter().enumerate();
            names.map(|(at, named)| (Arc::clone(&named.name), at)).collect()
        });
        for (name, grant) in channels {
            let Ok(channel) = Channel::room("/", name) else {
                continue;
            };
            let Some(plain) = self.plain_mut(index) else { return };
            let at = match &known {
                Some(known) => known.get(name).copied(),
                None => plain.channels.iter().position(|named| named.name == *name),
            };
            if let Some(named) = at.and_then(|at| plain.channels.get_mut(at)) {
                named.is_own &= is_own;
            } else {
                let present = plain.visitor.as_ref().and_then(|visitor| visitor.identity.clone());
                let present = present.filter(|_| grant.shows_presence());
                let is_present = present.is_some();
                self.subscribe(index, 0, &channel);
                let shared = self.channels.shared_name(name).map_or(name, Channel::name);
                let named = Named {
                    name: Arc::clone(shared),
                    is_present,
                    is_own,
                };
                if let Some(plain) = self.plain_mut(index) {
                    tight::push(&mut plain.channels, named);
                }
                if let Some(identity) = present {
                    let io = Io::root(Arc::clone(&server));
                    // Its name is a channel's: it was checked when it was granted.
                    let _ = io.presence().enter(name, identity.id(), identity.shown_info());
                }
            }
        }
        if let Some(since) = since {
            let channels = channels.iter().filter_map(|(name, _)| Channel::room("/", name).ok());
            self.replay(index, &channels.collect::<Vec<_>>(), since);
        }
    }

    /// Shows who the client is now in the channels that it is still in.
    fn plain_present(&mut self, index: u32, channels: &[Granted]) {
        let server = Arc::clone(&self.server);
        let Some(plain) = self.plain_mut(index) else { return };
        let Some(identity) = plain.visitor.as_ref().and_then(|visitor| visitor.identity.as_ref()) else {
            return;
        };
        let io = Io::root(server);
        let shown = channels.iter().filter(|(_, grant)| grant.shows_presence());
        let shown: HashSet<&Arc<str>> = shown.map(|(name, _)| name).collect();
        for named in &mut plain.channels {
            if named.is_present {
                io.presence().update(&named.name, identity.id(), identity.shown_info());
            } else if shown.contains(&named.name) {
                // It was nobody when it subscribed.
                named.is_present = io
                    .presence()
                    .enter(&named.name, identity.id(), identity.shown_info())
                    .is_ok();
            }
        }
    }

    pub(crate) fn plain_unsubscribe(&mut self, index: u32, name: &str) {
        let server = Arc::clone(&self.server);
        let Some(plain) = self.plain_mut(index) else { return };
        let Some(at) = plain.channels.iter().position(|named| *named.name == *name) else {
            return;
        };
        let gone = plain.channels.swap_remove(at);
        let user = plain.visitor.as_ref().and_then(Visitor::id).cloned();
        if let Ok(channel) = Channel::room("/", name) {
            self.unsubscribe(index, &channel);
        }
        if let Some(user) = user.filter(|_| gone.is_present) {
            Io::root(server).presence().leave(name, &user);
        }
    }

    /// The connection ends: the client is nowhere any more, and the application hears of it.
    pub(crate) fn end_plain(&mut self, index: u32, reason: Reason) {
        let server = Arc::clone(&self.server);
        let Some(plain) = self.plain_mut(index) else { return };
        if let Some(session) = &mut plain.session {
            session.clear();
        }
        let channels = std::mem::take(&mut plain.channels);
        let visitor = plain.visitor.take();
        if let Some(user) = visitor.as_ref().and_then(Visitor::id) {
            for channel in channels.iter().filter(|channel| channel.is_present) {
                Io::root(Arc::clone(&server)).presence().lose(&channel.name, user);
            }
        }
        if let Some(visitor) = visitor {
            self.asked.extend(server.access.gone(visitor.user, reason));
        }
    }

    /// The cursor that the client has when all that waits for it is written.
    pub(crate) fn cursor(&mut self, index: u32) -> EventId {
        let position = self.position;
        let delivered = self
            .at(index)
            .map_or(position, |connection| connection.delivered(position));
        self.server.hub.id(delivered)
    }

    /// What the sweep looks at.
    pub(crate) fn visit_plain(&mut self, index: u32) {
        let Some(connection) = self.at(index) else { return };
        let wire = connection.wire;
        let Some(plain) = connection.plain_mut() else {
            return;
        };
        match plain.credential.due() {
            None => {}
            Some(Due::End) => return self.expire(index),
            Some(Due::Warning) => {
                plain.credential.note_warned();
                match wire {
                    Wire::Json => self.say(index, &tidings_protocol::plain::expiring()),
                    Wire::Poll => {}
                    _ => self.warn_stream(index),
                }
            }
        }
        match wire {
            Wire::Json => self.visit_session(index),
            Wire::Poll => {}
            _ => self.visit_stream(index),
        }
    }

    fn expire(&mut self, index: u32) {
        let Some(connection) = self.at(index) else { return };
        if connection.wire == Wire::Json {
            let message = "the token has expired; come back with a new one";
            self.say_error(index, None, Code::TokenExpired.as_str(), message);
        }
        self.end(index, Reason::ForcedClose, Farewell::Close(Some(4401)));
    }
}

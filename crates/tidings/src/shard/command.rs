//! All that a shard can be asked.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::sync::{mpsc, oneshot};

use crate::access::Visitor;
use crate::channel::Channel;
use crate::connection::Key;
use crate::connections;
use crate::error::Result;
use crate::event::Event;
use crate::handshake::Opening;
use crate::hub::Permit;
use crate::log::{Cursor, Page, Since};
use crate::meters::Census;
use crate::occupancy;
use crate::plain::Granted;
use crate::plain::session::Renewal;
use crate::plain::stream::{NewStream, TakenStream};
use crate::plain::waiter::NewWaiter;
use crate::random::RandomId;
use crate::socketio::ack::AckSink;
use crate::socketio::broadcast::Emitted;
use crate::socketio::namespace::Namespace;
use crate::socketio::socket::SocketInner;
use crate::transport::engineio::Refusal;
use crate::transport::engineio::polling::{PollReply, PostReply};
use crate::transport::link::NewLink;

/// A command in a shard's inbox.
pub(crate) struct Queued {
    /// It is carried out when the shard has delivered the log up to here.
    pub(crate) after: u64,
    pub(crate) command: Command,
}

pub(crate) enum Command {
    /// A new Engine.IO session that begins with polling; answers the body of the handshake.
    OpenPolling {
        sid: RandomId,
        opening: Arc<Opening>,
        permit: Permit,
        reply: oneshot::Sender<Bytes>,
    },
    /// A new Engine.IO session on a WebSocket.
    OpenWebSocket {
        sid: RandomId,
        opening: Arc<Opening>,
        permit: Permit,
        link: Box<NewLink>,
    },
    /// Whether a WebSocket may try to take the session over.
    CheckUpgrade {
        sid: RandomId,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// A WebSocket that wants to take the session over.
    Probe { sid: RandomId, link: Box<NewLink> },
    /// A GET of a polling session.
    Poll {
        sid: RandomId,
        ticket: u64,
        reply: oneshot::Sender<PollReply>,
    },
    /// The client gave up a GET.
    PollAborted { sid: RandomId, ticket: u64 },
    /// A POST of a polling session whose body is about to be read.
    BeginPost {
        sid: RandomId,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// The POST's body; answered when the client may send more.
    Post {
        sid: RandomId,
        body: Bytes,
        reply: oneshot::Sender<PostReply>,
    },
    /// The client gave up a POST, or its body is too large.
    EndPost { sid: RandomId, aborted: bool },

    /// A plain WebSocket.
    OpenPlain {
        sid: RandomId,
        opening: Arc<Opening>,
        permit: Permit,
        link: Box<NewLink>,
    },
    /// The application has decided about the client of a plain WebSocket by the request it began with.
    PlainEntered {
        key: Key,
        outcome: Result<Visitor>,
        shows_token: bool,
        own: Vec<Granted>,
        /// Dropped when that is done.
        done: oneshot::Sender<()>,
    },
    /// The application has decided about a token that a plain WebSocket's client sent. `id` is the request's, as JSON.
    PlainAuth {
        key: Key,
        id: Option<Box<str>>,
        outcome: Result<Renewal>,
        /// Dropped when that is done.
        done: oneshot::Sender<()>,
    },
    /// Subscribes a plain WebSocket to channels that the application has granted.
    PlainSubscribe {
        key: Key,
        id: Option<Box<str>>,
        channels: Vec<Granted>,
        since: Option<Since>,
        /// Dropped when that is done.
        done: oneshot::Sender<()>,
    },
    /// Ends subscriptions of a plain WebSocket.
    PlainUnsubscribe {
        key: Key,
        id: Option<Box<str>>,
        channels: Vec<Arc<str>>,
    },
    /// A message for a plain WebSocket that is no event of the log.
    PlainSay { key: Key, json: Vec<u8> },
    /// What became of an event that a plain WebSocket's client has published: it has come to its place.
    PlainPublished {
        key: Key,
        id: Option<Box<str>>,
        emitted: Emitted,
    },
    /// An event stream.
    OpenStream { sid: RandomId, new: Box<NewStream> },
    /// An event stream gets the byte stream for itself; the bytes come first.
    TakeStream { sid: RandomId, taken: Box<TakenStream> },
    /// A poll that waits.
    OpenWaiter { sid: RandomId, new: Box<NewWaiter> },
    /// The poll's time is over.
    StopWaiting { sid: RandomId },
    /// An event stream's body has taken all that it was given.
    Writable { sid: RandomId },
    /// The client closed its request.
    Gone { sid: RandomId },
    /// The application has decided about a client that wants to enter a namespace.
    Enter {
        key: Key,
        namespace: Arc<Namespace>,
        outcome: Result<Arc<SocketInner>>,
    },
    /// A socket enters a room.
    Join { socket: Arc<SocketInner>, channel: Channel },
    /// A socket enters rooms, and gets what came after `since` there. Before, it was in those of `heard_in`.
    JoinSince {
        socket: Arc<SocketInner>,
        channels: Vec<Channel>,
        since: Since,
        heard_in: Vec<Channel>,
    },
    /// A socket leaves a room.
    Leave { socket: Arc<SocketInner>, channel: Channel },
    /// A packet for one socket that is no event of the log.
    Send {
        socket: Arc<SocketInner>,
        packet: Packet,
        volatile: bool,
    },
    /// A packet for one socket that asks for an ack.
    SendWithAck {
        socket: Arc<SocketInner>,
        packet: Packet,
        ack: u64,
        sink: AckSink,
    },
    /// Nothing: its place has come when `done` is dropped.
    Settle { done: oneshot::Sender<()> },
    /// An event that is not logged: volatile, or one that asks for acks.
    Broadcast { event: Arc<Event>, kind: BroadcastKind },
    /// The latest values of a conflated channel, for a connection that is subscribed to it.
    Latest {
        key: Key,
        channel: Channel,
        events: Vec<Arc<Event>>,
        version: u64,
    },
    /// Nobody waits for this ack any more.
    ForgetAck { ack: u64, socket: Option<Arc<SocketInner>> },
    /// Answers the first channels that have subscribers.
    Occupied {
        request: Arc<occupancy::Request>,
        reply: mpsc::UnboundedSender<Vec<occupancy::Occupied>>,
    },
    /// Answers the sockets that a selection reaches.
    Select {
        selection: Arc<Selection>,
        reply: mpsc::UnboundedSender<Vec<Arc<SocketInner>>>,
    },
    /// Does something to all sockets that a selection reaches; `done` is dropped when that is done.
    Apply {
        selection: Arc<Selection>,
        action: Action,
        done: mpsc::UnboundedSender<()>,
    },
    /// Ends a socket, and with `close` its whole connection.
    Disconnect { socket: Arc<SocketInner>, close: bool },
    /// Ends the transport of a socket's connection, so that the client comes back.
    CloseTransport { socket: Arc<SocketInner>, code: u16 },
    /// How many are connected, and what waits for them.
    Census(mpsc::UnboundedSender<Census>),
    /// Who is connected.
    Connections(Box<connections::Request>),
    /// Ends a connection, for good as far as its transport can say that; answers whether there was one.
    SendAway { key: Key, reply: oneshot::Sender<bool> },
    /// A socket's client has shown a fresh credential.
    Renew {
        socket: Arc<SocketInner>,
        expires_at: SystemTime,
    },
    /// A page for a connection that catches up, with the cursors it was read for.
    Page {
        key: Key,
        ticket: u32,
        outcome: Result<(Vec<Cursor>, Page)>,
    },
    /// What the application says of channels may have changed.
    Reconsider,
    /// Ends every connection of this wave, of so many; with one wave all of them.
    CloseWave { wave: u32, of: u32 },
    /// Ends every connection, then the shard's thread.
    Stop,
}

/// A Socket.IO packet without its framing.
pub(crate) struct Packet {
    pub(crate) bytes: Vec<u8>,
    pub(crate) attachments: Vec<Bytes>,
}

impl Packet {
    /// In bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

/// How an event that is not logged goes out.
#[derive(Clone)]
pub(crate) enum BroadcastKind {
    /// To all.
    Plain,
    /// To those who can take it now.
    Volatile,
    /// As volatile ones; who can't take it now gets what is the latest then.
    Latest,
    /// To all, with the ack id; each shard tells the sink how many acks to expect.
    WithAck { ack: u64, sink: AckSink },
}

/// A set of sockets: those in any of `channels` and in none of `except`.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) channels: SmallVec<[Channel; 1]>,
    pub(crate) except: SmallVec<[Channel; 1]>,
}

#[derive(Clone)]
pub(crate) enum Action {
    Join(Arc<[Channel]>),
    Leave(Arc<[Channel]>),
    Disconnect { close: bool },
}

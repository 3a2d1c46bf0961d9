//! `Io`: what the application holds of its server, for one namespace.

use std::borrow::Cow;
use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use super::ack::{AckReply, BroadcastAckError};
use super::arguments::Emit;
use super::broadcast::{Broadcast, Emitted, Target};
use super::extract::Event;
use super::handler::{Answer, ErasedHandler, Handler};
use super::namespace::{Behaviour, Namespace, matches_braces};
use super::reason::Reason;
use super::socket::{Socket, SocketInner, User};
use crate::builder::Builder;
use crate::channel::Channel;
use crate::error::{Code, Error, Result};
use crate::handshake::Handshake;
use crate::plain::history::HistoryQuery;
use crate::server::{Counts, Server};
use crate::shard::command::Command;

/// A server, seen from one namespace (`/` unless [`Io::of`] says another). Cheap to clone: it goes into an axum state, a timer,
/// a handler.
///
/// ```
/// # use tidings::{Data, Handshake, Result, Socket, Tidings};
/// # struct User { id: String }
/// # async fn verify_token(token: &str) -> Result<User> { Ok(User { id: token.to_owned() }) }
/// let io = Tidings::builder().allowed_origin("https://app.example").build();
///
/// io.auth(async |handshake: Handshake| verify_token(handshake.token()?).await);
///
/// io.on_connect(async |socket: Socket<User>| {
///     socket.join(format!("user:{}", socket.user().id));
///     socket.on("echo", async |Data(text): Data<String>| Ok(text));
/// });
///
/// let app: axum::Router = axum::Router::new().merge(io.router());
/// ```
#[derive(Clone)]
pub struct Io {
    pub(crate) server: Arc<Server>,
    target: Target,
}

impl Io {
    /// How a server is set up.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn root(server: Arc<Server>) -> Self {
        let namespace = server.namespaces.get_or_insert("/");
        Self {
            server,
            target: Target::Namespace(namespace),
        }
    }

    pub(crate) fn of_namespace(server: &Arc<Server>, namespace: &Arc<Namespace>) -> Self {
        Self {
            server: Arc::clone(server),
            target: Target::Namespace(Arc::clone(namespace)),
        }
    }

    /// Another namespace of the same server. With `{…}` in its name it is a pattern: `io.of("/room-{id}")` is all
    /// namespaces of that form; handlers registered on it hold for each of them, and what is emitted goes to all. The name of
    /// one of them, `io.of("/room-7")`, is for sending to that one; registering something on it takes it out of the pattern.
    pub fn of(&self, path: &str) -> Io {
        if path.contains('{') {
            let pattern = path.to_owned();
            return self.of_matching(move |path| matches_braces(&pattern, path));
        }
        let namespace = self.server.namespaces.named(path);
        Self {
            server: Arc::clone(&self.server),
            target: Target::Namespace(namespace),
        }
    }

    /// All namespaces whose names a function accepts, and which are not registered by [`Io::of`].
    pub fn of_matching(&self, accepts: impl Fn(&str) -> bool + Send + Sync + 'static) -> Io {
        let behaviour = self.server.namespaces.add_pattern(Arc::new(accepts));
        Self {
            server: Arc::clone(&self.server),
            target: Target::Pattern(behaviour),
        }
    }

    /// What registers for one namespace of a pattern gives that namespace a behaviour of its own.
    fn behaviour(&self) -> Arc<Behaviour> {
        match &self.target {
            Target::Namespace(namespace) => {
                let namespace = self.server.namespaces.get_or_insert(&namespace.path);
                Arc::clone(&namespace.behaviour)
            }
            Target::Pattern(behaviour) => Arc::clone(behaviour),
        }
    }

    // Who may come

    /// Decides who a client is. An error is the client's `connect_error`, with message and data; what is answered is
    /// [`Socket::user`]. What `/` has holds for every namespace that has none of its own. Without any, everyone may come and
    /// the user is `()`.
    ///
    /// An error whose code is `too_many_connections`, `rate_limited`, `draining` or `unavailable` closes the transport instead:
    /// stock clients come back after that, and never after a `connect_error`.
    pub fn auth<U, F>(&self, authenticate: F)
    where
        U: Send + Sync + 'static,
        F: AsyncFn(Handshake) -> Result<U> + Send + Sync + 'static,
    {
        let authenticate = Arc::new(authenticate);
        self.behaviour().set_auth(Arc::new(move |handshake| {
            let authenticate = Arc::clone(&authenticate);
            Box::pin(async move { (*authenticate)(handshake).await.map(|user| Arc::new(user) as User) })
        }));
    }

    /// Connect middleware: decides about each client after [`Io::auth`], in the order of registration. It may already put
    /// the socket into rooms and give it state.
    pub fn before_connect<U, F>(&self, middleware: F)
    where
        U: Send + Sync + 'static,
        F: AsyncFn(Socket<U>) -> Result<()> + Send + Sync + 'static,
    {
        let middleware = Arc::new(middleware);
        self.behaviour()
            .add_middleware(Arc::new(move |inner: Arc<SocketInner>| {
                let middleware = Arc::clone(&middleware);
                Box::pin(async move {
                    match Socket::of(&inner) {
                        Some(socket) => (*middleware)(socket).await,
                        None => Err(super::extract::wrong_user::<U>(&inner)),
                    }
                })
            }));
    }

    /// Runs for each client that has come in, before any of its events are handled: the place to join rooms and to register
    /// handlers.
    pub fn on_connect<U, F, R>(&self, handler: F)
    where
        U: Send + Sync + 'static,
        F: AsyncFn(Socket<U>) -> R + Send + Sync + 'static,
        R: Answer + 'static,
    {
        self.behaviour()
            .add_connect_handler(super::handler::connect_handler(handler));
    }

    /// Runs when a socket of the namespace has ended, after its own handlers: as [`Socket::on_disconnect`], but registered once, not
    /// for each socket.
    ///
    /// ```no_run
    /// # struct User { id: String }
    /// # fn run(io: tidings::Io) {
    /// io.on_disconnect(async |socket: tidings::Socket<User>, reason| println!("{} left: {reason}", socket.user().id));
    /// # }
    /// ```
    pub fn on_disconnect<U, F, R>(&self, handler: F)
    where
        U: Send + Sync + 'static,
        F: AsyncFn(Socket<U>, Reason) -> R + Send + Sync + 'static,
        R: Answer + 'static,
    {
        self.behaviour()
            .add_disconnect_handler(super::handler::socket_handler(handler));
    }

    /// Handles an event of every client of the namespace: as [`Socket::on`], but registered once, not for each socket.
    pub fn on<M>(&self, name: impl Into<Cow<'static, str>>, handler: impl Handler<M>) {
        let handler = ErasedHandler::new(handler, false);
        self.behaviour()
            .change_events(|events| events.add(name.into(), handler));
    }

    /// Handles events that nothing else handles. Without it their acknowledgement is the error `unknown_event`.
    pub fn on_unknown<M>(&self, handler: impl Handler<M>) {
        self.behaviour().set_fallback(ErasedHandler::new(handler, false));
    }

    /// Sees every event of every client before its handlers do.
    pub fn on_any<F, R>(&self, handler: F)
    where
        F: AsyncFn(Event) -> R + Send + Sync + 'static,
        R: Answer + 'static,
    {
        self.behaviour().change_events(|events| events.add_any(handler));
    }

    /// Observes what handlers and extractors fail with: the socket's id and the error.
    pub fn on_error(&self, observer: impl Fn(&str, &Error) + Send + Sync + 'static) {
        self.behaviour().set_error_observer(observer);
    }

    // Sending

    fn broadcast(&self) -> Broadcast {
        Broadcast::new(&self.server, self.target.clone())
    }

    /// The sockets in a room.
    pub fn to(&self, room: impl AsRef<str>) -> Broadcast {
        self.broadcast().to(room)
    }

    /// As [`Io::to`]; Node's `in` is a keyword in Rust.
    pub fn within(&self, room: impl AsRef<str>) -> Broadcast {
        self.broadcast().to(room)
    }

    /// Everyone in the namespace but the sockets in a room.
    pub fn except(&self, room: impl AsRef<str>) -> Broadcast {
        self.broadcast().except(room)
    }

    /// Everyone in the namespace who can take it right now.
    pub fn volatile(&self) -> Broadcast {
        self.broadcast().volatile()
    }

    /// Everyone in the namespace whose client is connected to this process.
    pub fn local(&self) -> Broadcast {
        self.broadcast().local()
    }

    /// Everyone in the namespace, with a time to wait for acknowledgements.
    pub fn timeout(&self, timeout: Duration) -> Broadcast {
        self.broadcast().timeout(timeout)
    }

    /// Emits an event to everyone in the namespace. Awaiting the answer is not needed.
    pub fn emit(&self, name: &str, arguments: impl Emit) -> Emitted {
        self.broadcast().emit(name, arguments)
    }

    /// Emits an event to everyone in the namespace and collects their acknowledgements.
    ///
    /// # Errors
    /// When not all came in time: those that did are in the error.
    pub async fn emit_with_ack(&self, name: &str, arguments: impl Emit) -> Result<Vec<AckReply>, BroadcastAckError> {
        self.broadcast().emit_with_ack(name, arguments).await
    }

    /// Everyone in the namespace, as a set.
    pub fn everyone(&self) -> Broadcast {
        self.broadcast()
    }

    /// All sockets of the namespace whose user is a `U`.
    pub async fn sockets<U: Send + Sync + 'static>(&self) -> Vec<Socket<U>> {
        self.broadcast().sockets().await
    }

    /// How many sockets are in the namespace.
    pub fn socket_count(&self) -> usize {
        match &self.target {
            Target::Namespace(namespace) => namespace.socket_count(),
            Target::Pattern(behaviour) => behaviour
                .children()
                .iter()
                .map(|namespace| namespace.socket_count())
                .sum(),
        }
    }

    /// What there is right now, over all namespaces.
    pub fn counts(&self) -> Counts {
        self.server.counts()
    }

    /// The position of the log: the id of the last event that was published.
    pub fn cursor(&self) -> crate::EventId {
        let hub = &self.server.hub;
        hub.id(hub.log.position())
    }

    /// Whether a name is the id of a socket of this process, be it gone or not: such a room is that socket's own, and a server
    /// that lets clients name rooms refuses it.
    pub fn is_socket_id(&self, name: &str) -> bool {
        self.server.socket_ids.is_one(name)
    }

    /// Asks [`Builder::pacing`](crate::Builder::pacing) and [`Builder::slow`](crate::Builder::slow) again about channels that have
    /// subscribers, of which they were asked when the first came. For applications whose answers change while they run. What was
    /// held by a pace goes through.
    pub fn reconsider_channels(&self) {
        if let Some(pacer) = &self.server.pacer {
            pacer.let_go(&self.server.hub);
        }
        self.server.hub.send_all(|| Command::Reconsider);
    }

    /// Whether [`Io::close`] has begun.
    pub fn is_closing(&self) -> bool {
        self.server.hub.is_draining()
    }

    /// The routes of Socket.IO (`/socket.io/` unless [`Builder::path`] says another), to be merged into an axum router.
    pub fn router(&self) -> axum::Router {
        crate::transport::http::router(&self.server)
    }

    /// The routes for clients without Socket.IO, to be merged into an axum router: `/ws`, a plain WebSocket that speaks JSON;
    /// `/sse`, server-sent events; `/poll`, long and short polling. Who they are is decided by [`Io::auth`] of `/`, what
    /// they may do by [`Io::authorize`]. Their channels are the rooms of `/`.
    pub fn channel_router(&self) -> axum::Router {
        crate::plain::http::router(&self.server)
    }

    /// Routes of the application's own that only pages of [allowed origins](crate::Builder::allowed_origin) may call, as those of
    /// [`Io::channel_router`]: others are refused with 403, and answers have the CORS headers that let a page read them.
    pub fn for_allowed_origins(&self, routes: axum::Router) -> axum::Router {
        crate::plain::http::guard(&self.server, routes)
    }

    /// What a room retains: awaited, a page of it. Without [`HistoryQuery::before`] and [`HistoryQuery::after`] the newest.
    ///
    /// ```no_run
    /// # async fn run(io: tidings::Io) -> tidings::Result<()> {
    /// let page = io.history("room:7").limit(20).await?;
    /// if let Some(oldest) = page.events.first() {
    ///     let older = io.history("room:7").before(oldest.id).limit(20).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn history(&self, room: impl AsRef<str>) -> HistoryQuery {
        HistoryQuery::new(Arc::clone(&self.server), self.channel(room.as_ref()))
    }

    /// The channel of a room.
    pub(crate) fn channel(&self, room: &str) -> Result<Channel> {
        match &self.target {
            Target::Namespace(namespace) => Channel::room(&namespace.path, room),
            Target::Pattern(_) => Err(Error::coded(
                Code::InvalidChannel,
                "a pattern of namespaces has no rooms of its own: name one of them",
            )),
        }
    }

    /// What a request says of who sent it, for a route of the application's own: as [`Io::auth`] gets it from clients.
    pub fn handshake<B>(&self, request: &http::Request<B>) -> Handshake {
        crate::plain::http::handshake(&self.server, request)
    }

    /// Why the server can't do its work right now, if so: the store can't be written (`store_full`, `unavailable`), which may pass;
    /// or one of its threads has ended by a fault (`internal`), which does not. Then the process has to be started again.
    pub fn failure(&self) -> Option<Error> {
        self.server.hub.failure()
    }

    /// Ends the server: no new connections, every socket ends with the reason `server shutting down` and its client comes
    /// back by itself. Done when all handlers have run, at the latest after ten seconds ([`Close::within`] says another time), and
    /// clients have had a moment to hear of it.
    pub fn close(&self) -> Close {
        Close {
            server: Arc::clone(&self.server),
            patience: Duration::from_secs(10),
        }
    }
}

/// The future of [`Io::close`]. It must be awaited.
#[must_use = "the server closes when this is awaited"]
pub struct Close {
    server: Arc<Server>,
    patience: Duration,
}

impl Close {
    /// How long handlers may take to end. Default 10 s.
    pub fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

impl IntoFuture for Close {
    type Output = ();
    type IntoFuture = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.server.close(self.patience).await })
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = match &self.target {
            Target::Namespace(namespace) => &*namespace.path,
            Target::Pattern(_) => "a pattern",
        };
        f.debug_struct("Io")
            .field("namespace", &namespace)
            .finish_non_exhaustive()
    }
}

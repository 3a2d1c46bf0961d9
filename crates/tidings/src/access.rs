//! Who a client is to the application, and what it may do with channels: for plain WebSockets, event streams and polls.
//!
//! A Socket.IO client gets into rooms by the application's handlers alone; the others name the channels they want, and
//! the application is asked.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::RwLock;
use serde_json::value::RawValue;

use crate::channel::Channel;
use crate::error::{Error, Result};
use crate::handshake::Handshake;
use crate::server::Server;
use crate::socketio::io::Io;
use crate::socketio::reason::Reason;
use crate::socketio::recovery::Stored;
use crate::socketio::socket::User;

type Boxed<T> = std::pin::Pin<Box<dyn Future<Output = T>>>;
type Identify = Arc<dyn Fn(&User) -> Option<Identity> + Send + Sync>;
type Recover = Arc<dyn Fn(User, Arc<str>) -> Boxed<bool> + Send + Sync>;
type Authorize = Arc<dyn Fn(User, Action, Arc<str>) -> Boxed<Result<Grant>> + Send + Sync>;
type First = Arc<dyn Fn(&User) -> Vec<Arc<str>> + Send + Sync>;
type BeforeSubscribe = Arc<dyn Fn(User, Vec<Arc<str>>) -> Boxed<Result<()>> + Send + Sync>;
type Gone = Arc<dyn Fn(User, Reason) -> Boxed<()> + Send + Sync>;

/// What a client wants to do with a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// To receive what is published.
    Subscribe,
    /// To publish.
    Publish,
    /// To read what was published before, and to note how far that is read.
    History,
    /// To see who is there.
    Presence,
}

/// That a client may do what it asked for; [`Io::authorize`] answers it. `()` stands for a plain one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grant {
    presence: bool,
}

impl Grant {
    /// It may.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a subscriber is shown in the channel's presence. Default false.
    pub fn presence(mut self, shows: bool) -> Self {
        self.presence = shows;
        self
    }

    pub(crate) fn shows_presence(self) -> bool {
        self.presence
    }
}

impl From<()> for Grant {
    fn from((): ()) -> Self {
        Self::default()
    }
}

/// Who a user of [`Io::auth`] is to Tidings: see [`Io::identify`].
#[derive(Debug, Clone)]
pub struct Identity {
    id: Arc<str>,
    expires_at: Option<SystemTime>,
    info: Option<Arc<RawValue>>,
}

impl Identity {
    /// A user with this id (a token's `sub`, say): the publisher of its events, and the owner of the channel `user:<id>`.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self {
            id: id.into(),
            expires_at: None,
            info: None,
        }
    }

    /// When its credential ends: the client is warned a minute before, and closed then. A plain WebSocket shows a fresh one
    /// with an `auth` message; for Socket.IO the application takes it, and calls [`Socket::expires_at`](crate::Socket::expires_at).
    pub fn expires_at(mut self, time: SystemTime) -> Self {
        self.expires_at = Some(time);
        self
    }

    /// What presence shows of it.
    pub fn info(mut self, info: Option<Arc<RawValue>>) -> Self {
        self.info = info;
        self
    }

    pub(crate) fn id(&self) -> &Arc<str> {
        &self.id
    }

    pub(crate) fn expiry(&self) -> Option<SystemTime> {
        self.expires_at
    }

    pub(crate) fn shown_info(&self) -> Option<Arc<RawValue>> {
        self.info.clone()
    }

    /// The channel that every user may read.
    pub(crate) fn own_channel(&self) -> Arc<str> {
        Arc::from(format!("user:{}", self.id))
    }
}

/// What the application registered.
#[derive(Default)]
pub(crate) struct Access {
    identify: RwLock<Option<Identify>>,
    authorize: RwLock<Option<Authorize>>,
    recover: RwLock<Option<Recover>>,
    first: RwLock<Option<First>>,
    before_subscribe: RwLock<Option<BeforeSubscribe>>,
    gone: RwLock<Option<Gone>>,
}

impl Access {
    /// The rooms of a session that its user, who has come back, may still be in.
    pub(crate) async fn recovered_rooms(&self, user: &User, stored: &Stored) -> Vec<Channel> {
        let recover = self.recover.read().clone();
        let mut allowed = Vec::with_capacity(stored.rooms.len());
        for room in &stored.rooms {
            let name = room.channel.room_name().unwrap_or_default();
            let stays = match &recover {
                Some(recover) if *name != *stored.id => recover(Arc::clone(user), Arc::from(name)).await,
                _ => true,
            };
            if stays {
                allowed.push(room.channel.clone());
            }
        }
        allowed
    }

    /// The channels that the application puts a plain WebSocket's client into at the start.
    pub(crate) fn first_channels(&self, user: &User) -> Vec<Arc<str>> {
        let first = self.first.read().clone();
        first.map(|first| first(user)).unwrap_or_default()
    }

    /// Asks the application about all channels of one request that it has granted one by one.
    pub(crate) async fn before_subscribe(&self, user: &User, channels: impl FnOnce() -> Vec<Arc<str>>) -> Result<()> {
        let before = self.before_subscribe.read().clone();
        match before {
            Some(before) => before(Arc::clone(user), channels()).await,
            None => Ok(()),
        }
    }

    /// What the application does when a client without Socket.IO has gone.
    pub(crate) fn gone(&self, user: User, reason: Reason) -> Option<Boxed<()>> {
        let gone = self.gone.read().clone();
        gone.map(|gone| gone(user, reason))
    }
}

/// A client that `auth` has let in.
#[derive(Clone)]
pub(crate) struct Visitor {
    pub(crate) user: User,
    pub(crate) identity: Option<Arc<Identity>>,
}

impl Visitor {
    /// The id of the user, if it is somebody.
    pub(crate) fn id(&self) -> Option<&Arc<str>> {
        self.identity.as_ref().map(|identity| identity.id())
    }
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Visitor").field(&self.id()).finish()
    }
}

impl Server {
    /// Asks the application who a client is.
    pub(crate) async fn let_in(&self, handshake: Handshake) -> Result<Visitor> {
        let user = match self.namespaces.root_auth() {
            Some(auth) => {
                let address = handshake.address();
                let user = auth(handshake).await.map_err(Error::in_auth);
                user.inspect_err(|error| self.hub.refusals.note(error, address))?
            }
            None => Arc::new(()),
        };
        Ok(self.visitor(user))
    }

    /// Who a user is, as the application tells.
    pub(crate) fn identity(&self, user: &User) -> Option<Identity> {
        let identify = self.access.identify.read().clone();
        identify.and_then(|identify| identify(user))
    }

    pub(crate) fn visitor(&self, user: User) -> Visitor {
        let identity = self.identity(&user).map(Arc::new);
        Visitor { user, identity }
    }

    /// Asks the application whether a client may do something.
    pub(crate) async fn authorize(&self, visitor: &Visitor, action: Action, channel: &Arc<str>) -> Result<Grant> {
        crate::channel::check(channel)?;
        if self.socket_ids.is_one(channel) {
            return Err(forbidden());
        }
        let authorize = self.access.authorize.read().clone();
        if let Some(authorize) = authorize {
            return authorize(Arc::clone(&visitor.user), action, Arc::clone(channel)).await;
        }
        let is_own = visitor
            .identity
            .as_ref()
            .is_some_and(|identity| *identity.own_channel() == **channel);
        match action {
            Action::Subscribe | Action::History | Action::Presence if is_own => Ok(Grant::new()),
            _ => Err(forbidden()),
        }
    }
}

/// What does not exist looks the same.
fn forbidden() -> Error {
    Error::forbidden("this is not allowed in this channel")
}

impl Io {
    /// Tells who a user of [`Io::auth`] is, by id: the publisher of its events, the owner of `user:<id>`, the user of
    /// presence and of recovered sessions. Without it clients are nobody.
    ///
    /// ```
    /// # use tidings::{Handshake, Identity, Tidings};
    /// # struct User { id: String }
    /// # let io = Tidings::builder().shards(1).build();
    /// io.identify(|user: &User| Identity::new(&*user.id));
    /// ```
    pub fn identify<U, F>(&self, identify: F)
    where
        U: Send + Sync + 'static,
        F: Fn(&U) -> Identity + Send + Sync + 'static,
    {
        let identify = move |user: &User| user.downcast_ref::<U>().map(&identify);
        *self.server.access.identify.write() = Some(Arc::new(identify));
    }

    /// As [`Io::identify`], where some users are nobody: guests, say.
    pub fn identify_some<U, F>(&self, identify: F)
    where
        U: Send + Sync + 'static,
        F: Fn(&U) -> Option<Identity> + Send + Sync + 'static,
    {
        let identify = move |user: &User| user.downcast_ref::<U>().and_then(&identify);
        *self.server.access.identify.write() = Some(Arc::new(identify));
    }

    /// Decides which rooms a recovered socket is still in: its user may have lost a permission while it was away. Without it
    /// all rooms are restored. See [`Builder::recovery`](crate::Builder::recovery).
    pub fn recover_room<U, F>(&self, decide: F)
    where
        U: Send + Sync + 'static,
        F: AsyncFn(Arc<U>, Arc<str>) -> bool + Send + Sync + 'static,
    {
        let decide = Arc::new(decide);
        let recover = move |user: User, room| -> Boxed<bool> {
            let decide = Arc::clone(&decide);
            Box::pin(async move {
                match user.downcast::<U>() {
                    Ok(user) => (*decide)(user, room).await,
                    Err(_) => false,
                }
            })
        };
        *self.server.access.recover.write() = Some(Arc::new(recover));
    }

    /// Decides what clients of `/ws`, `/sse` and `/poll` may do with which channels. An error is what the client is told;
    /// what does not exist should look the same as what is forbidden. Without it a user may read the own channel `user:<id>`,
    /// and nothing else is allowed.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use tidings::{Action, Error, Grant, Tidings};
    /// # struct User { rooms: Vec<String> }
    /// # let io = Tidings::builder().shards(1).build();
    /// io.authorize(async |user: Arc<User>, _: Action, channel: Arc<str>| {
    ///     match user.rooms.iter().any(|room| **room == *channel) {
    ///         true => Ok(Grant::new().presence(true)),
    ///         false => Err(Error::forbidden("you are not in this room")),
    ///     }
    /// });
    /// ```
    pub fn authorize<U, F, G>(&self, authorize: F)
    where
        U: Send + Sync + 'static,
        G: Into<Grant> + 'static,
        F: AsyncFn(Arc<U>, Action, Arc<str>) -> Result<G> + Send + Sync + 'static,
    {
        let authorize = Arc::new(authorize);
        let authorize = move |user: User, action, channel| -> Boxed<Result<Grant>> {
            let authorize = Arc::clone(&authorize);
            Box::pin(async move {
                match user.downcast::<U>() {
                    Ok(user) => (*authorize)(user, action, channel).await.map(Into::into),
                    Err(_) => {
                        tracing::error!(
                            asked_for = std::any::type_name::<U>(),
                            "`authorize` takes a user of another type than what `auth` answers"
                        );
                        Err(Error::coded(crate::error::Code::Internal, "internal error"))
                    }
                }
            })
        };
        *self.server.access.authorize.write() = Some(Arc::new(authorize));
    }

    /// Has the last word on what clients of `/ws`, `/sse` and `/poll` subscribe to: asked once for each request, with all of its
    /// channels, when [`Io::authorize`] has granted each. An error refuses them all.
    pub fn before_subscribe<U, F>(&self, decide: F)
    where
        U: Send + Sync + 'static,
        F: AsyncFn(Arc<U>, Vec<Arc<str>>) -> Result<()> + Send + Sync + 'static,
    {
        let decide = Arc::new(decide);
        let decide = move |user: User, channels| -> Boxed<Result<()>> {
            let decide = Arc::clone(&decide);
            Box::pin(async move {
                match user.downcast::<U>() {
                    Ok(user) => (*decide)(user, channels).await,
                    Err(_) => Err(forbidden()),
                }
            })
        };
        *self.server.access.before_subscribe.write() = Some(Arc::new(decide));
    }

    /// Names channels that a client of `/ws` is put into at the start, beside its own; they don't count as asked for.
    /// [`Io::authorize`] is asked about each. Streams and polls name their channels themselves.
    pub fn first_channels<U, F>(&self, channels: F)
    where
        U: Send + Sync + 'static,
        F: Fn(&U) -> Vec<Arc<str>> + Send + Sync + 'static,
    {
        let channels = move |user: &User| user.downcast_ref::<U>().map(&channels).unwrap_or_default();
        *self.server.access.first.write() = Some(Arc::new(channels));
    }

    /// What happens when a client of `/ws` or `/sse`, or a poll that waited, has gone: as
    /// [`Socket::on_disconnect`](crate::Socket::on_disconnect) for Socket.IO.
    pub fn on_gone<U, F>(&self, handler: F)
    where
        U: Send + Sync + 'static,
        F: AsyncFn(Arc<U>, Reason) + Send + Sync + 'static,
    {
        let handler = Arc::new(handler);
        let gone = move |user: User, reason| -> Boxed<()> {
            let handler = Arc::clone(&handler);
            Box::pin(async move {
                if let Ok(user) = user.downcast::<U>() {
                    (*handler)(user, reason).await;
                }
            })
        };
        *self.server.access.gone.write() = Some(Arc::new(gone));
    }
}

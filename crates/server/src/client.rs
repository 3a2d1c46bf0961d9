//! A client: who it is, what it is subscribed to, and when it has to go.

mod door;
mod returning;
mod seats;
mod subscriptions;

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde_json::value::{RawValue, to_raw_value};
use tidings::{Grant, Handshake, Identity, Io, Reason, Result, Socket};

pub(crate) use door::Door;
use seats::Seat;
pub(crate) use subscriptions::Subscriptions;

use crate::access::Access;
use crate::hooks::Visit;
use crate::members::Members;
use crate::rules::{Action, OWN_CHANNEL_PREFIX};
use crate::token::Claims;

/// A client, as long as its socket lives.
pub(crate) struct Client {
    /// Who it is; none when it came without a token.
    pub(crate) user: Option<User>,
    /// What it is subscribed to.
    pub(crate) subscriptions: Mutex<Subscriptions>,
    /// Its stay, where the back end is asked about it.
    pub(crate) visit: Option<Arc<Visit>>,
    members: Arc<Members>,
}

/// Who a client is, by its token.
pub(crate) struct User {
    /// The token's `sub`, as events carry it.
    pub(crate) sub: Arc<str>,
    credential: RwLock<Credential>,
    _seat: Option<Seat>,
}

/// What the token says that a client showed last.
#[derive(Clone)]
pub(crate) struct Credential {
    claims: Arc<Claims>,
    /// What presence shows.
    info: Option<Arc<RawValue>>,
}

impl Client {
    fn new(user: Option<User>, visit: Option<Arc<Visit>>, members: Arc<Members>) -> Self {
        Self {
            user,
            subscriptions: Mutex::default(),
            visit,
            members,
        }
    }

    /// The channels that the back end put it into: when it came, or its user by the server API.
    pub(crate) fn granted(&self) -> Vec<Arc<str>> {
        let mut granted = self
            .visit
            .as_ref()
            .map(|visit| visit.channels().to_vec())
            .unwrap_or_default();
        if let Some(user) = &self.user {
            granted.extend(self.members.channels(&user.sub));
        }
        granted
    }

    /// Whether a channel is one of [`Client::granted`].
    pub(crate) fn is_granted(&self, channel: &str) -> bool {
        let by_visit = self
            .visit
            .as_ref()
            .is_some_and(|visit| visit.channels().iter().any(|granted| **granted == *channel));
        by_visit
            || self
                .user
                .as_ref()
                .is_some_and(|user| self.members.hold(&user.sub, channel))
    }

    /// What presence shows of it: what the back end says, else what its token does.
    pub(crate) fn info(&self) -> Option<Arc<RawValue>> {
        let by_back_end = self.visit.as_ref().and_then(|visit| visit.info());
        by_back_end.or_else(|| self.user.as_ref()?.info())
    }

    /// Whether the back end knows its connection by this name.
    pub(crate) fn is_visit(&self, name: &str) -> bool {
        self.visit.as_ref().is_some_and(|visit| visit.name() == name)
    }

    /// It has gone.
    fn end_visit(&self, reason: Reason) {
        if let Some(visit) = &self.visit {
            visit.end(reason);
        }
    }

    /// What its token says.
    pub(crate) fn claims(&self) -> Option<Arc<Claims>> {
        self.user.as_ref().map(User::claims)
    }

    /// Whether it is this user.
    pub(crate) fn is_of(&self, sub: &str) -> bool {
        self.user.as_ref().is_some_and(|user| *user.sub == *sub)
    }

    /// Who it is to the library.
    fn identity(&self) -> Option<Identity> {
        let user = self.user.as_ref()?;
        let identity = Identity::new(Arc::clone(&user.sub)).info(self.info());
        Some(identity.expires_at(user.claims().end()))
    }
}

impl Credential {
    /// What a token claims that was checked.
    pub(crate) fn of(claims: Claims) -> Result<Self> {
        let info = claims.info.as_ref().map(to_raw_value).transpose()?;
        Ok(Self {
            claims: Arc::new(claims),
            info: info.map(Arc::from),
        })
    }
}

impl User {
    /// What its token says.
    pub(crate) fn claims(&self) -> Arc<Claims> {
        Arc::clone(&self.credential.read().claims)
    }

    /// What presence shows of it by its token.
    fn info(&self) -> Option<Arc<RawValue>> {
        self.credential.read().info.clone()
    }

    /// It has shown another token.
    pub(crate) fn renew(&self, credential: Credential) {
        *self.credential.write() = credential;
    }

    fn own_channel(&self) -> String {
        format!("{OWN_CHANNEL_PREFIX}{}", self.sub)
    }
}

/// Sets up what happens when clients come and go.
pub(crate) fn register(io: &Io, door: &Arc<Door>, access: &Arc<Access>) {
    let door = Arc::clone(door);
    let (admitting, revocable) = (Arc::clone(&door), Arc::clone(&door));
    io.auth(async move |handshake: Handshake| admitting.admit(&handshake).await);
    let returning = Arc::clone(access);
    // Before the client hears that it is in: from then on nothing for its user may pass it by.
    io.before_connect(async move |socket: Socket<Client>| {
        let client = socket.user();
        if let Some(user) = &client.user {
            // Since it was admitted what it missed may have been read from the disk.
            door.check_revocation(&user.claims())?;
            if !socket.recovered() {
                socket.try_join(user.own_channel())?;
            }
        }
        if socket.recovered() {
            // It finds itself where it was, as far as the back end still lets it.
            returning::ask_again(&returning, &socket).await?;
            returning::check_again(&returning, &socket);
        }
        let granted = client.granted();
        granted.iter().try_for_each(|channel| socket.try_join(channel))
    });
    let entering = Arc::clone(access);
    io.on_connect(async move |socket: Socket<Client>| enter(&entering, &socket));
    io.on_disconnect(leave);

    // Who comes without Socket.IO is let in by the same door, and asks for channels by the same rules.
    io.identify_some(Client::identity);
    let recovering = Arc::clone(access);
    io.recover_room(async move |client: Arc<Client>, room: Arc<str>| {
        recovering.check_client(Action::Subscribe, &room, &client).is_ok()
    });
    let deciding = Arc::clone(access);
    io.authorize(async move |client: Arc<Client>, action, channel: Arc<str>| {
        let action = Action::of(action)?;
        let decision = deciding.check_client(action, &channel, &client)?;
        if matches!(action, Action::History | Action::Presence) {
            deciding.ask_to_read(&client, &channel).await?;
        }
        Ok(Grant::new().presence(decision.presence))
    });
    io.first_channels(Client::granted);
    if access.hooks.is_some() {
        register_hooks(io, access, &revocable);
    }
}

/// What the back end has to do with clients that come without Socket.IO.
fn register_hooks(io: &Io, access: &Arc<Access>, door: &Arc<Door>) {
    io.on_gone(async |client: Arc<Client>, reason| client.end_visit(reason));
    let (access, door) = (Arc::clone(access), Arc::clone(door));
    io.before_subscribe(async move |client: Arc<Client>, channels: Vec<Arc<str>>| {
        let channels: Vec<&str> = channels.iter().map(|channel| &**channel).collect();
        access.ask_to_subscribe(&client, &channels).await?;
        // It may have taken its time.
        client.claims().map_or(Ok(()), |claims| door.check_revocation(&claims))
    });
}

fn enter(access: &Access, socket: &Socket<Client>) -> Result<()> {
    let client = socket.user();
    if socket.recovered() {
        take_up(access, socket)?;
    }
    let own = client.user.as_ref().map(User::own_channel);
    let connection = socket.connection_id();
    match &client.user {
        Some(user) => tracing::debug!(%connection, socket = socket.id(), user = &*user.sub, "a client is in"),
        None => tracing::debug!(%connection, socket = socket.id(), "an anonymous client is in"),
    }
    let granted = client.granted();
    let granted = granted.iter().map(|channel| &**channel);
    for channel in own.as_deref().into_iter().chain(granted) {
        if socket.is_in(channel) {
            put_into(access, socket, channel)?;
        }
    }
    Ok(())
}

/// Notes a channel that a client was put into.
pub(crate) fn put_into(access: &Access, socket: &Socket<Client>, channel: &str) -> Result<()> {
    let client = socket.user();
    let claims = client.claims();
    let decision = access.rules().decide(Action::Subscribe, channel, claims.as_deref());
    let present = client.user.as_ref().filter(|_| decision.presence);
    if client.subscriptions.lock().add_own(channel, present.is_some())
        && let Some(user) = present
    {
        socket.io().presence().enter(channel, &user.sub, client.info())?;
    }
    Ok(())
}

/// Shows the client's user in its channels as its token now says.
pub(crate) fn show_again(socket: &Socket<Client>) {
    let client = socket.user();
    let present = client.subscriptions.lock().present();
    if let Some(user) = &client.user {
        for channel in present {
            socket.io().presence().update(&channel, &user.sub, client.info());
        }
    }
}

/// Nothing more comes to a client from a channel, and it is no more present in it.
pub(crate) fn take_out_of(socket: &Socket<Client>, channel: &str) {
    let client = socket.user();
    let Some(was_present) = client.subscriptions.lock().remove(channel) else {
        return;
    };
    socket.leave(channel);
    if let Some(user) = client.user.as_ref().filter(|_| was_present) {
        socket.io().presence().leave(channel, &user.sub);
    }
}

/// Takes up the subscriptions of a session that its client has come back to. The library has asked whether each is still
/// allowed.
fn take_up(access: &Access, socket: &Socket<Client>) -> Result<()> {
    let client = socket.user();
    let own = client.user.as_ref().map(User::own_channel);
    let is_asked_for = |room: &String| *room != socket.id() && Some(room) != own.as_ref() && !client.is_granted(room);
    for channel in socket.rooms().into_iter().filter(is_asked_for) {
        let decision = access
            .rules()
            .decide(Action::Subscribe, &channel, client.claims().as_deref());
        let present = client.user.as_ref().filter(|_| decision.presence);
        client.subscriptions.lock().add(&channel, present.is_some());
        if let Some(user) = present {
            socket.io().presence().enter(&channel, &user.sub, client.info())?;
        }
    }
    Ok(())
}

async fn leave(socket: Socket<Client>, reason: Reason) {
    tracing::debug!(connection = %socket.connection_id(), socket = socket.id(), %reason, "a client is gone");
    let client = socket.user();
    client.end_visit(reason);
    let present = client.subscriptions.lock().take_present();
    if let Some(user) = &client.user {
        let io = socket.io();
        for channel in present {
            io.presence().lose(&channel, &user.sub);
        }
    }
}

//! A client: who it is, what it is subscribed to, and when it has to go.

mod door;
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
use crate::rules::{Action, OWN_CHANNEL_PREFIX};
use crate::token::Claims;

/// A client, as long as its socket lives.
pub(crate) struct Client {
    /// Who it is; none when it came without a token.
    pub(crate) user: Option<User>,
    /// What it is subscribed to.
    pub(crate) subscriptions: Mutex<Subscriptions>,
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
    fn new(user: Option<User>) -> Self {
        Self {
            user,
            subscriptions: Mutex::default(),
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
        let Credential { claims, info } = user.credential.read().clone();
        let identity = Identity::new(Arc::clone(&user.sub)).info(info);
        Some(identity.expires_at(claims.end()))
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

    /// What presence shows of it.
    pub(crate) fn info(&self) -> Option<Arc<RawValue>> {
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
    let admitting = Arc::clone(&door);
    io.auth(async move |handshake: Handshake| admitting.admit(&handshake).await);
    // Before the client hears that it is in: from then on nothing for its user may pass it by.
    io.before_connect(async move |socket: Socket<Client>| match &socket.user().user {
        // Since it was admitted what it missed may have been read from the disk.
        Some(user) => {
            door.check_revocation(&user.claims())?;
            match socket.recovered() {
                // It finds itself where it was.
                true => Ok(()),
                false => socket.try_join(user.own_channel()),
            }
        }
        None => Ok(()),
    });
    let entering = Arc::clone(access);
    io.on_connect(async move |socket: Socket<Client>| enter(&entering, &socket));

    // Who comes without Socket.IO is let in by the same door, and asks for channels by the same rules.
    io.identify_some(Client::identity);
    let recovering = Arc::clone(access);
    io.recover_room(async move |client: Arc<Client>, room: Arc<str>| {
        recovering
            .check(Action::Subscribe, &room, client.claims().as_deref())
            .is_ok()
    });
    let access = Arc::clone(access);
    io.authorize(async move |client: Arc<Client>, action, channel: Arc<str>| {
        let decision = access.check(Action::of(action)?, &channel, client.claims().as_deref())?;
        Ok(Grant::new().presence(decision.presence))
    });
}

fn enter(access: &Access, socket: &Socket<Client>) -> Result<()> {
    let client = socket.user();
    socket.on_disconnect(leave);
    if socket.recovered() {
        take_up(access, socket)?;
    }
    let Some(user) = &client.user else {
        tracing::debug!(socket = socket.id(), "an anonymous client is in");
        return Ok(());
    };
    tracing::debug!(socket = socket.id(), user = &*user.sub, "a client is in");
    let own = user.own_channel();
    let keeps_presence = access
        .rules
        .decide(Action::Subscribe, &own, Some(&user.claims()))
        .presence;
    if socket.is_in(&own) {
        client.subscriptions.lock().add_own(&own, keeps_presence);
        if keeps_presence {
            socket.io().presence().enter(&own, &user.sub, user.info())?;
        }
    }
    Ok(())
}

/// Takes up the subscriptions of a session that its client has come back to. The library has asked whether each is still
/// allowed.
fn take_up(access: &Access, socket: &Socket<Client>) -> Result<()> {
    let client = socket.user();
    let own = client.user.as_ref().map(User::own_channel);
    let rooms = socket.rooms().into_iter();
    for channel in rooms.filter(|room| *room != socket.id() && Some(room) != own.as_ref()) {
        let decision = access
            .rules
            .decide(Action::Subscribe, &channel, client.claims().as_deref());
        let present = client.user.as_ref().filter(|_| decision.presence);
        client.subscriptions.lock().add(&channel, present.is_some());
        if let Some(user) = present {
            socket.io().presence().enter(&channel, &user.sub, user.info())?;
        }
    }
    Ok(())
}

async fn leave(socket: Socket<Client>, reason: Reason) {
    tracing::debug!(socket = socket.id(), %reason, "a client is gone");
    let client = socket.user();
    let present = client.subscriptions.lock().take_present();
    if let Some(user) = &client.user {
        let io = socket.io();
        for channel in present {
            io.presence().lose(&channel, &user.sub);
        }
    }
}

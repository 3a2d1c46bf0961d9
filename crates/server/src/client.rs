//! A client: who it is, what it is subscribed to, and when it has to go.

mod door;
mod seats;
mod subscriptions;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde_json::value::RawValue;
use tidings::{Grant, Handshake, Identity, Io, Reason, Result, Socket};
use tokio::task::AbortHandle;

pub(crate) use door::Door;
use seats::Seat;
pub(crate) use subscriptions::Subscriptions;

use crate::access::Access;
use crate::rules::{Action, OWN_CHANNEL_PREFIX};
use crate::token::Claims;

/// The WebSocket close code for a token that has ended.
const CLOSE_TOKEN: u16 = 4401;

/// A timer waits no longer than this before it looks at the clock again, which may have been set meanwhile.
const NAP: Duration = Duration::from_secs(600);

/// A client, as long as its socket lives.
pub(crate) struct Client {
    /// Who it is; none when it came without a token.
    pub(crate) user: Option<User>,
    /// What it is subscribed to.
    pub(crate) subscriptions: Mutex<Subscriptions>,
    /// What closes it at its token's end.
    timer: OnceLock<AbortHandle>,
}

/// Who a client is, by its token.
pub(crate) struct User {
    /// The token's `sub`, as events carry it.
    pub(crate) sub: Arc<str>,
    /// What presence shows.
    pub(crate) info: Option<Arc<RawValue>>,
    claims: Claims,
    _seat: Option<Seat>,
}

impl Client {
    fn new(user: Option<User>) -> Self {
        Self {
            user,
            subscriptions: Mutex::default(),
            timer: OnceLock::new(),
        }
    }

    /// What its token says.
    pub(crate) fn claims(&self) -> Option<&Claims> {
        self.user.as_ref().map(|user| &user.claims)
    }

    /// Who it is to the library.
    fn identity(&self) -> Option<Identity> {
        let user = self.user.as_ref()?;
        let identity = Identity::new(Arc::clone(&user.sub)).info(user.info.clone());
        Some(identity.expires_at(user.claims.end()))
    }
}

impl User {
    fn own_channel(&self) -> String {
        format!("{OWN_CHANNEL_PREFIX}{}", self.sub)
    }
}

/// Sets up what happens when clients come and go.
pub(crate) fn register(io: &Io, door: &Arc<Door>, access: &Arc<Access>) {
    let door = Arc::clone(door);
    io.auth(async move |handshake: Handshake| door.admit(&handshake));
    // Before the client hears that it is in: from then on nothing for its user may pass it by.
    io.before_connect(async |socket: Socket<Client>| match &socket.user().user {
        // Who comes back finds itself where it was.
        Some(user) if !socket.recovered() => socket.try_join(user.own_channel()),
        _ => Ok(()),
    });
    let entering = Arc::clone(access);
    io.on_connect(async move |socket: Socket<Client>| enter(&entering, &socket));

    // Who comes without Socket.IO is let in by the same door, and asks for channels by the same rules.
    io.identify_some(Client::identity);
    let recovering = Arc::clone(access);
    io.recover_room(async move |client: Arc<Client>, room: Arc<str>| {
        recovering.check(Action::Subscribe, &room, client.claims()).is_ok()
    });
    let access = Arc::clone(access);
    io.authorize(async move |client: Arc<Client>, action, channel: Arc<str>| {
        let decision = access.check(Action::of(action)?, &channel, client.claims())?;
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
        .decide(Action::Subscribe, &own, Some(&user.claims))
        .presence;
    if socket.is_in(&own) {
        client.subscriptions.lock().add_own(&own, keeps_presence);
        if keeps_presence {
            socket.io().presence().enter(&own, &user.sub, user.info.clone())?;
        }
    }
    let timer = tokio::spawn(close_at_end(socket.clone(), user.claims.clone()));
    let _ = client.timer.set(timer.abort_handle());
    Ok(())
}

/// Takes up the subscriptions of a session that its client has come back to. The library has asked whether each is still
/// allowed.
fn take_up(access: &Access, socket: &Socket<Client>) -> Result<()> {
    let client = socket.user();
    let own = client.user.as_ref().map(User::own_channel);
    let rooms = socket.rooms().into_iter();
    for channel in rooms.filter(|room| *room != socket.id() && Some(room) != own.as_ref()) {
        let decision = access.rules.decide(Action::Subscribe, &channel, client.claims());
        let present = client.user.as_ref().filter(|_| decision.presence);
        client.subscriptions.lock().add(&channel, present.is_some());
        if let Some(user) = present {
            socket.io().presence().enter(&channel, &user.sub, user.info.clone())?;
        }
    }
    Ok(())
}

async fn close_at_end(socket: Socket<Client>, claims: Claims) {
    loop {
        let remaining = claims.remaining(SystemTime::now());
        if remaining.is_zero() {
            break;
        }
        tokio::time::sleep(remaining.min(NAP)).await;
    }
    tracing::debug!(socket = socket.id(), "a client's token has ended");
    socket.close_transport(CLOSE_TOKEN);
}

async fn leave(socket: Socket<Client>, reason: Reason) {
    tracing::debug!(socket = socket.id(), %reason, "a client is gone");
    let client = socket.user();
    if let Some(timer) = client.timer.get() {
        timer.abort();
    }
    let present = client.subscriptions.lock().take_present();
    if let Some(user) = &client.user {
        let io = socket.io();
        for channel in present {
            io.presence().leave(&channel, &user.sub);
        }
    }
}

//! The door: whom a token, or the lack of one, lets in.

use std::sync::Arc;

use parking_lot::RwLock;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tidings::{Code, Error, Handshake, Result};

use super::seats::Seats;
use super::{Client, Credential, User};
use crate::config::Config;
use crate::hooks::{Hooks, Visit};
use crate::members::Members;
use crate::revocations::Revocations;
use crate::swap::Swap;
use crate::token::{Claims, KeySet, Verifier};

/// Decides who comes in.
pub(crate) struct Door {
    checks: Swap<Checks>,
    /// The keys that change by themselves.
    set: Option<Arc<KeySet>>,
    seats: Arc<Seats>,
    revocations: Arc<Revocations>,
    members: Arc<Members>,
    /// The back end, which is asked too.
    hooks: Option<Arc<Hooks>>,
}

/// Whom tokens, or the lack of one, let in.
struct Checks {
    verifier: Verifier,
    /// Whether who has no token may come in too.
    anonymous: bool,
}

impl Checks {
    fn of(config: &Config, set: Option<Arc<KeySet>>) -> Self {
        Self {
            verifier: Verifier::new(config.auth.verifier_options()).with_set(set),
            anonymous: config.auth.anonymous,
        }
    }
}

impl Door {
    /// The door of a configuration. `set` are the keys of its `jwks`.
    pub(crate) fn new(
        config: &Config,
        set: Option<Arc<KeySet>>,
        revocations: Arc<Revocations>,
        members: Arc<Members>,
        hooks: Option<Arc<Hooks>>,
    ) -> Self {
        Self {
            checks: Swap::new(Checks::of(config, set.clone())),
            set,
            seats: Arc::new(Seats::new(config.limits.connections_per_user)),
            revocations,
            members,
            hooks,
        }
    }

    /// Takes over what another configuration says. Who is in stays so.
    pub(crate) fn follow(&self, config: &Config) {
        self.checks.set(Checks::of(config, self.set.clone()));
    }

    /// Lets a client in, or says why not.
    ///
    /// # Errors
    /// As [`Door::check`]; `too_many_connections` when its user has no seat left; what the back end says.
    pub(crate) async fn admit(&self, handshake: &Handshake) -> Result<Client> {
        let claims = self.check(handshake).await?;
        let user = claims.map(|claims| self.seat(claims, handshake)).transpose()?;
        let visit = match &self.hooks {
            Some(hooks) => Some(visit(hooks, handshake, user.as_ref()).await?),
            None => None,
        };
        if let (Some(user), Some(_)) = (&user, &visit) {
            // The back end may have taken its time.
            self.check_revocation(&user.claims())?;
        }
        Ok(Client::new(user, visit, Arc::clone(&self.members)))
    }

    fn seat(&self, claims: Claims, handshake: &Handshake) -> Result<User> {
        let sub: Arc<str> = Arc::from(claims.sub.as_str());
        // Who was nobody before, on the same connection, has no seat yet.
        let known = handshake.renewed::<Client>();
        let is_seated = known.is_some_and(|client| client.is_of(&sub));
        let seat = self.seats.take(&sub, is_seated).ok_or_else(|| {
            Error::coded(
                Code::TooManyConnections,
                "this user has as many connections as one may have",
            )
        })?;
        Ok(User {
            sub,
            credential: RwLock::new(Credential::of(claims)?),
            _seat: seat,
        })
    }

    /// Who somebody is by the token, without letting anybody in; none for who needs no token and has none.
    ///
    /// # Errors
    /// With the code of what is wrong with the token.
    pub(crate) async fn check(&self, handshake: &Handshake) -> Result<Option<Claims>> {
        let token = match handshake.token() {
            Ok(token) => token,
            Err(_) if self.checks.get().anonymous && !shows_something(handshake) => return Ok(None),
            Err(error) => return Err(error),
        };
        self.claims(token).await.map(Some)
    }

    /// What a token claims.
    ///
    /// # Errors
    /// With the code of what is wrong with it.
    pub(crate) async fn claims(&self, token: &str) -> Result<Claims> {
        let claims = self.checks.get().verifier.verify(token).await;
        let claims = claims.map_err(|error| Error::with_code(error.code(), error.to_string()))?;
        self.check_revocation(&claims)?;
        Ok(claims)
    }

    /// Whether a token that was checked still holds.
    ///
    /// # Errors
    /// `unauthenticated` when it was revoked.
    pub(crate) fn check_revocation(&self, claims: &Claims) -> Result<()> {
        match self.revocations.cover(claims) {
            true => Err(Error::unauthenticated("the token has been revoked")),
            false => Ok(()),
        }
    }
}

/// The stay of a client that the back end lets in. Who only shows a fresh token goes on with the one it has; who was nobody
/// before and is somebody now has not been asked about yet.
async fn visit(hooks: &Arc<Hooks>, handshake: &Handshake, user: Option<&User>) -> Result<Arc<Visit>> {
    let known = handshake.renewed::<Client>();
    let before = known.as_ref().and_then(|client| client.visit.as_ref());
    let is_same = |client: &Arc<Client>| user.is_some_and(|user| client.is_of(&user.sub));
    match before {
        Some(visit) if known.as_ref().is_some_and(is_same) => Ok(Arc::clone(visit)),
        _ => {
            hooks
                .enter(handshake, before.map(Arc::as_ref), user.map(User::claims))
                .await
        }
    }
}

/// Whether a client tried to say who it is, if in a way that can't be read: it must not come in as nobody.
fn shows_something(handshake: &Handshake) -> bool {
    #[derive(Deserialize)]
    struct Auth {
        token: Option<IgnoredAny>,
    }
    handshake.header("authorization").is_some() || handshake.auth::<Auth>().is_ok_and(|auth| auth.token.is_some())
}

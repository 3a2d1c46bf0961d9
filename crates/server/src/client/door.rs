//! The door: whom a token, or the lack of one, lets in.

use std::sync::Arc;

use parking_lot::RwLock;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tidings::{Code, Error, Handshake, Result};

use super::seats::Seats;
use super::{Client, Credential, User};
use crate::config::Config;
use crate::revocations::Revocations;
use crate::token::{Claims, KeySet, Verifier};

/// Decides who comes in.
pub(crate) struct Door {
    verifier: Verifier,
    /// Whether who has no token may come in too.
    anonymous: bool,
    seats: Arc<Seats>,
    revocations: Arc<Revocations>,
}

impl Door {
    /// The door of a configuration. `set` are the keys of its `jwks`.
    pub(crate) fn new(config: &Config, set: Option<Arc<KeySet>>, revocations: Arc<Revocations>) -> Self {
        Self {
            verifier: Verifier::new(config.auth.verifier_options()).with_set(set),
            anonymous: config.auth.anonymous,
            seats: Arc::new(Seats::new(config.limits.connections_per_user)),
            revocations,
        }
    }

    /// Lets a client in, or says why not.
    ///
    /// # Errors
    /// As [`Door::check`]; `too_many_connections` when its user has no seat left.
    pub(crate) async fn admit(&self, handshake: &Handshake) -> Result<Client> {
        let Some(claims) = self.check(handshake).await? else {
            return Ok(Client::new(None));
        };
        let sub: Arc<str> = Arc::from(claims.sub.as_str());
        let seat = self.seats.take(&sub, handshake.is_renewal()).ok_or_else(|| {
            Error::coded(
                Code::TooManyConnections,
                "this user has as many connections as one may have",
            )
        })?;
        Ok(Client::new(Some(User {
            sub,
            credential: RwLock::new(Credential::of(claims)?),
            _seat: seat,
        })))
    }

    /// Who somebody is by the token, without letting anybody in; none for who needs no token and has none.
    ///
    /// # Errors
    /// With the code of what is wrong with the token.
    pub(crate) async fn check(&self, handshake: &Handshake) -> Result<Option<Claims>> {
        let token = match handshake.token() {
            Ok(token) => token,
            Err(_) if self.anonymous && !shows_something(handshake) => return Ok(None),
            Err(error) => return Err(error),
        };
        self.claims(token).await.map(Some)
    }

    /// What a token claims.
    ///
    /// # Errors
    /// With the code of what is wrong with it.
    pub(crate) async fn claims(&self, token: &str) -> Result<Claims> {
        let claims = self.verifier.verify(token).await;
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

/// Whether a client tried to say who it is, if in a way that can't be read: it must not come in as nobody.
fn shows_something(handshake: &Handshake) -> bool {
    #[derive(Deserialize)]
    struct Auth {
        token: Option<IgnoredAny>,
    }
    handshake.header("authorization").is_some() || handshake.auth::<Auth>().is_ok_and(|auth| auth.token.is_some())
}

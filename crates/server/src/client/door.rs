//! The door: whom a token, or the lack of one, lets in.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::to_raw_value;
use tidings::{Code, Error, Handshake, Result};

use super::seats::Seats;
use super::{Client, User};
use crate::config::Config;
use crate::token::{Claims, Verifier};

/// Decides who comes in.
pub(crate) struct Door {
    verifier: Verifier,
    /// Whether who has no token may come in too.
    anonymous: bool,
    seats: Arc<Seats>,
}

impl Door {
    /// The door of a configuration.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            verifier: Verifier::new(config.auth.verifier_options()),
            anonymous: config.auth.anonymous,
            seats: Arc::new(Seats::new(config.limits.connections_per_user)),
        }
    }

    /// Lets a client in, or says why not.
    ///
    /// # Errors
    /// As [`Door::check`]; `too_many_connections` when its user has no seat left.
    pub(crate) fn admit(&self, handshake: &Handshake) -> Result<Client> {
        let Some(claims) = self.check(handshake)? else {
            return Ok(Client::new(None));
        };
        let sub: Arc<str> = Arc::from(claims.sub.as_str());
        let seat = self.seats.take(&sub, handshake.is_renewal()).ok_or_else(|| {
            Error::coded(
                Code::TooManyConnections,
                "this user has as many connections as one may have",
            )
        })?;
        let info = claims.info.as_ref().map(to_raw_value).transpose()?;
        Ok(Client::new(Some(User {
            sub,
            info: info.map(Arc::from),
            claims,
            _seat: seat,
        })))
    }

    /// Who somebody is by the token, without letting anybody in; none for who needs no token and has none.
    ///
    /// # Errors
    /// With the code of what is wrong with the token.
    pub(crate) fn check(&self, handshake: &Handshake) -> Result<Option<Claims>> {
        let token = match handshake.token() {
            Ok(token) => token,
            Err(_) if self.anonymous && !shows_something(handshake) => return Ok(None),
            Err(error) => return Err(error),
        };
        let claims = self.verifier.verify(token);
        claims
            .map(Some)
            .map_err(|error| Error::with_code(error.code(), error.to_string()))
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

//! The server API under `/api/v1/`: what back ends publish with and look at. One file for each thing that can be asked.
//!
//! Who asks shows a key of `[api]`; a channel's history, and what is read of it, can also be asked for by a user, with a token.

mod batch;
pub(crate) mod body;
pub(crate) mod channels;
pub(crate) mod connections;
pub(crate) mod history;
mod inbox;
pub(crate) mod keys;
mod members;
mod openapi;
pub(crate) mod parameters;
pub(crate) mod presence;
pub(crate) mod publish;
mod request_id;
mod tokens;
pub(crate) mod users;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, Request, header};
use axum::middleware;
use axum::routing::{MethodRouter, get, post};
use serde::Serialize;
use tidings::{Code, Error, Io, Result};

use crate::access::{Access, forbidden};
use crate::client::{Client, Door};
use crate::config::Config;
use crate::members::Members;
use crate::revocations::Revocations;
use crate::rules::Action;
use crate::swap::Swap;
use crate::token::Claims;
use keys::{ApiKey, ApiKeys};
use openapi::Description;

/// When it is looked again for whose token was checked just before it was revoked, and who has come in since.
const LATE: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];

/// The answer where connections were sent away.
#[derive(Serialize)]
pub(crate) struct SentAway {
    /// How many there were.
    connections: usize,
}

/// What the API works with; the console too.
pub(crate) struct Api {
    pub(crate) io: Io,
    keys: Swap<ApiKeys>,
    /// What tools read about it.
    description: Swap<Description>,
    door: Arc<Door>,
    pub(crate) access: Arc<Access>,
    revocations: Arc<Revocations>,
    members: Arc<Members>,
    /// Held while one of them changes.
    members_change: tokio::sync::Mutex<()>,
    /// The longest body of a publish.
    message_bytes: usize,
    /// Binary values of an event's data.
    attachments: usize,
}

/// The routes. Pages of allowed origins may call history and what is read, and get the document; the rest is for back ends.
pub(crate) fn routes(api: &Arc<Api>) -> Router {
    let for_pages = router(for_pages())
        .route(openapi::PATH, get(openapi::openapi))
        .with_state(Arc::clone(api))
        .method_not_allowed_fallback(crate::problem::method_not_allowed);
    router(for_back_ends())
        .with_state(Arc::clone(api))
        .method_not_allowed_fallback(crate::problem::method_not_allowed)
        .merge(api.io.for_allowed_origins(for_pages))
        .layer(middleware::from_fn(request_id::name))
}

/// A path and what is done there.
type Endpoint = (&'static str, MethodRouter<Arc<Api>>);

/// What pages may call too.
fn for_pages() -> [Endpoint; 3] {
    [
        ("/api/v1/channels/{channel}/history", get(history::history)),
        ("/api/v1/users/{user}/read", post(inbox::read)),
        ("/api/v1/users/{user}/unread", get(inbox::unread)),
    ]
}

/// The rest.
fn for_back_ends() -> [Endpoint; 11] {
    [
        ("/api/v1/publish", post(publish::publish)),
        ("/api/v1/batch", post(batch::batch)),
        ("/api/v1/channels", get(channels::channels)),
        ("/api/v1/channels/{channel}/presence", get(presence::presence)),
        ("/api/v1/users/{user}/connections", get(users::connections)),
        ("/api/v1/users/{user}/disconnect", post(users::disconnect)),
        ("/api/v1/users/{user}/channels", get(members::channels)),
        ("/api/v1/users/{user}/join", post(members::join)),
        ("/api/v1/users/{user}/leave", post(members::leave)),
        ("/api/v1/tokens/{jti}/revoke", post(tokens::revoke)),
        (
            "/api/v1/connections/{connection}/disconnect",
            post(connections::disconnect),
        ),
    ]
}

fn router(endpoints: impl IntoIterator<Item = Endpoint>) -> Router<Arc<Api>> {
    let add = |router: Router<Arc<Api>>, (path, methods)| router.route(path, methods);
    endpoints.into_iter().fold(Router::new(), add)
}

fn api_keys(config: &Config) -> ApiKeys {
    ApiKeys::new(config.api.key.as_ref(), &config.api.keys)
}

impl Api {
    pub(crate) fn new(
        config: &Config,
        io: &Io,
        door: &Arc<Door>,
        access: &Arc<Access>,
        revocations: Arc<Revocations>,
        members: Arc<Members>,
    ) -> Self {
        let or_none = |limit: usize| if limit == 0 { usize::MAX } else { limit };
        Self {
            io: io.clone(),
            keys: Swap::new(api_keys(config)),
            description: Swap::new(Description::of(config)),
            door: Arc::clone(door),
            access: Arc::clone(access),
            revocations,
            members,
            members_change: tokio::sync::Mutex::default(),
            message_bytes: or_none(config.limits.message_bytes),
            attachments: or_none(config.limits.attachments),
        }
    }

    /// From now on what the configuration says of keys, and of what the document tells.
    pub(crate) fn follow(&self, config: &Config) {
        self.keys.set(api_keys(config));
        self.description.set(Description::of(config));
    }

    /// The key that a request shows.
    ///
    /// # Errors
    /// `unauthenticated` when it shows none, or one that is not known.
    fn key(&self, headers: &HeaderMap) -> Result<Arc<ApiKey>> {
        let keys = self.keys.get();
        if keys.is_empty() {
            return Err(Error::unauthenticated(
                "this server has no API key: set `key` in `[api]` of its configuration",
            ));
        }
        let shown = bearer(headers).ok_or_else(|| {
            Error::unauthenticated("the server API wants its key in a header: `Authorization: Bearer <key>`")
        })?;
        keys.find(shown).cloned().ok_or_else(|| {
            tracing::debug!("an API key that is not known was shown");
            Error::unauthenticated("this API key is not known here")
        })
    }

    /// Whether a request shows a key that is known.
    fn shows_key(&self, headers: &HeaderMap) -> bool {
        bearer(headers).is_some_and(|shown| self.keys.get().find(shown).is_some())
    }

    /// Whether a user may read a channel by a request that shows a token.
    ///
    /// # Errors
    /// `forbidden` when it may not; `unavailable` when the back end, which has a word in that, does not answer.
    async fn check_reader(&self, request: &Request<()>, claims: Option<&Claims>, channel: &str) -> Result<()> {
        if self.io.is_socket_id(channel) {
            return Err(forbidden(Action::History, channel));
        }
        if claims.is_some_and(|claims| self.members.hold(&claims.sub, channel)) {
            return Ok(());
        }
        self.access.check(Action::History, channel, claims)?;
        match &self.access.hooks {
            Some(hooks) => {
                hooks
                    .may_read_by_api(&self.io.handshake(request), claims, channel)
                    .await
            }
            None => Ok(()),
        }
    }

    /// The key that a request shows, which must be one that may see channels.
    ///
    /// # Errors
    /// As [`Api::key`]; `forbidden` when it may not.
    fn reading_key(&self, headers: &HeaderMap) -> Result<Arc<ApiKey>> {
        self.key_with(headers, ApiKey::may_read, "read", "read")
    }

    /// The key that a request shows, which must be one that may change who is connected.
    ///
    /// # Errors
    /// As [`Api::key`]; `forbidden` when it may not.
    fn admin_key(&self, headers: &HeaderMap) -> Result<Arc<ApiKey>> {
        self.key_with(
            headers,
            ApiKey::may_administer,
            "admin",
            "look after users and connections",
        )
    }

    fn key_with(&self, headers: &HeaderMap, may: fn(&ApiKey) -> bool, scope: &str, what: &str) -> Result<Arc<ApiKey>> {
        let key = self.key(headers)?;
        if may(&key) {
            return Ok(key);
        }
        tracing::debug!(key = key.name(), scope, "an API key without the scope was shown");
        Err(Error::forbidden(format!(
            "this API key may not {what}: it lacks the scope {scope:?}"
        )))
    }

    /// Revokes, on a thread that may wait for the disk, and then sends those away whose tokens hold no more. Answers how many. It is
    /// done to its end also when nobody waits for the answer.
    async fn revoke(&self, revoke: impl FnOnce(&Revocations) -> Result<()> + Send + 'static) -> Result<usize> {
        let (io, revocations) = (self.io.clone(), Arc::clone(&self.revocations));
        let whole = tokio::spawn(async move {
            let of_disk = Arc::clone(&revocations);
            let outcome = tokio::task::spawn_blocking(move || revoke(&of_disk)).await?;
            // Also when it could not be kept: it holds now.
            let is_revoked = move |client: &Client| client.claims().is_some_and(|claims| revocations.cover(&claims));
            let count = io.connections(is_revoked.clone()).disconnect().await;
            tokio::spawn(async move {
                for pause in LATE {
                    tokio::time::sleep(pause).await;
                    io.connections(is_revoked.clone()).disconnect().await;
                }
            });
            outcome.map(|()| count)
        });
        whole.await?
    }
}

/// What stands in `Authorization: Bearer …`.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let at = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = value.split_at(at);
    scheme.eq_ignore_ascii_case(b"bearer").then(|| rest.trim_ascii())
}

/// A refusal by its code, and by nothing else that may have gone wrong inside.
fn shown(error: &Error) -> (&str, &str) {
    if let Some(source) = error.source() {
        tracing::error!(%source, "a request of the server API failed");
    }
    (error.code(), error.message())
}

fn too_large(what: &str, limit: usize) -> Error {
    Error::coded(Code::TooLarge, format!("{what} has more than {limit} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_key_stands_behind_bearer() {
        for (value, key) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Bearer ", Some("")),
            ("Basic abc", None),
            ("abc", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))]);
            assert_eq!(bearer(&headers), key.map(str::as_bytes), "{value}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}

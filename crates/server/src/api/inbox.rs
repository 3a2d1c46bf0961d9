//! `POST /api/v1/users/{user}/read` and `GET /api/v1/users/{user}/unread`: how far a user has read a channel, and how much is left.
//!
//! A key of the server API may ask, and so may the user, by token: who listens to an event stream or polls has no other way.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, Request, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use tidings::{Error, Result};

use super::keys::ApiKey;
use super::users::name;
use super::{Api, body, parameters};
use crate::access::check_name;
use crate::events::parse_id;
use crate::rules::OWN_CHANNEL_PREFIX;
use crate::token::Claims;

/// The longest body: a channel's name, an id and what JSON puts around them, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 4_096;

/// What has been read.
#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "an object with `id`, and `channel` where it is not the user's own"
)]
struct Mark {
    channel: Option<String>,
    /// Up to which event.
    id: String,
}

pub(super) async fn read(
    State(api): State<Arc<Api>>,
    user: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Result<impl IntoResponse> {
    let user = name(user)?;
    let (head, body) = request.into_parts();
    let request = Request::from_parts(head, ());
    let who = Who::of(&api, &request, &user, Api::admin_key).await?;
    let json = body::read(body, BODY_BYTES_MAX).await?;
    let mark: Mark = body::parse(&json)?;
    let channel = who.channel(&api, &request, &user, mark.channel).await?;
    let unread = api.io.inbox().read(&user, &channel, parse_id(&mark.id)?).await?;
    Ok((HEADERS, Json(unread)))
}

pub(super) async fn unread(
    State(api): State<Arc<Api>>,
    user: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Result<impl IntoResponse> {
    let user = name(user)?;
    let request = request.map(drop);
    let who = Who::of(&api, &request, &user, Api::reading_key).await?;
    let [channel] = parameters::named(request.uri().query().unwrap_or_default(), ["channel"])?;
    let channel = who.channel(&api, &request, &user, channel).await?;
    Ok((HEADERS, Json(api.io.inbox().unread(&user, &channel).await?)))
}

/// The answer is one user's, and another one in a moment.
const HEADERS: [(HeaderName, &str); 2] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::VARY, "Authorization, Cookie"),
];

/// Who asks.
enum Who {
    Key,
    User(Box<Claims>),
}

impl Who {
    /// A key that `may`, or the user itself.
    async fn of(api: &Api, request: &Request<()>, user: &str, may: May) -> Result<Self> {
        let headers = request.headers();
        if api.shows_key(headers) {
            may(api, headers)?;
            return Ok(Self::Key);
        }
        match api.door.check(&api.io.handshake(request)).await? {
            Some(claims) if claims.sub == user => Ok(Self::User(Box::new(claims))),
            Some(_) => Err(Error::forbidden(
                "a token may ask for its own user only; for others show an API key",
            )),
            None => Err(Error::unauthenticated("show an API key, or a token of this user")),
        }
    }

    /// The channel that is asked for, by default the user's own: one whose history who asks may read.
    async fn channel(&self, api: &Api, request: &Request<()>, user: &str, channel: Option<String>) -> Result<String> {
        let channel = channel.unwrap_or_else(|| format!("{OWN_CHANNEL_PREFIX}{user}"));
        match self {
            Who::Key => check_name(&channel)?,
            Who::User(claims) => {
                api.check_reader(request, Some(claims), &channel).await?;
            }
        }
        Ok(channel)
    }
}

/// Finds the key of a request, if it has a scope.
type May = fn(&Api, &HeaderMap) -> Result<Arc<ApiKey>>;

//! `GET /api/v1/users/{user}/connections` and `POST /api/v1/users/{user}/disconnect`: where a user is, and sending it away, on all
//! transports at once.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Request};
use serde::{Deserialize, Serialize};
use tidings::{ConnectionInfo, Error, Result};

use super::{Api, SentAway, body};
use crate::client::Client;
use crate::token::user_problem;

/// The longest body: some words and what JSON puts around them, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 4_096;

/// The answer.
#[derive(Serialize)]
pub(super) struct Listed {
    /// The oldest first.
    connections: Vec<ConnectionInfo>,
}

/// What may be asked beside.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `revoke`, true or false")]
struct Options {
    /// Whether the user's tokens that were issued until now hold no more.
    revoke: Option<bool>,
}

pub(super) async fn connections(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    user: Result<Path<String>, PathRejection>,
) -> Result<Json<Listed>> {
    api.admin_key(&headers)?;
    let connections = list(&api, name(user)?).await;
    Ok(Json(Listed { connections }))
}

/// With `revoke`, those are sent away whose tokens hold no more. It is revoked first, so that nobody comes back in between.
pub(super) async fn disconnect(
    State(api): State<Arc<Api>>,
    user: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Result<Json<SentAway>> {
    let (head, body) = request.into_parts();
    let key = api.admin_key(&head.headers)?;
    send_away(&api, key.name(), name(user)?, body).await.map(Json)
}

/// Where a user is, the oldest connection first.
pub(crate) async fn list(api: &Api, user: String) -> Vec<ConnectionInfo> {
    of(api, user).list().await
}

/// Sends a user away, as a body says; `by` says in the log who did.
///
/// # Errors
/// When the body can't be read, or what is revoked can't be kept.
pub(crate) async fn send_away(api: &Api, by: &str, user: String, body: Body) -> Result<SentAway> {
    let json = body::read(body, BODY_BYTES_MAX).await?;
    let options: Options = match json.is_empty() {
        true => Options::default(),
        false => body::parse(&json)?,
    };
    let revoke = options.revoke.unwrap_or_default();
    tracing::info!(user, revoke, key = by, "a user is sent away");
    let connections = if revoke {
        api.revoke(move |revocations| revocations.revoke_user(&user)).await?
    } else {
        of(api, user).disconnect().await
    };
    Ok(SentAway { connections })
}

/// All connections of a user.
pub(super) fn of(api: &Api, user: String) -> tidings::Connections {
    api.io.connections(move |client: &Client| client.is_of(&user))
}

/// A user's name in the path.
pub(crate) fn name(user: Result<Path<String>, PathRejection>) -> Result<String> {
    let Path(user) = user.map_err(|_| Error::new("the user's name in the path is not UTF-8"))?;
    match user_problem(&user) {
        None => Ok(user),
        Some(problem) => Err(Error::new(format!(
            "the user's name in the path {problem}; it has 1 to 250 bytes and no control characters"
        ))),
    }
}

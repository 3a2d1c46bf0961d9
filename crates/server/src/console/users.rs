//! Users: where one is, and sending connections away.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use serde::Serialize;
use tidings::{ConnectionInfo, Error, Result};

use super::{Console, NAME};
use crate::api::{SentAway, parameters, users};

/// Connections on a page unless the request says how many, and at the most.
const CONNECTIONS: usize = 50;
const CONNECTIONS_MAX: usize = 1_000;

/// A page of where a user is.
#[derive(Serialize)]
pub(super) struct Listed {
    /// The oldest of the page first.
    connections: Vec<ConnectionInfo>,
    /// How many there are in all.
    count: usize,
}

/// `GET /console/api/users/{user}/connections`.
pub(super) async fn connections(
    State(console): State<Arc<Console>>,
    user: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<Listed>> {
    let [skip, limit] = parameters::named(&query.unwrap_or_default(), ["skip", "limit"])?;
    let limit = parameters::limit(limit.as_deref(), CONNECTIONS, CONNECTIONS_MAX)?;
    let skip: usize = match skip {
        Some(skip) => skip.parse().map_err(|_| Error::new("`skip` is a number, 0 or more"))?,
        None => 0,
    };
    let mut all = users::list(&console.api, users::name(user)?).await;
    let count = all.len();
    // Many come within one moment, so that their times put them in another order each time. Their ids stay.
    all.sort_by_cached_key(|connection| connection.id.to_string());
    let mut connections: Vec<ConnectionInfo> = all.into_iter().skip(skip).take(limit).collect();
    connections.sort_by_key(|connection| connection.since);
    Ok(Json(Listed { connections, count }))
}

/// `POST /console/api/users/{user}/disconnect`, with `{"revoke": true}` also the tokens.
pub(super) async fn disconnect(
    State(console): State<Arc<Console>>,
    user: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<SentAway>> {
    let user = users::name(user)?;
    users::send_away(&console.api, NAME, user, request.into_body())
        .await
        .map(Json)
}

/// `POST /console/api/connections/{connection}/disconnect`.
pub(super) async fn disconnect_one(
    State(console): State<Arc<Console>>,
    connection: Result<Path<String>, PathRejection>,
) -> Result<Json<SentAway>> {
    let text = connection.map(|Path(text)| text).unwrap_or_default();
    crate::api::connections::send_away(&console.api, NAME, &text)
        .await
        .map(Json)
}

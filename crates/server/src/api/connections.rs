//! `POST /api/v1/connections/{connection}/disconnect`: sends one connection away.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use tidings::{Code, ConnectionId, Error, Result};

use super::{Api, SentAway};

pub(super) async fn disconnect(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    connection: Result<Path<String>, PathRejection>,
) -> Result<Json<SentAway>> {
    let key = api.admin_key(&headers)?;
    let id: Option<ConnectionId> = connection.ok().and_then(|Path(text)| text.parse().ok());
    let was_there = match id {
        Some(id) => api.io.disconnect(id).await,
        None => false,
    };
    if !was_there {
        return Err(Error::coded(Code::NotFound, "there is no connection of this id"));
    }
    tracing::info!(
        connection = id.map(tracing::field::display),
        key = key.name(),
        "a connection is sent away"
    );
    Ok(Json(SentAway { connections: 1 }))
}

//! `POST /api/v1/connections/{connection}/disconnect`: sends one connection away.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use tidings::{Code, ConnectionId, Error, Result};

use super::{Api, SentAway};
use crate::client::Client;

pub(super) async fn disconnect(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    connection: Result<Path<String>, PathRejection>,
) -> Result<Json<SentAway>> {
    let key = api.admin_key(&headers)?;
    let text = connection.map(|Path(text)| text).unwrap_or_default();
    send_away(&api, key.name(), &text).await.map(Json)
}

/// Sends a connection away; `by` says in the log who did.
///
/// # Errors
/// `not_found` when there is none of this id.
pub(crate) async fn send_away(api: &Api, by: &str, connection: &str) -> Result<SentAway> {
    let was_there = match connection.parse::<ConnectionId>() {
        Ok(id) => api.io.disconnect(id).await,
        // What the back end knows it by.
        Err(_) => {
            let name = connection.to_owned();
            let named = api.io.connections(move |client: &Client| client.is_visit(&name));
            named.disconnect().await > 0
        }
    };
    if !was_there {
        return Err(Error::coded(Code::NotFound, "there is no connection of this id"));
    }
    tracing::info!(connection, key = by, "a connection is sent away");
    Ok(SentAway { connections: 1 })
}

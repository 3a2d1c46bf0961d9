//! `GET /api/v1/channels/{channel}/presence`: which users are in a channel, in the order of their names, a page at a time.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use tidings::{Error, PresencePage, Result};

use super::{Api, parameters};
use crate::access::check_name;
use crate::events::presence::{USERS, USERS_MAX};

pub(super) async fn presence(
    State(api): State<Arc<Api>>,
    channel: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<PresencePage>> {
    api.reading_key(&headers)?;
    let Path(channel) = channel.map_err(|_| Error::new("the channel's name in the path is not UTF-8"))?;
    page(&api, &channel, query.as_deref().unwrap_or_default()).map(Json)
}

/// The page that a query asks for.
///
/// # Errors
/// `invalid_channel`; `not_found` where the channel does not keep who is there; `bad_request` when the query can't be read.
pub(crate) fn page(api: &Api, channel: &str, query: &str) -> Result<PresencePage> {
    check_name(channel)?;
    if !api.access.rules().keep_presence(channel) {
        return Err(crate::access::no_presence(channel));
    }
    let [after, limit] = parameters::named(query, ["after", "limit"])?;
    let limit = parameters::limit(limit.as_deref(), USERS, USERS_MAX)?;
    Ok(api.io.presence().users(channel, after.as_deref(), limit))
}

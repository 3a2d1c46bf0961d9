//! `GET /api/v1/channels`: which channels have subscribers, in the order of their names, a page at a time.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use tidings::{ChannelsPage, Result};

use super::{Api, parameters};

/// Channels on a page unless the request says how many.
pub(super) const CHANNELS: usize = 100;

/// Channels on a page at the most.
pub(super) const CHANNELS_MAX: usize = 1_000;

pub(super) async fn channels(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<ChannelsPage>> {
    api.reading_key(&headers)?;
    page(&api, query.as_deref().unwrap_or_default()).await.map(Json)
}

/// The page that a query asks for.
///
/// # Errors
/// `bad_request` when it can't be read.
pub(crate) async fn page(api: &Api, query: &str) -> Result<ChannelsPage> {
    let [prefix, after, limit] = parameters::named(query, ["prefix", "after", "limit"])?;
    let limit = parameters::limit(limit.as_deref(), CHANNELS, CHANNELS_MAX)?;
    let prefix = prefix.as_deref().unwrap_or_default();
    Ok(api.io.channels_with_prefix(prefix, after.as_deref(), limit).await)
}

//! `GET /api/v1/channels`: which channels have subscribers, in the order of their names, a page at a time.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use tidings::{ChannelsPage, Result};

use super::{Api, parameters};

/// Channels on a page unless the request says how many.
const CHANNELS: usize = 100;

/// Channels on a page at the most.
const CHANNELS_MAX: usize = 1_000;

pub(super) async fn channels(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<ChannelsPage>> {
    api.reading_key(&headers)?;
    let [after, limit] = parameters::named(query.as_deref().unwrap_or_default(), ["after", "limit"])?;
    let limit = parameters::limit(limit.as_deref(), CHANNELS, CHANNELS_MAX)?;
    Ok(Json(api.io.channels(after.as_deref(), limit).await))
}

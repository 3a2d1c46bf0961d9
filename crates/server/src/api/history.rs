//! `GET /api/v1/channels/{channel}/history`: what a channel retains, a page at a time, forward or backward.
//!
//! A key of the server API may ask, and so may a user who may subscribe there, by token.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{Request, header};
use axum::response::IntoResponse;
use tidings::{Error, HistoryPage, Result};

use super::{Api, parameters};
use crate::access::check_name;
use crate::events::parse_id;

/// Events on a page unless the request says how many.
pub(crate) const EVENTS: usize = 50;

/// Events on a page at the most.
pub(crate) const EVENTS_MAX: usize = 1_000;

pub(super) async fn history(
    State(api): State<Arc<Api>>,
    channel: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Result<impl IntoResponse> {
    let Path(channel) = channel.map_err(|_| Error::new("the channel's name in the path is not UTF-8"))?;
    let request = request.map(drop);
    authorize(&api, &request, &channel).await?;
    let page = page(&api, &channel, request.uri().query().unwrap_or_default()).await?;
    let headers = [
        (header::CACHE_CONTROL, "private, no-cache"),
        (header::VARY, "Authorization, Cookie"),
    ];
    Ok((headers, Json(page)))
}

/// The page that a query asks for, of a channel that who asks may read.
///
/// # Errors
/// `bad_request` or `invalid_id` when the query can't be read; when the store can't be.
pub(crate) async fn page(api: &Api, channel: &str, query: &str) -> Result<HistoryPage> {
    let [before, after, limit] = parameters::named(query, ["before", "after", "limit"])?;
    let mut page = api
        .io
        .history(channel)
        .limit(parameters::limit(limit.as_deref(), EVENTS, EVENTS_MAX)?);
    if let Some(before) = &before {
        page = page.before(parse_id(before)?);
    }
    if let Some(after) = &after {
        page = page.after(parse_id(after)?);
    }
    page.await
}

/// Whether who asks may read the channel.
async fn authorize(api: &Api, request: &Request<()>, channel: &str) -> Result<()> {
    let headers = request.headers();
    if api.shows_key(headers) {
        api.reading_key(headers)?;
        return check_name(channel);
    }
    let claims = api.door.check(&api.io.handshake(request)).await?;
    api.check_reader(request, claims.as_ref(), channel).await
}

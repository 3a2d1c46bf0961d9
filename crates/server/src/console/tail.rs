//! `GET /console/api/channels/{channel}/tail`: what is published in a channel, as it is, as an event stream.
//!
//! It is the library's own stream, so it comes back by its last id and is told of gaps; and it is a subscriber like any other, with
//! the same bounds. It ends with the session.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use tidings::{Code, Error, Result};

use super::Console;
use super::channels::name;
use super::sessions::Visit;
use crate::api::parameters;
use crate::events::parse_id;

/// Tails that can be open at once.
pub(super) const TAILS_MAX: usize = 100;

/// The longest that one goes on; then the page comes back by itself.
const TAIL: Duration = Duration::from_secs(3_600);

pub(super) async fn tail(
    State(console): State<Arc<Console>>,
    Extension(visit): Extension<Option<Visit>>,
    channel: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let channel = name(channel)?;
    let place = Arc::clone(&console.tails).try_acquire_owned();
    let place = place.map_err(|_| {
        let problem = format!("there are {TAILS_MAX} tails already, which is all there can be: close one");
        Error::coded(Code::RateLimited, problem)
    })?;
    let [since] = parameters::named(query.as_deref().unwrap_or_default(), ["since"])?;
    let mut stream = console.api.io.sse(&headers).channel(&channel);
    if let Some(since) = since {
        stream = stream.since(parse_id(&since)?);
    }
    let over = async move {
        match visit {
            Some(visit) => drop(tokio::time::timeout(TAIL, visit.over()).await),
            None => tokio::time::sleep(TAIL).await,
        }
    };
    let (head, body) = stream.into_response().into_parts();
    let chunks = body.into_data_stream().take_until(over).map(move |chunk| {
        // Held for as long as the stream is.
        let _ = &place;
        chunk
    });
    // Without the extensions, with which the stream would be written past this.
    let mut response = Response::new(Body::from_stream(chunks));
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    Ok(response)
}

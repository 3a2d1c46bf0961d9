//! `/healthz`: the process answers; `/readyz`: it wants clients.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tidings::Io;

/// The two paths. Ready is 503 from the moment the server begins to end, and while
/// nothing can be published because the store can't be written.
pub(crate) fn routes(io: &Io) -> Router {
    let io = io.clone();
    let ready = async move || {
        if io.is_closing() {
            answer(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        } else if io.failure().is_some() {
            // The log says why; this page may be open to everybody.
            answer(StatusCode::SERVICE_UNAVAILABLE, "the store can't be written\n")
        } else {
            answer(StatusCode::OK, "ready\n")
        }
    };
    Router::new()
        .route("/healthz", get(async || answer(StatusCode::OK, "alive\n")))
        .route("/readyz", get(ready))
}

fn answer(status: StatusCode, text: &'static str) -> impl IntoResponse {
    (status, [(header::CACHE_CONTROL, "no-store")], text)
}

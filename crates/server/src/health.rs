//! `/healthz`: the process is well; `/readyz`: it wants clients.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tidings::{Code, Io};

/// The two paths. Ready is 503 from the moment the server begins to end, and while
/// nothing can be published because the store can't be written; alive is, when only a new start helps.
pub(crate) fn routes(io: &Io) -> Router {
    let alive = {
        let io = io.clone();
        async move || match io.failure() {
            Some(failure) if failure.code() == Code::Internal.as_str() => {
                answer(StatusCode::SERVICE_UNAVAILABLE, "broken: start it again\n")
            }
            _ => answer(StatusCode::OK, "alive\n"),
        }
    };
    let io = io.clone();
    let ready = async move || {
        if io.is_closing() {
            answer(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        } else if io.failure().is_some() {
            // The log says why; this page may be open to everybody.
            answer(StatusCode::SERVICE_UNAVAILABLE, "out of order\n")
        } else {
            answer(StatusCode::OK, "ready\n")
        }
    };
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready))
}

fn answer(status: StatusCode, text: &'static str) -> impl IntoResponse {
    (status, [(header::CACHE_CONTROL, "no-store")], text)
}

//! `GET /console/api/refusals`: who was not let in lately, and why. How many there were by code is in the overview.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tidings::Refused;

use super::Console;

#[derive(Serialize)]
pub(super) struct Latest {
    /// The newest first.
    latest: Vec<Refused>,
}

pub(super) async fn refusals(State(console): State<Arc<Console>>) -> Json<Latest> {
    let mut latest = console.api.io.refusals();
    latest.reverse();
    Json(Latest { latest })
}

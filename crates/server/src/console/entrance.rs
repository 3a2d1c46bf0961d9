//! Signing in and out.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tidings::{Code, Error, Result};

use super::{Console, Entry, closed, cookie, origin};
use crate::api::body;

/// A password, and some JSON around it, in bytes.
const BODY_BYTES_MAX: usize = 4_096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `password`, a text")]
struct Given {
    password: String,
}

/// What the page has to know before anything else.
#[derive(Serialize)]
pub(super) struct Session {
    signed_in: bool,
    /// Whether there is something to sign out of.
    needs_password: bool,
    version: &'static str,
}

/// `GET /console/api/session`.
pub(super) async fn session(State(console): State<Arc<Console>>, request: Request) -> Result<Response> {
    origin::check(&request)?;
    if matches!(console.entry, Entry::Closed) {
        return Err(closed());
    }
    let session = Session {
        signed_in: console.visit(&request).is_ok(),
        needs_password: matches!(console.entry, Entry::Password(_)),
        version: env!("CARGO_PKG_VERSION"),
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(session)).into_response())
}

/// `POST /console/api/login`.
pub(super) async fn login(State(console): State<Arc<Console>>, mut request: Request) -> Result<Response> {
    origin::check(&request)?;
    let password = match &console.entry {
        Entry::Password(password) => password,
        Entry::Open => return Ok(StatusCode::NO_CONTENT.into_response()),
        Entry::Closed => return Err(closed()),
    };
    let handshake = console.api.io.handshake(&request);
    // Who has no address is one of all who have none.
    let address = handshake.address().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let attempt = console.attempts.lock().take(address, Instant::now());
    if let Err(wait) = attempt {
        tracing::warn!(%address, "too many attempts to sign in at the console");
        return Ok(too_often(wait));
    }
    let json = body::read(std::mem::replace(request.body_mut(), Body::empty()), BODY_BYTES_MAX).await?;
    let given: Given = body::parse(&json)?;
    if !password.is(&given.password) {
        tracing::warn!(%address, "a wrong password at the console");
        return Err(Error::unauthenticated("this is not the password"));
    }
    console.attempts.lock().forget(address);
    let token = console.sessions.begin(Instant::now())?;
    tracing::info!(%address, "somebody has signed in at the console");
    let cookie = cookie::set(&request, &token, origin::is_secure(&request));
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// `POST /console/api/logout`.
pub(super) async fn logout(State(console): State<Arc<Console>>, request: Request) -> Response {
    if let Some(token) = cookie::value(&request) {
        console.sessions.end(&token);
    }
    let cookie = cookie::clear(&request, origin::is_secure(&request));
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}

fn too_often(wait: Duration) -> Response {
    let seconds = wait.as_secs() + 1;
    let error = Error::coded(
        Code::RateLimited,
        format!("too many attempts from this address; try again in {seconds} s"),
    );
    ([(header::RETRY_AFTER, seconds.to_string())], error).into_response()
}

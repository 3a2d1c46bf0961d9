//! `/console/` on the admin address: what happens, and a hand to act, for whoever looks after the server.
//!
//! It opens with the `password` of `[admin]`; with `--dev` and none it is open to this machine's browsers. Its own HTTP API is under
//! `/console/api/`. Whatever there is much of comes in pages, so that neither an answer nor the page grows with the clients.

mod attempts;
mod channels;
mod cookie;
mod entrance;
mod origin;
mod overview;
mod password;
mod refusals;
mod sessions;
mod settings;
mod tail;
mod users;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use parking_lot::Mutex;
use rust_embed::RustEmbed;
use tidings::{Code, Error, Result};
use tokio::sync::Semaphore;

pub(crate) use password::{PASSWORD_CHARACTERS_MIN, Password};

use crate::api::Api;
use crate::config::Config;
use crate::embedded;
use crate::problem::Problem;
use crate::swap::Swap;
use attempts::Attempts;
use overview::Glances;
use sessions::{Sessions, Visit};
pub(crate) use settings::Settings;

/// What the log calls who acts here, where it has an API key's name otherwise.
const NAME: &str = "console";

/// The page may load its own files and ask its own API, and nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What there is instead of the page while nobody could sign in.
const CLOSED: &str = "The console has no password yet, so it is closed. Set one of 12 characters or more in the configuration:\n\n\
    [admin]\npassword = { env = \"TIDINGS_ADMIN_PASSWORD\" }   # or { file = \"admin.password\" }\n\n\
    or TIDINGS_ADMIN__PASSWORD in the environment, and start the server again.\n\
    `openssl rand -base64 18` makes one. With `tidings serve --dev` the console needs none.\n";

#[derive(RustEmbed)]
#[folder = "console/"]
struct Files;

/// What the routes need.
struct Console {
    api: Arc<Api>,
    entry: Entry,
    sessions: Sessions,
    attempts: Mutex<Attempts>,
    glances: Arc<Glances>,
    settings: Arc<Swap<Settings>>,
    /// How many tails can be open at once.
    tails: Arc<Semaphore>,
}

/// Who gets in.
enum Entry {
    /// Who knows the password.
    Password(Password),
    /// Everybody: with `--dev`, where only this machine's browsers come this far.
    Open,
    /// Nobody.
    Closed,
}

/// The page and its API. It wants a runtime, in which it begins to look at what happens.
pub(crate) fn routes(config: &Config, api: &Arc<Api>, settings: &Arc<Swap<Settings>>) -> Router {
    let entry = match &config.console_password {
        Some(password) => Entry::Password(password.clone()),
        None if config.dev => Entry::Open,
        None => Entry::Closed,
    };
    let glances = Arc::new(Glances::new(&api.io));
    if !matches!(entry, Entry::Closed) {
        tokio::spawn(Glances::keep(Arc::downgrade(&glances)));
    }
    let console = Arc::new(Console {
        api: Arc::clone(api),
        entry,
        sessions: Sessions::default(),
        attempts: Mutex::default(),
        glances,
        settings: Arc::clone(settings),
        tails: Arc::new(Semaphore::new(tail::TAILS_MAX)),
    });
    let inside = Router::new()
        .route("/console/api/logout", post(entrance::logout))
        .route("/console/api/overview", get(overview))
        .route("/console/api/recent", get(recent))
        .route("/console/api/channels", get(channels::list))
        .route("/console/api/channels/{channel}", get(channels::channel))
        .route("/console/api/channels/{channel}/presence", get(channels::presence))
        .route("/console/api/channels/{channel}/history", get(channels::history))
        .route("/console/api/channels/{channel}/tail", get(tail::tail))
        .route("/console/api/publish", post(channels::publish))
        .route("/console/api/users/{user}/connections", get(users::connections))
        .route("/console/api/users/{user}/disconnect", post(users::disconnect))
        .route(
            "/console/api/connections/{connection}/disconnect",
            post(users::disconnect_one),
        )
        .route("/console/api/refusals", get(refusals::refusals))
        .route("/console/api/config", get(config_of))
        .layer(middleware::from_fn_with_state(Arc::clone(&console), let_in));
    let files = get(file);
    Router::new()
        .route("/console", get(async || Redirect::permanent("/console/")))
        .route("/console/", files.clone())
        .route("/console/{*path}", files)
        .route("/console/api/session", get(entrance::session))
        .route("/console/api/login", post(entrance::login))
        .merge(inside)
        .with_state(console)
}

impl Console {
    /// The session of a request, where one is needed.
    ///
    /// # Errors
    /// `unauthenticated` when there is none; `unavailable` while there can be none.
    fn visit(&self, request: &Request) -> Result<Option<Visit>> {
        match self.entry {
            Entry::Open => Ok(None),
            Entry::Closed => Err(closed()),
            Entry::Password(_) => {
                let found = cookie::value(request).and_then(|token| self.sessions.find(&token));
                found.map(Some).ok_or_else(|| {
                    Error::unauthenticated("sign in first, at /console/: there is no session, or it is over")
                })
            }
        }
    }
}

fn closed() -> Error {
    Error::coded(
        Code::Unavailable,
        "the console has no password: set `password` in `[admin]`, or TIDINGS_ADMIN__PASSWORD in the environment",
    )
}

/// Before all of the API but signing in: the session, and no other site's page.
async fn let_in(State(console): State<Arc<Console>>, mut request: Request, next: Next) -> Result<Response> {
    origin::check(&request)?;
    let visit = console.visit(&request)?;
    request.extensions_mut().insert(visit);
    let mut response = next.run(request).await;
    // What it says is of this moment, and for who is signed in.
    let headers = response.headers_mut();
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let own_pages_alone = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(own_pages_alone, HeaderValue::from_static("same-origin"));
    Ok(response)
}

async fn file(State(console): State<Arc<Console>>, path: Option<Path<String>>) -> Response {
    if matches!(console.entry, Entry::Closed) {
        let headers = [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            (header::CACHE_CONTROL, "no-store"),
        ];
        return (StatusCode::SERVICE_UNAVAILABLE, headers, CLOSED).into_response();
    }
    let path = path.map_or_else(String::new, |Path(path)| path);
    let path = if path.is_empty() { "index.html" } else { &path };
    match Files::get(path) {
        Some(file) => embedded::answer(path, file.data, CONTENT_SECURITY_POLICY),
        None => Problem::new(Code::NotFound, "the console has no such file").into_response(),
    }
}

async fn overview(State(console): State<Arc<Console>>) -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (headers, Body::from(console.glances.latest().await))
}

async fn recent(State(console): State<Arc<Console>>) -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (headers, console.glances.recent())
}

async fn config_of(State(console): State<Arc<Console>>) -> Json<Settings> {
    Json(Settings::clone(&console.settings.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_type_and_none_is_from_elsewhere() {
        let names: Vec<_> = Files::iter().collect();
        assert!(names.iter().any(|name| name == "index.html"));
        for name in names {
            assert_ne!(embedded::content_type(&name), "application/octet-stream", "{name}");
            let file = Files::get(&name).unwrap();
            let text = String::from_utf8_lossy(&file.data).replace("http://www.w3.org/", "");
            assert!(!text.contains("http://") && !text.contains("https://"), "{name}");
        }
    }

    #[test]
    fn what_to_set_names_the_length_that_is_asked_for() {
        assert!(CLOSED.contains(&format!("{PASSWORD_CHARACTERS_MIN} characters")));
    }
}

//! `GET /api/openapi.json`: what the API takes and answers, as an OpenAPI 3.1 document that tools read.
//!
//! It is made at start, and again when the configuration changes, from the same constants that the handlers check against and from the table of codes, so that it says nothing
//! that the code doesn't do. A test holds its paths and methods against the routes.

mod answers;
mod operations;
mod schemas;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Api;
use crate::config::Config;

/// Where it is.
pub(super) const PATH: &str = "/api/openapi.json";

/// The document as it is sent.
pub(super) struct Description {
    json: Bytes,
    tag: String,
}

/// What of the configuration the document tells.
struct Facts<'a> {
    /// The longest body of a publish; none is for any length.
    message_bytes: Option<usize>,
    /// Binary values of an event's data; none is for any number.
    attachments: Option<usize>,
    /// Whether users who show nothing may be let in.
    anonymous: bool,
    /// The cookie that may hold a token.
    cookie: Option<&'a str>,
    /// Whether a back end is asked, which may refuse with codes of its own.
    hooks: bool,
    /// Whether it is for trying out.
    dev: bool,
}

/// It needs no key: what is described is no secret, and tools ask without one. Always asked about, seldom sent: another
/// configuration may be described the next time.
pub(super) async fn openapi(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    let description = api.description.get();
    let Description { json, tag } = &*description;
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    let known = known.filter_map(|value| value.to_str().ok());
    let is_known = known
        .flat_map(|tags| tags.split(','))
        .map(|known| known.trim().trim_start_matches("W/"))
        .any(|known| known == *tag || known == "*");
    let about = [
        (header::ETAG, tag.as_str()),
        (header::CACHE_CONTROL, "public, no-cache"),
    ];
    if is_known {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    (about, [(header::CONTENT_TYPE, "application/json")], json.clone()).into_response()
}

/// Its content's own.
fn etag(content: &[u8]) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
    let digits: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digits}\"")
}

impl Description {
    pub(super) fn of(config: &Config) -> Self {
        let json = Bytes::from(document(&Facts::of(config)).to_string());
        let tag = etag(&json);
        Self { json, tag }
    }
}

impl<'a> Facts<'a> {
    fn of(config: &'a Config) -> Self {
        let some = |limit: usize| (limit != 0).then_some(limit);
        Self {
            message_bytes: some(config.limits.message_bytes),
            attachments: some(config.limits.attachments),
            anonymous: config.auth.anonymous,
            cookie: config.auth.cookie.as_deref(),
            hooks: config.hooks.is_some(),
            dev: config.dev,
        }
    }
}

fn document(facts: &Facts<'_>) -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidings: the server API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Publishing, looking at channels, looking after users. Lengths are in bytes of UTF-8 where a description \
                says so; `maxLength` counts characters. Names in a path are percent-encoded. Bodies are read as JSON whatever \
                their `Content-Type` says. Answers may get more members. A method that a path does not know is answered \
                405 `method_not_allowed` with `Allow`, a path that is none 404 `not_found`, both as problem documents.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": [
            { "name": "publish", "description": "Events into channels." },
            { "name": "channels", "description": "What channels hold, and who is there." },
            { "name": "users", "description": "Where users are, what they have read, and sending them away." },
        ],
        "paths": operations::paths(facts),
        "components": {
            "securitySchemes": security_schemes(facts),
            "schemas": schemas::schemas(facts),
        },
    })
}

fn security_schemes(facts: &Facts<'_>) -> Value {
    let mut schemes = json!({
        "apiKey": {
            "type": "http",
            "scheme": "bearer",
            "description": "A key of `[api]`. Where an operation names a scope, the key must have it.",
        },
        "userToken": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A user's token, for what that user may see.",
        },
        "userTokenInQuery": {
            "type": "apiKey",
            "in": "query",
            "name": "access_token",
            "description": "A user's token where no header can be set.",
        },
    });
    if let Some(name) = facts.cookie {
        schemes["userTokenInCookie"] = json!({
            "type": "apiKey",
            "in": "cookie",
            "name": name,
            "description": "A user's token that the page's own site has set.",
        });
    }
    schemes
}

#[cfg(test)]
mod tests;

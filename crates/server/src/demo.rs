//! `/demo/`, with `--dev`: the classic jobs to try out, and tokens for whoever asks by name.

mod notify;
mod status;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use rust_embed::RustEmbed;
use serde::{Deserialize, Serialize};
use tidings::{Code, Io};

pub(crate) use status::publish_status;

use crate::config::Auth;
use crate::embedded;
use crate::loopback;
use crate::problem::Problem;
use crate::token::{NewToken, Verifier, sign, user_problem};

/// How long a name holds. The page asks for a new token when it has ended.
const TOKEN: Duration = Duration::from_secs(12 * 3_600);

/// A name or a short text, and some JSON around it, in bytes.
const BODY_BYTES_MAX: usize = 4_096;

/// The channels of the page's rooms.
const ROOMS: &str = "room:*";

/// The page may load what comes from here, connect to here, and be in no frame.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'";

#[derive(RustEmbed)]
#[folder = "demo/"]
struct Files;

/// What the routes need.
struct Demo {
    auth: Auth,
    verifier: Verifier,
    io: Io,
}

/// The page, `POST /demo/token` and `POST /demo/notify`. They are for this machine's browsers only: `Host`
/// is checked for all paths.
pub(crate) fn routes(auth: &Auth, io: &Io) -> Router {
    let files = get(async |path: Option<Path<String>>| file(&path.map_or_else(String::new, |Path(path)| path)));
    Router::new()
        .route("/demo", get(async || Redirect::permanent("/demo/")))
        .route("/demo/", files.clone())
        .route("/demo/{*path}", files)
        .route("/demo/token", post(token))
        .route("/demo/notify", post(notify::notify))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::new(Demo {
            auth: auth.clone(),
            verifier: Verifier::new(auth.verifier_options()),
            io: io.clone(),
        }))
}

fn file(path: &str) -> Response {
    let path = if path.is_empty() { "index.html" } else { path };
    let Some(file) = Files::get(path) else {
        return Problem::new(Code::NotFound, "the demo has no such file").into_response();
    };
    embedded::answer(path, file.data, CONTENT_SECURITY_POLICY)
}

#[derive(Deserialize)]
struct Asked {
    name: String,
}

#[derive(Serialize)]
struct Issued {
    token: String,
    user: String,
}

async fn token(
    State(demo): State<Arc<Demo>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    loopback::check_origin(&headers)?;
    json(&issue(&demo.auth, &body_of(body)?)?)
}

fn body_of(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Problem> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(Code::TooLarge, format!("the body may have {BODY_BYTES_MAX} bytes"))
        }
        _ => Problem::new(Code::BadRequest, "the body can't be read"),
    })
}

fn json(answer: &impl Serialize) -> Result<Response, Problem> {
    let text =
        serde_json::to_string(answer).map_err(|_| Problem::new(Code::Internal, "the answer can't be written"))?;
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, text).into_response())
}

fn issue(auth: &Auth, body: &[u8]) -> Result<Issued, Problem> {
    let Asked { name } = serde_json::from_slice(body)
        .map_err(|_| Problem::new(Code::InvalidJson, r#"the body must be {"name": "…"}, as JSON"#))?;
    let user = name.trim().to_owned();
    if let Some(problem) = user_problem(&user) {
        return Err(Problem::new(Code::BadRequest, format!("the name {problem}")));
    }
    let token = make(auth, &user).map_err(|error| {
        tracing::error!(%error, "the demo can't make a token");
        Problem::new(Code::Internal, "no token can be made; the log says why")
    })?;
    Ok(Issued { token, user })
}

fn make(auth: &Auth, user: &str) -> anyhow::Result<String> {
    let secret = auth.secret.as_ref().context("there is no key")?;
    let new = NewToken {
        user: user.to_owned(),
        subscribe: vec![ROOMS.parse()?, status::CHANNEL.parse()?],
        publish: vec![ROOMS.parse()?],
        info: None,
        expires_in: TOKEN,
        audience: auth.audience.first().cloned(),
        issuer: auth.issuer.first().cloned(),
    };
    Ok(sign(secret, &new, SystemTime::now())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Secret, Verifier};

    fn auth() -> Auth {
        Auth {
            audience: vec!["chat".to_owned()],
            ..Auth::of_secret(Secret::new(&[b'k'; 32]).unwrap())
        }
    }

    #[test]
    fn who_asks_by_name_gets_a_token_for_the_rooms() {
        let auth = auth();
        let Issued { token, user } = issue(&auth, r#"{"name": " Björk "}"#.as_bytes()).unwrap();
        assert_eq!(user, "Björk");
        let claims = Verifier::new(auth.verifier_options())
            .verify_at(&token, SystemTime::now())
            .unwrap();
        assert_eq!(claims.sub, user);
        let texts: Vec<_> = claims.channels.publish.iter().map(ToString::to_string).collect();
        assert_eq!(texts, [ROOMS]);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(251));
        for (body, code) in [
            ("", Code::InvalidJson),
            ("{}", Code::InvalidJson),
            (r#"{"name":7}"#, Code::InvalidJson),
            (r#"{"name":"  "}"#, Code::BadRequest),
            (r#"{"name":"a\u0000b"}"#, Code::BadRequest),
            (&*long, Code::BadRequest),
        ] {
            let refused = issue(&auth(), body.as_bytes()).err().map(|problem| problem.code());
            assert_eq!(refused, Some(code), "{body}");
        }
    }

    #[test]
    fn every_file_has_a_type() {
        let names: Vec<_> = Files::iter().collect();
        assert!(names.iter().any(|name| name == "index.html"));
        for name in names {
            assert_ne!(embedded::content_type(&name), "application/octet-stream", "{name}");
            assert_eq!(file(&name).status(), StatusCode::OK);
        }
        assert_eq!(file("../Cargo.toml").status(), StatusCode::NOT_FOUND);
    }
}

//! `POST /demo/notify`: a notification for oneself, as a back end sends it. Clients may not publish to `user:<sub>`, so it
//! needs the server's hand.

use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tidings::{Code, EventId};

use super::{Demo, body_of, json};
use crate::loopback;
use crate::problem::Problem;
use crate::rules::OWN_CHANNEL_PREFIX;
use crate::token::{Claims, Verifier};

/// The longest notification, in characters.
const TEXT_MAX: usize = 280;

#[derive(Debug, Deserialize, Serialize)]
struct Notification {
    text: String,
}

#[derive(Serialize)]
struct Sent {
    /// The event's id; it is kept when this is answered.
    id: Option<EventId>,
}

/// Sends it to all that the token's user has open.
pub(super) async fn notify(
    State(demo): State<Arc<Demo>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    loopback::check_origin(&headers)?;
    let user = user_of(&demo.verifier, &headers)?.sub;
    let notification = notification_of(&body_of(body)?)?;
    let room = format!("{OWN_CHANNEL_PREFIX}{user}");
    let id = demo
        .io
        .to(room)
        .emit("notification", &notification)
        .await
        .map_err(|error| {
            let code = code_named(error.code());
            Problem::new(code, error.message())
        })?;
    json(&Sent { id })
}

fn user_of(verifier: &Verifier, headers: &HeaderMap) -> Result<Claims, Problem> {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = authorization
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or_else(|| Problem::new(Code::Unauthenticated, "`Authorization: Bearer` must have a token"))?;
    verifier
        .verify_at(token, SystemTime::now())
        .map_err(|error| Problem::new(code_named(error.code()), error.to_string()))
}

fn notification_of(body: &[u8]) -> Result<Notification, Problem> {
    let notification: Notification = serde_json::from_slice(body)
        .map_err(|_| Problem::new(Code::InvalidJson, r#"the body must be {"text": "…"}, as JSON"#))?;
    match notification.text.chars().count() {
        1..=TEXT_MAX => Ok(notification),
        _ => Err(Problem::new(
            Code::BadRequest,
            format!("a notification has 1 to {TEXT_MAX} characters"),
        )),
    }
}

fn code_named(name: &str) -> Code {
    let known = Code::ALL.iter().find(|code| code.as_str() == name);
    known.copied().unwrap_or(Code::Internal)
}

#[cfg(test)]
mod tests {
    use super::super::make;
    use super::*;
    use crate::config::Auth;
    use crate::token::Secret;
    use axum::http::HeaderValue;

    #[test]
    fn who_has_no_good_token_sends_nothing() {
        let auth = |key| Auth::of_secret(Secret::new(&[key; 32]).unwrap());
        let verifier = Verifier::new(auth(b'k').verifier_options());
        let token = make(&auth(b'k'), "Björk").unwrap();
        let code = |authorization: Option<String>| {
            let mut headers = HeaderMap::new();
            let value = authorization.map(|text| HeaderValue::from_str(&text).unwrap());
            headers.extend(value.map(|value| (header::AUTHORIZATION, value)));
            user_of(&verifier, &headers)
                .map(|claims| claims.sub)
                .map_err(|problem| problem.code())
        };
        assert_eq!(code(Some(format!("Bearer {token}"))), Ok("Björk".to_owned()));
        assert_eq!(code(Some(format!("bearer  {token}"))), Ok("Björk".to_owned()));
        for wrong in [
            None,
            Some(token.clone()),
            Some(format!("Basic {token}")),
            Some("Bearer x".to_owned()),
        ] {
            assert_eq!(code(wrong.clone()), Err(Code::Unauthenticated), "{wrong:?}");
        }
        let foreign = make(&auth(b'x'), "Björk").unwrap();
        assert_eq!(code(Some(format!("Bearer {foreign}"))), Err(Code::TokenSignature));
    }

    #[test]
    fn a_notification_is_a_short_text() {
        let most = format!(r#"{{"text":"{}"}}"#, "ä".repeat(TEXT_MAX));
        assert_eq!(notification_of(most.as_bytes()).unwrap().text.chars().count(), TEXT_MAX);
        let more = format!(r#"{{"text":"{}"}}"#, "ä".repeat(TEXT_MAX + 1));
        for (body, code) in [
            ("", Code::InvalidJson),
            (r#"{"text":7}"#, Code::InvalidJson),
            (r#"{"text":""}"#, Code::BadRequest),
            (&*more, Code::BadRequest),
        ] {
            let refused = notification_of(body.as_bytes()).map_err(|problem| problem.code());
            assert_eq!(refused.err(), Some(code), "{body}");
        }
    }
}

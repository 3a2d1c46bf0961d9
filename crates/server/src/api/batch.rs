//! `POST /api/v1/batch`: many events in one request, published in their order. Each is answered for itself.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidings::{Code, Error, Result};

use super::publish::{Published, emit};
use super::{Api, body, shown, too_large};

/// Events in one batch.
pub(super) const EVENTS_MAX: usize = 1_000;

/// A batch may be so many times as long as one message.
pub(super) const MESSAGES_MAX: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `events`, a list")]
struct Batch<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

/// The answer.
#[derive(Serialize)]
pub(super) struct Results {
    /// One for each event, in their order.
    results: Vec<Outcome>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Published(Published),
    Refused { code: String, message: String },
}

impl Outcome {
    fn refused(error: &Error) -> Self {
        let (code, message) = shown(error);
        Outcome::Refused {
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }
}

pub(super) async fn batch(State(api): State<Arc<Api>>, request: Request<Body>) -> Result<Json<Results>> {
    let (head, body) = request.into_parts();
    let key = api.key(&head.headers)?;
    let json = body::read(body, api.message_bytes.saturating_mul(MESSAGES_MAX)).await?;
    let Batch { events } = body::parse(&json)?;
    if events.len() > EVENTS_MAX {
        let problem = format!("a batch has {EVENTS_MAX} events at the most");
        return Err(Error::coded(Code::TooLarge, problem));
    }
    // All have their places before the first is waited for: that is one write for all, and their order.
    let emitted: Vec<_> = events
        .iter()
        .map(|event| {
            let json = event.get().as_bytes();
            if json.len() > api.message_bytes {
                return Err(too_large("the event", api.message_bytes));
            }
            emit(&api, Some(&key), &body::parse(json)?)
        })
        .collect();
    let mut results = Vec::with_capacity(emitted.len());
    for emitted in emitted {
        let outcome = match emitted {
            Ok(emitted) => Published::of(emitted).await,
            Err(error) => Err(error),
        };
        results.push(match outcome {
            Ok(published) => Outcome::Published(published),
            Err(error) => Outcome::refused(&error),
        });
    }
    Ok(Json(Results { results }))
}

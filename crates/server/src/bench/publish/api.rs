//! `POST /api/v1/publish`.

use std::time::Duration;

use http::Method;
use parking_lot::Mutex;
use serde_json::Value;

use super::Reply;
use crate::bench::http::{Answer, Http};

/// How long an answer may take: longer than the server is ever stopped for.
const ANSWER: Duration = Duration::from_secs(8);

/// Connections to the server API, as many as are in use at once.
pub(in crate::bench) struct Api {
    address: String,
    key: String,
    idle: Mutex<Vec<Http>>,
}

impl Api {
    pub(in crate::bench) fn new(address: &str, key: &str) -> Self {
        Self {
            address: address.to_owned(),
            key: key.to_owned(),
            idle: Mutex::default(),
        }
    }

    pub(super) async fn publish(&self, body: &Value) -> Reply {
        match self.request(Method::POST, "/api/v1/publish", body.to_string()).await {
            None => Reply::None,
            Some(answer) => {
                let value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
                match answer.status.as_u16() {
                    200 => Reply::of_result(&value),
                    status => match Reply::of_error(&value) {
                        Reply::Refused { code, text } => Reply::Refused {
                            code,
                            text: format!("{status} {text}"),
                        },
                        other => other,
                    },
                }
            }
        }
    }

    /// Sends a request; nothing when it stays without an answer.
    pub(in crate::bench) async fn request(&self, method: Method, path: &str, body: String) -> Option<Answer> {
        let mut http = self.take();
        let request = http.request(method, path, &[], body.into());
        let answer = tokio::time::timeout(ANSWER, request).await.ok()?.ok()?;
        self.idle.lock().push(http);
        Some(answer)
    }

    fn take(&self) -> Http {
        let idle = self.idle.lock().pop();
        idle.unwrap_or_else(|| Http::new(&self.address, &self.key))
    }
}

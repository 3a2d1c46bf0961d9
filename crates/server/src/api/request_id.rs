//! `X-Request-Id`: what a call is named in the answer and in the log, by the caller or by the server.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use crate::token::random_hex;

/// The header. No standard has it, and most proxies and frameworks know it by this name.
const NAME: HeaderName = HeaderName::from_static("x-request-id");

/// The longest that is taken from a caller, in bytes.
const BYTES_MAX: usize = 128;

/// Names a call, so that what the log says of it can be found by its answer.
pub(super) async fn name(request: Request, next: Next) -> Response {
    let given = request.headers().get(&NAME).filter(|given| is_name(given));
    let id = given.cloned().unwrap_or_else(make);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!("api", request = id.to_str().unwrap_or_default());
    let answering = async {
        let response = next.run(request).await;
        tracing::debug!(%method, path, status = response.status().as_u16(), "a call of the API");
        response
    };
    let mut response = answering.instrument(span).await;
    response.headers_mut().insert(NAME, id);
    response
}

/// Visible ASCII, and not too long.
fn is_name(given: &HeaderValue) -> bool {
    (1..=BYTES_MAX).contains(&given.len()) && given.as_bytes().iter().all(u8::is_ascii_graphic)
}

/// One that no other call has: of this process, and then counted.
fn make() -> HeaderValue {
    static PROCESS: OnceLock<String> = OnceLock::new();
    static CALLS: AtomicU64 = AtomicU64::new(1);
    // Without randomness processes share their names, which tells apart less and breaks nothing.
    let process = PROCESS.get_or_init(|| random_hex::<4>().unwrap_or_default());
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    HeaderValue::from_str(&format!("{process}-{call}")).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_can_be_seen() {
        for (given, taken) in [
            ("7f0c-1", true),
            ("", false),
            ("a b", false),
            (&*"x".repeat(128), true),
            (&*"x".repeat(129), false),
        ] {
            assert_eq!(is_name(&HeaderValue::from_str(given).unwrap()), taken, "{given}");
        }
        assert!(!is_name(&HeaderValue::from_bytes("ü".as_bytes()).unwrap()));
        assert!(is_name(&make()) && make() != make());
    }
}

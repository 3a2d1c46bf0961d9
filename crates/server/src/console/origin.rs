//! Which pages may ask: the console's own. Another site's page has the browser send its cookies too, where they are not held back.

use axum::extract::Request;
use axum::http::{Method, header};
use tidings::{Code, Error, Result};

/// Refuses another site's page, and what changes something without saying whose page it comes from.
///
/// # Errors
/// `origin_not_allowed`.
pub(super) fn check(request: &Request) -> Result<()> {
    let is_reading = matches!(*request.method(), Method::GET | Method::HEAD);
    match origin(request) {
        None if is_reading => Ok(()),
        None => Err(refused(
            "a request that changes something must come from the console's page, with its `Origin`",
        )),
        Some(origin) if host(request).is_some_and(|host| is_of(origin, host)) => Ok(()),
        Some(origin) => Err(refused(format!(
            "the origin {origin:?} is not the console's own; a proxy in front of it must pass `Host` on as it is"
        ))),
    }
}

/// Whether the browser has the page over https, whoever takes that off on the way here.
pub(super) fn is_secure(request: &Request) -> bool {
    origin(request).is_some_and(|origin| origin.starts_with("https://"))
}

/// Whom the request is for.
pub(super) fn host(request: &Request) -> Option<&str> {
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    // HTTP/2 has it elsewhere.
    header.or_else(|| request.uri().authority().map(|authority| authority.as_str()))
}

fn origin(request: &Request) -> Option<&str> {
    let value = request.headers().get(header::ORIGIN)?;
    Some(value.to_str().unwrap_or("?"))
}

fn is_of(origin: &str, host: &str) -> bool {
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

fn refused(message: impl Into<String>) -> Error {
    Error::coded(Code::OriginNotAllowed, message.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn passes(method: Method, origin: Option<&str>) -> bool {
        let mut request = Request::builder().method(method).uri("/console/api/x");
        request = request.header(header::HOST, "127.0.0.1:9080");
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        check(&request.body(Body::empty()).unwrap()).is_ok()
    }

    #[test]
    fn only_its_own_page_may_change_something() {
        for (origin, reads, changes) in [
            (Some("http://127.0.0.1:9080"), true, true),
            (Some("https://127.0.0.1:9080"), true, true),
            (None, true, false),
            (Some("http://127.0.0.1:8080"), false, false),
            (Some("http://localhost:9080"), false, false),
            (Some("http://evil.example"), false, false),
            (Some("null"), false, false),
            (Some(""), false, false),
        ] {
            assert_eq!(passes(Method::GET, origin), reads, "{origin:?}");
            assert_eq!(passes(Method::POST, origin), changes, "{origin:?}");
            assert_eq!(passes(Method::DELETE, origin), changes, "{origin:?}");
        }
    }
}

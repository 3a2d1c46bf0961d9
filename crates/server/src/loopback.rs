//! With `--dev`, this machine's browsers alone are served: pages and names of others are refused.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, header};
use axum::middleware::Next;
use axum::response::Response;
use tidings::Code;

use crate::config::{is_loopback_host, is_loopback_origin};
use crate::problem::Problem;

/// Refuses a request whose `Host` is a name that was made to point here, as a page does that rebinds its own after it
/// was loaded (DNS rebinding). Socket.IO checks by itself, and refuses in the form that its clients read.
pub(crate) async fn check_host(request: Request, next: Next) -> Result<Response, Problem> {
    let host = text(request.headers(), header::HOST).unwrap_or_default();
    if is_loopback_host(host) || request.uri().path().starts_with("/socket.io/") {
        Ok(next.run(request).await)
    } else {
        Err(foreign("host", host))
    }
}

/// Refuses a request of another site's page.
pub(crate) fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    match text(headers, header::ORIGIN) {
        Some(origin) if !is_loopback_origin(origin) => Err(foreign("origin", origin)),
        _ => Ok(()),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

fn foreign(what: &str, name: &str) -> Problem {
    Problem::new(
        Code::OriginNotAllowed,
        format!("the {what} {name:?} is not this machine's, and the server runs with --dev"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::Body;
    use axum::http::{HeaderValue, StatusCode};
    use axum::routing::any;
    use tower::ServiceExt as _;

    #[test]
    fn only_pages_of_this_machine_pass() {
        for (origin, passes) in [
            (None, true),
            (Some("http://localhost:8080"), true),
            (Some("http://127.0.0.1:3000"), true),
            (Some("http://rebound.example"), false),
            (Some("https://evil.example"), false),
            (Some("null"), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin))));
            assert_eq!(check_origin(&headers).is_ok(), passes, "{origin:?}");
        }
    }

    #[tokio::test]
    async fn only_names_of_this_machine_pass_on_every_path() {
        let app = Router::new()
            .route("/a", any(async || "in"))
            .layer(axum::middleware::from_fn(check_host));
        for (host, status) in [
            (Some("127.0.0.1:8080"), StatusCode::OK),
            (Some("localhost:8080"), StatusCode::OK),
            (Some("[::1]:8080"), StatusCode::OK),
            (Some("rebound.example:8080"), StatusCode::FORBIDDEN),
            (None, StatusCode::FORBIDDEN),
        ] {
            for path in ["/a", "/nowhere"] {
                let mut request = Request::get(path);
                if let Some(host) = host {
                    request = request.header(header::HOST, host);
                }
                let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
                let expected = match status {
                    StatusCode::OK if path != "/a" => StatusCode::NOT_FOUND,
                    status => status,
                };
                assert_eq!(response.status(), expected, "{host:?} {path}");
            }
        }
    }
}

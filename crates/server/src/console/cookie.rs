//! The cookie that holds a session.
//!
//! Cookies know hosts and not ports, and who forwards the consoles of several servers to ports of their own machine has them all on
//! one host: the port is part of the name.

use axum::extract::Request;
use axum::http::header;

use super::origin::host;
use super::sessions::SESSION;

/// What the names begin with.
const NAME: &str = "tidings-console";

/// What the request's cookie holds.
pub(super) fn value(request: &Request) -> Option<String> {
    let name = name(request);
    let lines = request.headers().get_all(header::COOKIE).into_iter();
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(given, _)| *given == name)
        .map(|(_, value)| value.to_owned())
}

/// The header that sets it; `secure` where the browser speaks https.
pub(super) fn set(request: &Request, token: &str, secure: bool) -> String {
    line(request, token, SESSION.as_secs(), secure)
}

/// The header that takes it away.
pub(super) fn clear(request: &Request, secure: bool) -> String {
    line(request, "", 0, secure)
}

fn line(request: &Request, value: &str, seconds: u64, secure: bool) -> String {
    let name = name(request);
    let secure = if secure { "; Secure" } else { "" };
    format!("{name}={value}; Path=/console; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

fn name(request: &Request) -> String {
    let port = host(request).and_then(|host| host.rsplit_once(':')?.1.parse::<u16>().ok());
    port.map_or_else(|| NAME.to_owned(), |port| format!("{NAME}-{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn request(host: &str, cookies: &[&str]) -> Request {
        let mut request = Request::get("/console/").header(header::HOST, host);
        for cookie in cookies {
            request = request.header(header::COOKIE, *cookie);
        }
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn the_cookie_of_this_port_is_found_among_others() {
        for (cookies, expected) in [
            (&["tidings-console-9080=abc"][..], Some("abc")),
            (&["a=b; tidings-console-9080=abc; c=d"], Some("abc")),
            (&["a=b", "x=y;tidings-console-9080=abc"], Some("abc")),
            (&["tidings-console-9080="], Some("")),
            (&["tidings-console-9081=abc", "tidings-console=x"], None),
            (
                &["xtidings-console-9080=abc", "tidings-console-9080", ";;", "=", ""],
                None,
            ),
            (&[], None),
        ] {
            assert_eq!(
                value(&request("127.0.0.1:9080", cookies)).as_deref(),
                expected,
                "{cookies:?}"
            );
        }
        let other = request("console.example", &["tidings-console=abc"]);
        assert_eq!(value(&other).as_deref(), Some("abc"));
    }

    #[test]
    fn it_is_for_the_console_alone() {
        let request = request("[::1]:9080", &[]);
        let line = set(&request, "abc", false);
        assert_eq!(
            line,
            "tidings-console-9080=abc; Path=/console; Max-Age=43200; HttpOnly; SameSite=Strict"
        );
        assert!(set(&request, "abc", true).ends_with("; Secure"));
        assert!(clear(&request, false).contains("=; ") && clear(&request, false).contains("Max-Age=0"));
    }
}

//! Origins of web pages, as in `allowed_origins` and in the `Origin` header (RFC 6454 section 6.2).

use std::net::{IpAddr, Ipv6Addr};

/// Reads an origin as it stands in the configuration, into the form in which browsers send it: scheme and host in
/// small letters, the port left out where it is the scheme's own.
///
/// # Errors
/// When it is none: the message says what was meant.
pub(super) fn normalise(text: &str) -> Result<String, String> {
    let meant = || format!("{text:?} is no origin; write scheme, host and port as in \"https://app.example\"");
    if text == "*" {
        return Err(
            "\"*\" would let every web page in; name the pages' origins, as in \"https://app.example\"".to_owned(),
        );
    }
    let (scheme, authority) = text.split_once("://").ok_or_else(meant)?;
    let scheme = scheme.to_ascii_lowercase();
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !is_scheme {
        return Err(meant());
    }
    if let Some(end) = authority.find(['/', '?', '#']) {
        let origin = format!("{scheme}://{}", &authority[..end]);
        return Err(format!(
            "{text:?} is more than an origin, which ends after host and port: \"{origin}\""
        ));
    }
    if !authority.is_ascii() {
        return Err(format!(
            "{text:?} has letters that browsers send in another form; write the host as `xn--…`"
        ));
    }
    let authority = authority.to_ascii_lowercase();
    let (host, port) = split_port(&authority).ok_or_else(meant)?;
    let own_port = match scheme.as_str() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    Ok(match port {
        Some(port) if Some(port) != own_port => format!("{scheme}://{host}:{port}"),
        _ => format!("{scheme}://{host}"),
    })
}

/// Whether an `Origin` header names a page of this machine.
pub(crate) fn is_loopback_origin(origin: &str) -> bool {
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(is_loopback_host)
}

/// Whether a `Host` header, with or without a port, names this machine: `localhost` (and what ends in `.localhost`,
/// RFC 6761 section 6.3), 127.0.0.0/8, `[::1]`.
pub(crate) fn is_loopback_host(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let Some((host, _)) = split_port(&host) else {
        return false;
    };
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address
            .parse::<Ipv6Addr>()
            .is_ok_and(|address| IpAddr::from(address).to_canonical().is_loopback());
    }
    let is_name = host == "localhost" || host.ends_with(".localhost");
    is_name || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Host and port of an authority without user information; none when it is not one.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.rfind(':') {
        Some(at) if !authority.ends_with(']') => {
            let digits = &authority[at + 1..];
            let port = digits
                .bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| digits.parse().ok())??;
            (&authority[..at], Some(port))
        }
        _ => (authority, None),
    };
    let is_host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    };
    is_host.then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_take_the_form_in_which_browsers_send_them() {
        for (text, expected) in [
            ("https://app.example", "https://app.example"),
            ("HTTPS://App.Example", "https://app.example"),
            ("https://app.example:443", "https://app.example"),
            ("http://app.example:80", "http://app.example"),
            ("https://app.example:8443", "https://app.example:8443"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("http://[::1]", "http://[::1]"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(normalise(text).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_origin_is_refused_with_what_was_meant() {
        for (text, part) in [
            ("*", "every web page"),
            ("app.example", "write scheme"),
            ("app.example/path", "write scheme"),
            ("null", "write scheme"),
            ("https://", "write scheme"),
            ("://x", "write scheme"),
            ("https://a b", "write scheme"),
            ("https://user@app.example", "write scheme"),
            ("https://app.example:", "write scheme"),
            ("https://app.example:99999", "write scheme"),
            ("https://*.app.example", "write scheme"),
            ("https://app.example/", "\"https://app.example\""),
            ("https://app.example/chat", "\"https://app.example\""),
            ("https://bücher.example", "xn--"),
        ] {
            let error = normalise(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn loopback_is_this_machine_and_no_name_that_looks_like_it() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "a.localhost:1",
            "127.0.0.1",
            "127.8.8.8:80",
            "[::1]",
            "[::1]:8080",
        ] {
            assert!(is_loopback_host(host), "{host}");
            assert!(is_loopback_origin(&format!("http://{host}")), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "notlocalhost",
            "localhost@example.com",
            "10.0.0.1",
            "[::2]",
            "::1",
            "localhost:x",
            "localhost/",
        ] {
            assert!(!is_loopback_host(host), "{host}");
            assert!(!is_loopback_origin(&format!("http://{host}")), "{host}");
        }
        assert!(!is_loopback_origin("null"));
        assert!(!is_loopback_origin("localhost"));
        assert!(!is_loopback_origin("file://localhost"));
    }
}

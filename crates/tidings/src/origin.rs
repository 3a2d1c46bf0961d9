//! Origins: which pages may come (RFC 6454), the same for every transport, and the CORS headers that say so.

use http::{HeaderMap, HeaderValue, Method, header};

/// Who may come.
#[derive(Debug, Clone)]
pub(crate) struct Origins {
    allowed: Vec<String>,
    any: bool,
    pub(crate) loopback_only: bool,
    /// The name of the setting, for the refusal.
    pub(crate) setting: &'static str,
}

impl Default for Origins {
    fn default() -> Self {
        Self {
            allowed: Vec::new(),
            any: false,
            loopback_only: false,
            setting: "allowed_origin",
        }
    }
}

impl Origins {
    pub(crate) fn allow(&mut self, origin: String) {
        if origin == "*" {
            self.any = true;
        } else {
            self.allowed.push(origin.trim_end_matches('/').to_ascii_lowercase());
        }
    }

    /// The request's origin if it has one and that may come; an error with the reason when it may not.
    pub(crate) fn check<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a str>, String> {
        for name in [header::HOST, header::ORIGIN] {
            // A proxy in front may have looked at another one.
            if headers.get_all(&name).iter().nth(1).is_some() {
                return Err(format!("the header {name} is there more than once"));
            }
        }
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        if self.loopback_only && !is_loopback(host) {
            return Err(format!(
                "the host {host:?} is not this machine's, and the server is in development mode"
            ));
        }
        let Some(origin) = headers.get(header::ORIGIN) else {
            return Ok(None);
        };
        let origin = origin
            .to_str()
            .map_err(|_| "the Origin header is not text".to_owned())?;
        let bare = origin.split_once("://").map_or(origin, |(_, host)| host);
        let allowed = self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin));
        let is_ours = if self.loopback_only {
            is_loopback(bare)
        } else {
            self.any || bare.eq_ignore_ascii_case(host)
        };
        if allowed || is_ours {
            return Ok(Some(origin));
        }
        Err(format!(
            "the origin {origin:?} is not allowed; add it to `{}`",
            self.setting
        ))
    }
}

/// Whether a host, with or without a port, is this machine.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(name, _)| name),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// The headers that let a page read the answer.
pub(crate) fn add_headers(origin: &str, headers: &mut HeaderMap) {
    if let Ok(origin) = HeaderValue::from_str(origin) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
    }
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}

/// Whether it is a preflight (Fetch standard, CORS-preflight request).
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The further headers that a preflight is answered with.
pub(crate) fn add_preflight_headers(request: &HeaderMap, headers: &mut HeaderMap) {
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET,HEAD,POST"),
    );
    if let Some(asked) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        headers.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(origins: &Origins, host: &'static str, origin: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
        headers.extend(origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin))));
        origins.check(&headers).is_ok()
    }

    #[test]
    fn the_own_host_and_allowed_origins_come_in() {
        let mut origins = Origins::default();
        origins.allow("https://App.example/".to_owned());
        assert!(check(&origins, "api.example", None));
        assert!(check(&origins, "api.example", Some("https://app.example")));
        assert!(check(&origins, "api.example:8080", Some("http://api.example:8080")));
        for foreign in [
            "https://evil.example",
            "http://app.example",
            "https://app.example.evil",
            "null",
            "http://api.example",
        ] {
            assert!(!check(&origins, "api.example:8080", Some(foreign)), "{foreign}");
        }
        let refusal = origins
            .check(&HeaderMap::from_iter([(
                header::ORIGIN,
                HeaderValue::from_static("https://evil.example"),
            )]))
            .unwrap_err();
        assert!(
            refusal.contains("https://evil.example") && refusal.contains("allowed_origin"),
            "{refusal}"
        );
    }

    #[test]
    fn a_second_host_or_origin_is_refused() {
        let mut origins = Origins::default();
        origins.allow("*".to_owned());
        for twice in [header::HOST, header::ORIGIN] {
            let mut headers = HeaderMap::new();
            for name in [header::HOST, header::ORIGIN] {
                headers.insert(name, HeaderValue::from_static("http://a.example"));
            }
            assert!(origins.check(&headers).is_ok());
            headers.append(&twice, HeaderValue::from_static("http://a.example"));
            assert!(origins.check(&headers).unwrap_err().contains(twice.as_str()));
        }
    }

    #[test]
    fn in_development_only_this_machine_comes_in() {
        let origins = Origins {
            loopback_only: true,
            ..Origins::default()
        };
        assert!(check(&origins, "localhost:8080", Some("http://127.0.0.1:3000")));
        assert!(check(&origins, "[::1]:8080", None));
        assert!(!check(&origins, "rebound.example:8080", None));
        assert!(!check(&origins, "localhost:8080", Some("http://localhost.evil")));
        assert!(!check(&origins, "localhost", Some("http://rebound.example")));
    }
}

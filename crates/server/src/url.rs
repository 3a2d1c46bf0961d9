//! URLs of others that this server asks: sets of keys, the back end's hooks.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use http::Uri;

/// A URL that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    uri: Uri,
    /// Certificates that vouch for the server, beside the public ones.
    pub(crate) ca: Option<PathBuf>,
}

/// Why a text is no such URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is a URL of http or https, as in \"https://back-end.example/path\", without a user or a password in it")]
pub(crate) struct UrlError;

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let uri: Uri = text.parse().map_err(|_| UrlError)?;
        let authority = uri.authority().ok_or(UrlError)?;
        match uri.scheme_str() {
            Some("http" | "https") if !authority.as_str().contains('@') => Ok(Self { uri, ca: None }),
            _ => Err(UrlError),
        }
    }
}

impl fmt::Display for Url {
    /// Without the query, which may hold a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        write!(f, "{scheme}://{}{}", self.authority(), self.uri.path())
    }
}

impl Url {
    /// All of it, as it was given.
    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Host and port, as they were given.
    pub(crate) fn authority(&self) -> &str {
        self.uri
            .authority()
            .map(http::uri::Authority::as_str)
            .unwrap_or_default()
    }

    /// Whether it is asked over TLS.
    pub(crate) fn is_https(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// Whether what comes from there can't be changed on its way.
    pub(crate) fn is_secure(&self) -> bool {
        self.is_https() || crate::config::is_loopback_host(self.authority())
    }
}

/// Where a connection for a URI goes: the host without brackets, and the port.
pub(crate) fn host_and_port(uri: &Uri) -> (&str, u16) {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    (host, uri.port_u16().unwrap_or(usual))
}

//! A document at a URL, fetched over a connection of its own.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::connect::Connector;

/// How long it may take in all.
const PATIENCE: Duration = Duration::from_secs(5);

/// A URL that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    uri: Uri,
    /// Certificates that vouch for the server, beside the public ones.
    pub(crate) ca: Option<PathBuf>,
}

/// Why a text is no such URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is a URL, as in \"https://accounts.example/.well-known/jwks.json\"")]
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
    pub(super) fn whole(&self) -> String {
        self.uri.to_string()
    }

    fn authority(&self) -> &str {
        self.uri
            .authority()
            .map(http::uri::Authority::as_str)
            .unwrap_or_default()
    }

    /// Whether what comes from there can't be changed on its way.
    pub(crate) fn is_secure(&self) -> bool {
        self.uri.scheme_str() == Some("https") || crate::config::is_loopback_host(self.authority())
    }

    /// What is there now, of so many bytes at the most.
    pub(super) async fn get(&self, bytes_max: usize) -> Result<Vec<u8>, String> {
        let getting = tokio::time::timeout(PATIENCE, self.try_get(bytes_max)).await;
        getting.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
    }

    async fn try_get(&self, bytes_max: usize) -> Result<Vec<u8>, String> {
        let secure = self.uri.scheme_str() == Some("https");
        let host = self.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let connector = Connector::new(secure, self.ca.as_deref())?;
        let stream = connector.connect(host, port).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        // It ends with the sender and the body.
        tokio::spawn(connection);
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path)
            .header(header::HOST, self.authority())
            .header(header::ACCEPT, "application/json, application/jwk-set+json")
            .header(header::USER_AGENT, concat!("tidings/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        if answer.status() != StatusCode::OK {
            return Err(format!("the answer is {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), bytes_max).collect().await;
        let body = body.map_err(|error| error.to_string())?;
        Ok(body.to_bytes().to_vec())
    }
}

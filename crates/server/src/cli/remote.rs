//! A server at a URL, for the commands that talk to one.

mod refusal;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as WebSocketError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

pub(super) use refusal::Refusal;

use super::{Exit, Failure};
use crate::connect::{Connector, Stream};

/// How long a server may take to answer a request that it does not have to wait for.
const ANSWER: Duration = Duration::from_secs(30);

/// The longest answer that is read: pages of events have about 1 MB.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Where the server is.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The server
    #[arg(
        long,
        value_name = "URL",
        env = "TIDINGS_URL",
        default_value = "http://127.0.0.1:8080"
    )]
    url: Base,
    /// Certificates (PEM) that vouch for the server, beside the public ones
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// The URL that all paths are under.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Base {
    /// Over TLS.
    secure: bool,
    host: String,
    port: u16,
    /// Host and port as they were given.
    authority: String,
    /// Without a `/` at the end.
    path: String,
}

/// A server that can be asked.
pub(super) struct Remote {
    base: Base,
    connector: Connector,
    /// What it is shown.
    authorization: Option<HeaderValue>,
}

/// Why there was no answer, or not the one that was wanted.
#[derive(Debug)]
pub(super) enum Trouble {
    /// There is no connection to be had.
    Unreachable(String),
    /// It was connected, and is no more.
    Lost(String),
    /// The server said no.
    Refused(Refusal),
}

impl Trouble {
    fn lost(error: impl std::error::Error) -> Self {
        Trouble::Lost(with_causes(&error))
    }
}

/// An error and what is behind it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text += ": ";
            text += &part;
        }
        cause = error.source();
    }
    text
}

impl FromStr for Base {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let meant = || "write it as in http://127.0.0.1:8080 or https://tidings.example".to_owned();
        let uri: Uri = text.parse().map_err(|_| meant())?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(meant()),
        };
        let authority = uri.authority().ok_or_else(meant)?;
        if authority.as_str().contains('@') {
            return Err("it names a user; tokens and keys have flags of their own".to_owned());
        }
        if uri.query().is_some() {
            return Err(meant());
        }
        Ok(Self {
            secure,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.to_string(),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl std::fmt::Display for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

impl Remote {
    /// `bearer` is a token or a key.
    ///
    /// # Errors
    /// When the certificates can't be read, or `bearer` can't be in a header.
    pub(super) fn new(server: &Server, bearer: Option<&str>) -> Result<Self, Failure> {
        let usage = |message: String| Failure {
            exit: Exit::Usage,
            message,
        };
        let authorization = bearer.map(|bearer| HeaderValue::try_from(format!("Bearer {}", bearer.trim())));
        let authorization = authorization.transpose();
        let mut authorization =
            authorization.map_err(|_| usage("the token or key has characters that can't be in a header".to_owned()))?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        Ok(Self {
            base: server.url.clone(),
            connector: Connector::new(server.url.secure, server.ca.as_deref())
                .map_err(|problem| usage(format!("--ca {problem}")))?,
            authorization,
        })
    }

    /// The URL, to name the server by.
    pub(super) fn url(&self) -> String {
        self.base.to_string()
    }

    async fn connect(&self) -> Result<Stream, Trouble> {
        let stream = self.connector.connect(&self.base.host, self.base.port).await;
        stream.map_err(|error| Trouble::Unreachable(with_causes(&error)))
    }

    /// A new connection for requests.
    ///
    /// # Errors
    /// When there is none to be had.
    pub(super) async fn http(&self) -> Result<SendRequest<Full<Bytes>>, Trouble> {
        let stream = TokioIo::new(self.connect().await?);
        let (sender, connection) = http1::handshake(stream).await.map_err(Trouble::lost)?;
        // It ends with the sender and with the body that is being read.
        tokio::spawn(connection);
        Ok(sender)
    }

    /// A request for a path under the URL, which begins with `/`.
    pub(super) fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base.path))
            .header(header::HOST, &self.base.authority)
            .header(header::USER_AGENT, concat!("tidings/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request
    }

    /// A new WebSocket.
    ///
    /// # Errors
    /// When there is none to be had, or the server says no.
    pub(super) async fn websocket(&self, path: &str) -> Result<WebSocketStream<Stream>, Trouble> {
        let scheme = if self.base.secure { "wss" } else { "ws" };
        let url = format!("{scheme}://{}{}{path}", self.base.authority, self.base.path);
        let mut request = url.into_client_request().map_err(Trouble::lost)?;
        if let Some(authorization) = &self.authorization {
            request
                .headers_mut()
                .insert(header::AUTHORIZATION, authorization.clone());
        }
        let stream = self.connect().await?;
        let handshake = tokio_tungstenite::client_async(request, stream);
        match tokio::time::timeout(ANSWER, handshake).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(WebSocketError::Http(answer))) => {
                let body = answer.body().as_deref().unwrap_or_default();
                Err(Trouble::Refused(Refusal::of_answer(answer.status(), body)))
            }
            Ok(Err(error)) => Err(Trouble::lost(error)),
            Err(_) => Err(no_answer(ANSWER)),
        }
    }
}

/// Sends a request, and waits for the head of the answer, for `wait` and a while longer.
///
/// # Errors
/// When none comes.
pub(super) async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    wait: Duration,
) -> Result<Response<Incoming>, Trouble> {
    let time = wait + ANSWER;
    match tokio::time::timeout(time, sender.send_request(request)).await {
        Ok(answer) => answer.map_err(Trouble::lost),
        Err(_) => Err(no_answer(time)),
    }
}

fn no_answer(time: Duration) -> Trouble {
    Trouble::Lost(format!("no answer came for {} s", time.as_secs()))
}

/// The body of an answer.
///
/// # Errors
/// When it is a refusal, or does not come to its end.
pub(super) async fn body(answer: Response<Incoming>) -> Result<Bytes, Trouble> {
    let status = answer.status();
    let collected = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect();
    let body = match tokio::time::timeout(ANSWER, collected).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => return Err(Trouble::Lost(with_causes(&*error))),
        Err(_) => return Err(no_answer(ANSWER)),
    };
    if status.is_success() {
        Ok(body)
    } else {
        Err(Trouble::Refused(Refusal::of_answer(status, &body)))
    }
}

/// What a command says, and how it ends, where there is no server.
pub(super) fn unreachable(remote: &Remote, problem: &str) -> Failure {
    Failure {
        exit: Exit::Unreachable,
        message: format!(
            "{} can't be reached: {problem}; is a server running there? --url or TIDINGS_URL says where it is",
            remote.url()
        ),
    }
}

/// Text from elsewhere for a terminal: what could steer it is shown instead of obeyed.
pub(super) fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() {
            harmless.extend(char.escape_unicode());
        } else {
            harmless.push(char);
        }
    }
    harmless
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_how() {
        for (text, secure, host, port, path) in [
            ("http://127.0.0.1:8080", false, "127.0.0.1", 8080, ""),
            ("http://localhost/", false, "localhost", 80, ""),
            ("https://tidings.example", true, "tidings.example", 443, ""),
            ("https://a.example/live/", true, "a.example", 443, "/live"),
            ("http://[::1]:81", false, "::1", 81, ""),
        ] {
            let base: Base = text.parse().unwrap();
            assert_eq!(
                (base.secure, &*base.host, base.port, &*base.path),
                (secure, host, port, path),
                "{text}"
            );
            assert_eq!(base.to_string(), text.trim_end_matches('/'));
        }
        for text in [
            "",
            "127.0.0.1:8080",
            "localhost",
            "ftp://a",
            "ws://a",
            "http://",
            "http://a/?b",
            "http://u:p@a",
        ] {
            assert!(text.parse::<Base>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_steers_a_terminal_is_shown() {
        assert_eq!(harmless("größe \u{1b}[2J\u{9b}1m\n"), "größe \\u{1b}[2J\\u{9b}1m\\u{a}");
    }
}

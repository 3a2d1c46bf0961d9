//! One POST to the back end, over connections that are kept.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tower_service::Service;

use crate::connect::{Connector, Stream};
use crate::url::{Url, host_and_port};

/// How long a connection is kept without use: less than the five seconds after which Node ends it, perhaps just when it would
/// have been used.
const IDLE: Duration = Duration::from_secs(4);

/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The back end's address, and the connections to it.
pub(super) struct BackEnd {
    url: Url,
    client: Client<Dial, Full<Bytes>>,
}

/// What the back end said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why it said nothing.
#[derive(Debug)]
pub(super) struct Silence {
    /// What happened, for the log.
    pub(super) problem: String,
    /// The connection broke before anything of an answer came.
    pub(super) is_broken: bool,
}

impl BackEnd {
    /// A back end to which at most `connections` are kept.
    ///
    /// # Errors
    /// When the file of its certificates can't be read.
    pub(super) fn new(url: &Url, connections: usize) -> Result<Self, String> {
        let connector = Connector::new(url.is_https(), url.ca.as_deref())?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(connections)
            .build(Dial(Arc::new(connector)));
        Ok(Self {
            url: url.clone(),
            client,
        })
    }

    /// Sends a body of JSON with these headers. Where it is sent on to is not followed: the signature was for this place.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub(super) async fn post(&self, body: Bytes, headers: [(&str, &str); 3]) -> Result<Answer, Silence> {
        let mut request = Request::post(self.url.uri().clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("tidings/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).map_err(|error| whole(&error))?;
        let answer = self.client.request(request).await.map_err(|error| Silence {
            problem: explained(&error),
            is_broken: broke(&error),
        })?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| match error.is::<http_body_util::LengthLimitError>() {
            true => whole_text(format!("the answer has more than {ANSWER_BYTES_MAX} bytes")),
            false => whole_text(format!("the answer broke off: {}", explained(&*error))),
        })?;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }
}

fn whole(error: &dyn Error) -> Silence {
    whole_text(explained(error))
}

fn whole_text(problem: String) -> Silence {
    Silence {
        problem,
        is_broken: false,
    }
}

/// Whether a connection that was there broke before its answer began.
fn broke(error: &ClientError) -> bool {
    let cause = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
    !error.is_connect() && cause.is_some_and(|cause| !cause.is_parse() && !cause.is_user())
}

/// An error with all that lies behind it.
fn explained(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Makes the connections.
#[derive(Clone)]
struct Dial(Arc<Connector>);

impl Service<Uri> for Dial {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = Arc::clone(&self.0);
        Box::pin(async move {
            let (host, port) = host_and_port(&uri);
            connector.connect(host, port).await.map(TokioIo::new)
        })
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

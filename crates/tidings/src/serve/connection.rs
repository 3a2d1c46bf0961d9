//! One connection, from its first byte to its end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::body::{AnswerBody, RequestBody};
use super::flow::{Connection, Count, Counted, Failure, Flow, Watched};
use super::stream::{Protocol, Stream, Tcp};

/// Streams that a client may have open at once.
const STREAMS_MAX: u32 = 128;

/// Streams that a client has opened and taken back before they were looked at: past it, it is sent away
/// (CVE-2023-44487).
const RESET_STREAMS_MAX: usize = 32;

/// Streams that ended by a client's mistake: past it, it is sent away (RUSTSEC-2024-0003).
const WRONG_STREAMS_MAX: usize = 256;

/// What a client may send of one body, and of all, before the application reads it.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 256 << 10;

/// How often a client of HTTP/2 is asked whether it is still there, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(25);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// In a request's extensions: it came over TLS that ended here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Secure;

/// What all connections of a server have in common.
pub(super) struct Settings {
    pub(super) app: Router,
    pub(super) head_bytes: usize,
    pub(super) head_timeout: Duration,
    pub(super) stall_timeout: Duration,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<super::Tls>,
}

/// Why there is no connection to speak HTTP on.
#[derive(Debug, thiserror::Error)]
enum NotOpened {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("nothing came in time")]
    Late,
    #[error("the client speaks TLS, and there is none here")]
    Tls,
    #[cfg(feature = "tls")]
    #[error("the client does not speak TLS; the address is https://")]
    NoTls,
    #[cfg(feature = "tls")]
    #[error("no TLS came about: {0}")]
    Handshake(io::Error),
}

/// Serves a connection until it ends, or until `stopped` and what was under way then has ended.
pub(super) async fn run(
    stream: TcpStream,
    address: SocketAddr,
    settings: Arc<Settings>,
    mut stopped: watch::Receiver<()>,
) {
    let flow = Flow::new();
    let opened = tokio::select! {
        opened = Box::pin(open(stream, &flow, &settings)) => opened,
        _ = stopped.changed() => return, // nothing has been asked
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => {
            tracing::debug!(%error, %address, "a connection ended before a request");
            return;
        }
    };
    let ended = match opened.protocol {
        Protocol::Http2 => {
            let service = service(address, &flow, &settings, &opened);
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_header_list_size(u32::try_from(settings.head_bytes).unwrap_or(u32::MAX))
                .max_concurrent_streams(STREAMS_MAX)
                .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
                .max_local_error_reset_streams(WRONG_STREAMS_MAX)
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT)
                .serve_connection(TokioIo::new(opened.stream), service_fn(service));
            drive(connection, flow, &settings, &mut stopped).await
        }
        _ => {
            let service = service(address, &flow, &settings, &opened);
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(settings.head_timeout)
                .max_buf_size(settings.head_bytes)
                .serve_connection(TokioIo::new(opened.stream), service_fn(service))
                .with_upgrades();
            drive(connection, flow, &settings, &mut stopped).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %address, "an HTTP connection ended");
    }
}

async fn drive<C: Connection>(
    connection: C,
    flow: Arc<Flow>,
    settings: &Settings,
    stopped: &mut watch::Receiver<()>,
) -> Result<(), Failure> {
    let mut connection = Watched::new(connection, flow, settings.stall_timeout);
    tokio::select! {
        ended = &mut connection => return ended,
        _ = stopped.changed() => connection.stop(),
    }
    connection.await
}

struct Opened {
    stream: Stream,
    protocol: Protocol,
    is_secure: bool,
}

/// Up to where it is known what the client speaks.
async fn open(stream: TcpStream, flow: &Arc<Flow>, settings: &Settings) -> Result<Opened, NotOpened> {
    let opening = async {
        let tcp = Tcp::new(stream, flow);
        let (mut stream, is_secure) = secure(tcp, settings).await?;
        match stream.protocol().await? {
            Protocol::Tls => Err(NotOpened::Tls),
            protocol => Ok(Opened {
                stream,
                protocol,
                is_secure,
            }),
        }
    };
    tokio::time::timeout(settings.head_timeout, opening)
        .await
        .map_err(|_| NotOpened::Late)?
}

#[cfg(not(feature = "tls"))]
async fn secure(tcp: Tcp, _: &Settings) -> Result<(Stream, bool), NotOpened> {
    Ok((Stream::tcp(tcp), false))
}

/// TLS, where the server has it.
#[cfg(feature = "tls")]
async fn secure(mut tcp: Tcp, settings: &Settings) -> Result<(Stream, bool), NotOpened> {
    use super::stream::TLS_RECORD;

    let Some(tls) = &settings.tls else {
        return Ok((Stream::tcp(tcp), false));
    };
    let mut first = [0];
    match tcp.bare().peek(&mut first).await? {
        0 => return Err(NotOpened::Io(io::ErrorKind::UnexpectedEof.into())),
        _ if first == [TLS_RECORD] => {}
        _ => {
            say_https(tcp.bare(), settings.head_bytes).await;
            return Err(NotOpened::NoTls);
        }
    }
    let stream = tls.accept(tcp).await.map_err(NotOpened::Handshake)?;
    Ok((Stream::boxed(stream), true))
}

/// Tells who asks for `http://` here what to ask for.
#[cfg(feature = "tls")]
async fn say_https(stream: &mut TcpStream, head_bytes: usize) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const TEXT: &str = "this address speaks TLS: write https:// before it\n";
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{TEXT}",
        TEXT.len()
    );
    if stream.write_all(answer.as_bytes()).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    // A socket that is closed with bytes unread takes back what it has sent.
    let mut rest = stream.take(u64::try_from(head_bytes).unwrap_or(u64::MAX));
    let mut bytes = [0; 512];
    while rest.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, std::convert::Infallible>> + Send>>;

/// What answers the requests of a connection.
fn service(
    address: SocketAddr,
    flow: &Arc<Flow>,
    settings: &Settings,
    opened: &Opened,
) -> impl Fn(Request<Incoming>) -> Answer + use<> {
    let app = settings.app.clone();
    let stall_timeout = settings.stall_timeout;
    let is_secure = opened.is_secure;
    let flow = Arc::clone(flow);
    let answers = (opened.protocol == Protocol::Http2).then(|| Arc::clone(&flow));
    move |incoming| {
        let under_way = Counted::new(&flow, Count::Request);
        let mut request = incoming.map(|body| Body::new(RequestBody::new(body, &flow, stall_timeout)));
        name_host(&mut request);
        request.extensions_mut().insert(ConnectInfo(address));
        if is_secure {
            request.extensions_mut().insert(Secure);
        }
        let answer = app.clone().oneshot(request);
        let answers = answers.clone();
        Box::pin(async move {
            let answer = answer.await;
            drop(under_way);
            answer.map(|answer| answer.map(|body| AnswerBody::new(body, answers)))
        })
    }
}

/// A target with a host in it, as in HTTP/2, overrides the `Host` header (RFC 9112, section 3.2.2; RFC 9113, section
/// 8.3.1), by which origins are checked.
fn name_host(request: &mut Request<Body>) {
    if let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(header::HOST, host);
    }
}

type Io = TokioIo<Stream>;

impl<S> Connection for http1::UpgradeableConnection<Io, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = AnswerBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn begin_end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S, E> Connection for http2::Connection<Io, S, E>
where
    S: hyper::service::HttpService<Incoming, ResBody = AnswerBody>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, AnswerBody>,
{
    fn begin_end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

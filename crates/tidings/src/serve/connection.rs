//! One connection, from its first byte to its end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
#[cfg(feature = "tls")]
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tower::ServiceExt as _;

use super::body::{AnswerBody, RequestBody};
use super::doors::Place;
use super::flow::{Connection, Count, Counted, Failure, Flow, Watched};
use super::listener::Accepted;
use super::stream::{Protocol, Socket, Stream};
use super::takeover::{Slot, Taken, UnderHyper};
use crate::transport::link::NewLink;

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

/// In a request's extensions: it came over a Unix socket, from a proxy on this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Local;

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

/// Serves a connection until it ends, or until `stopped` and what was under way then has ended. `alive` is held for as long.
///
/// Each part is in a box of its own, so that one that waits for long has no room for the others beside it.
pub(super) fn run(
    accepted: Accepted,
    place: Place,
    settings: Arc<Settings>,
    mut stopped: watch::Receiver<()>,
    alive: mpsc::Sender<()>,
) -> impl Future<Output = ()> + Send {
    let come = Box::pin(come(accepted, place, settings, stopped.clone()));
    async move {
        let Some((client, stream, protocol)) = come.await else {
            return;
        };
        let ended = match protocol {
            Protocol::Http2 => Box::pin(serve_http2(stream, &client, &mut stopped)).await,
            _ => Box::pin(serve_http1(stream, &client, &stopped)).await,
        };
        // What came of it may know the flow for longer.
        client.flow.give_up_place();
        if let Err(error) = ended {
            tracing::debug!(%error, address = ?client.address, "an HTTP connection ended");
        }
        drop(alive);
    }
}

/// Up to where it is known who is there, and what they speak.
async fn come(
    accepted: Accepted,
    place: Place,
    settings: Arc<Settings>,
    mut stopped: watch::Receiver<()>,
) -> Option<(Client, Stream, Protocol)> {
    let flow = Flow::new(place);
    let address = accepted.address();
    let opened = tokio::select! {
        opened = open(accepted, &flow, &settings) => opened,
        _ = stopped.changed() => return None, // nothing has been asked
    };
    match opened {
        Ok(opened) => {
            let client = Client {
                address,
                is_secure: opened.is_secure,
                flow,
                settings,
            };
            Some((client, opened.stream, opened.protocol))
        }
        Err(error) => {
            tracing::debug!(%error, ?address, "a connection ended before a request");
            None
        }
    }
}

/// Who is at the other end, and what is known of it.
struct Client {
    /// None on a Unix socket.
    address: Option<SocketAddr>,
    is_secure: bool,
    flow: Arc<Flow>,
    settings: Arc<Settings>,
}

async fn serve_http2(stream: Stream, client: &Client, stopped: &mut watch::Receiver<()>) -> Result<(), Failure> {
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(client.settings.head_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .max_local_error_reset_streams(WRONG_STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service_fn(client.service(true)));
    let mut connection = client.watch(connection, Some(client.settings.head_timeout));
    drive(&mut connection, stopped, || None::<()>).await.map(drop)
}

/// Under hyper, and without it where there is nothing to do but to wait.
fn serve_http1(
    stream: Stream,
    client: &Client,
    stopped: &watch::Receiver<()>,
) -> impl Future<Output = Result<(), Failure>> + Send {
    // In a box, so that what hyper needs is gone when it is not there.
    let mut hyper = Box::pin(under_hyper(stream, client, stopped.clone(), None));
    async move {
        loop {
            let (mut stream, answer, since, stand_in) = match hyper.await? {
                Some((
                    Taken::Wait {
                        answer,
                        since,
                        stand_in,
                    },
                    stream,
                )) => (stream, answer, since, stand_in),
                Some((Taken::Stream { begin, head, body }, stream)) => {
                    if let Some(link) = stream.into_link(Bytes::new()) {
                        begin(NewLink { head, ..link });
                    }
                    drop(body);
                    return Ok(());
                }
                None => return Ok(()),
            };
            let Some(response) = wait(&mut stream, answer).await else {
                return Ok(());
            };
            stream.unread(stand_in);
            let answered = Answered {
                response,
                waited: since.elapsed(),
            };
            hyper = Box::pin(under_hyper(stream, client, stopped.clone(), Some(answered)));
        }
    }
}

/// What a request was answered while it was not with hyper.
struct Answered {
    response: Box<Response<AnswerBody>>,
    waited: Duration,
}

/// Until the connection ends, or is to go on without hyper. The first request may be answered already.
async fn under_hyper(
    stream: Stream,
    client: &Client,
    mut stopped: watch::Receiver<()>,
    answered: Option<Answered>,
) -> Result<Option<(Taken, Stream)>, Failure> {
    let slot = Slot::new(answered.as_ref().map(|answered| answered.waited));
    let service = client.http1_service(&slot, answered.map(|answered| answered.response));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(client.settings.head_timeout)
        .max_buf_size(client.settings.head_bytes)
        .serve_connection(TokioIo::new(stream), service_fn(service))
        .with_upgrades();
    // How long nothing may be asked is hyper's to see.
    let mut connection = client.watch(connection, None);
    let taken = drive(&mut connection, &mut stopped, || slot.take()).await?;
    Ok(taken.and_then(|taken| Some((taken, take_back(connection.into_inner().into_parts()?)))))
}

/// The stream as it was, without anything of hyper's.
fn take_back<S>(parts: http1::Parts<TokioIo<Stream>, S>) -> Stream {
    let mut stream = parts.io.into_inner();
    stream.unread(&parts.read_buf);
    stream
}

/// An answer that takes long; none if the client does not wait for it.
async fn wait(stream: &mut Stream, mut answer: Answer) -> Option<Box<Response<AnswerBody>>> {
    poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(Ok(response)) => Poll::Ready(Some(Box::new(response))),
        Poll::Pending => stream.poll_end(cx).map(|()| None),
    })
    .await
}

/// Until the connection ends, or something else is to be done with it.
async fn drive<C: Connection, T>(
    connection: &mut Watched<C>,
    stopped: &mut watch::Receiver<()>,
    mut taken: impl FnMut() -> Option<T>,
) -> Result<Option<T>, Failure> {
    let mut ended = async |connection: &mut Watched<C>| {
        poll_fn(|cx| {
            let ended = Pin::new(&mut *connection).poll(cx);
            match taken() {
                Some(taken) => Poll::Ready(Ok(Some(taken))),
                None => ended.map_ok(|()| None),
            }
        })
        .await
    };
    tokio::select! {
        biased; // an answer that has come is written first
        ended = ended(connection) => return ended,
        _ = stopped.changed() => {}
    }
    connection.stop();
    ended(connection).await
}

/// A connection that is about to speak HTTP.
struct Opened {
    stream: Stream,
    protocol: Protocol,
    is_secure: bool,
}

/// Up to where it is known what the client speaks.
async fn open(accepted: Accepted, flow: &Arc<Flow>, settings: &Settings) -> Result<Opened, NotOpened> {
    let opening = async {
        let (mut stream, is_secure) = match accepted {
            Accepted::Tcp(stream, _) => secure(Socket::new(stream, flow), settings).await?,
            #[cfg(unix)]
            Accepted::Unix(stream) => (Stream::boxed(Socket::new(stream, flow)), false),
        };
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
async fn secure(tcp: Socket, _: &Settings) -> Result<(Stream, bool), NotOpened> {
    Ok((Stream::tcp(tcp), false))
}

/// TLS, where the server has it.
#[cfg(feature = "tls")]
async fn secure(mut tcp: Socket, settings: &Settings) -> Result<(Stream, bool), NotOpened> {
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

pub(super) type Outcome = Result<Response<AnswerBody>, Infallible>;
pub(super) type Answer = Pin<Box<dyn Future<Output = Outcome> + Send>>;

impl Client {
    fn watch<C: Connection>(&self, connection: C, idle: Option<Duration>) -> Watched<C> {
        Watched::new(connection, Arc::clone(&self.flow), self.settings.stall_timeout, idle)
    }

    /// What answers the requests of a connection; `is_multiplexed` where many can be under way.
    fn service(&self, is_multiplexed: bool) -> impl Fn(Request<Incoming>) -> Answer + use<> {
        let app = self.settings.app.clone();
        let stall_timeout = self.settings.stall_timeout;
        let (address, is_secure) = (self.address, self.is_secure);
        let flow = Arc::clone(&self.flow);
        move |incoming| {
            let exchange = Counted::new(&flow, Count::Exchange);
            let under_way = Counted::new(&flow, Count::Request);
            let mut request = incoming.map(|body| Body::new(RequestBody::new(body, &flow, stall_timeout)));
            name_host(&mut request);
            if let Some(address) = address {
                request.extensions_mut().insert(ConnectInfo(address));
            } else {
                request.extensions_mut().insert(Local);
            }
            if is_secure {
                request.extensions_mut().insert(Secure);
            }
            let answer = app.clone().oneshot(request);
            Box::pin(async move {
                let answer = answer.await;
                drop(under_way);
                answer.map(|answer| answer.map(|body| AnswerBody::new(body, Some(exchange), is_multiplexed)))
            })
        }
    }

    /// The same, whose answers may be taken from hyper. The first request is already `answered`.
    fn http1_service(
        &self,
        slot: &Arc<Slot>,
        answered: Option<Box<Response<AnswerBody>>>,
    ) -> impl Fn(Request<Incoming>) -> UnderHyper + use<> {
        let service = self.service(false);
        let (slot, flow) = (Arc::clone(slot), Arc::clone(&self.flow));
        let answered = Mutex::new(answered);
        move |request| match answered.lock().take() {
            Some(response) => UnderHyper::answered(*response, &flow),
            None => UnderHyper::new(request, &slot, &flow, &service),
        }
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

//! The HTTP side of Engine.IO: handshakes, polls, posts, upgrades, and the served client, as an axum router.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::routing::any;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use http_body_util::Limited;
use tokio::sync::oneshot;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

use super::engineio::Refusal;
use super::engineio::polling::{PollReply, PostReply};
use super::{query, websocket};
use crate::client_files;
use crate::error::{Code, Error};
use crate::handshake::Opening;
use crate::hub::{Hub, Permit};
use crate::origin;
use crate::random::RandomId;
use crate::serve::{Local, Secure, Waiting};
use crate::server::Server;
use crate::shard::command::Command;

/// A new session's request, for [`Builder::allow_request`](crate::Builder::allow_request).
#[derive(Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The request's target.
    pub uri: &'a http::Uri,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The client's address, where the server knows it.
    pub address: Option<IpAddr>,
}

impl Request<'_> {
    /// The first query parameter of that name, percent-decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        query::find(self.uri.query().unwrap_or_default(), name).map(Cow::into_owned)
    }
}

/// What [`Builder::allow_request`](crate::Builder::allow_request) decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestDecision {
    /// It may go on.
    Allow,
    /// 403 with this message.
    Refuse(String),
}

pub(crate) type AllowRequest = Arc<dyn Fn(&Request<'_>) -> RequestDecision + Send + Sync>;

/// Bodies from here on are worth compressing, in bytes.
const COMPRESS_FROM_BYTES: u64 = 1024;

/// How long the body of a POST may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn router(server: &Arc<Server>) -> Router {
    let path = server.config.path.trim_end_matches('/');
    // A prefix match, as on the reference server: `/socket.io/anything?…` works, `/socket.io?…` does not.
    let router = Router::new()
        .route(&format!("{path}/"), any(handle))
        .route(&format!("{path}/{{*rest}}"), any(handle));
    let router = router.with_state(Arc::clone(server));
    if server.config.compression {
        router.layer(CompressionLayer::new().compress_when(SizeAbove::new(COMPRESS_FROM_BYTES)))
    } else {
        router
    }
}

async fn handle(State(server): State<Arc<Server>>, request: http::Request<Body>) -> Response<Body> {
    server.note_runtime();
    let method = request.method();
    let name = request
        .uri()
        .path()
        .strip_prefix(server.config.path.trim_end_matches('/'))
        .unwrap_or_default()
        .trim_start_matches('/');
    if server.config.serve_client
        && (method == Method::GET || method == Method::HEAD)
        && let Some(response) = client_files::respond(method, name, request.headers())
    {
        return response;
    }
    let is_upgrade = request.headers().contains_key(header::UPGRADE);
    let origin = match server.config.origins.check(request.headers()) {
        Ok(origin) => origin.map(str::to_owned),
        Err(reason) => {
            let refused = Error::coded(Code::OriginNotAllowed, reason.clone());
            server.hub.refusals.note(&refused, client_address(&server, &request));
            return refuse(&Refusal::Forbidden(reason), is_upgrade);
        }
    };
    let mut response = if let Some(origin) = &origin
        && origin::is_preflight(method, request.headers())
    {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        origin::add_preflight_headers(request.headers(), response.headers_mut());
        origin::add_headers(origin, response.headers_mut());
        return response;
    } else {
        dispatch(&server, request)
            .await
            .unwrap_or_else(|refusal| refuse(&refusal, is_upgrade))
    };
    if let Some(origin) = &origin {
        origin::add_headers(origin, response.headers_mut());
    }
    response
}

/// In the order in which the reference server checks: transport, session, method.
async fn dispatch(server: &Arc<Server>, request: http::Request<Body>) -> Result<Response<Body>, Refusal> {
    let query = request.uri().query().unwrap_or_default();
    let is_websocket = match query::find(query, "transport").as_deref() {
        Some("polling") if server.config.polling => false,
        Some("websocket") if server.config.websocket => true,
        _ => return Err(Refusal::TransportUnknown),
    };
    let is_version_4 = query::find(query, "EIO").as_deref() == Some("4");
    if let Some(sid) = query::find(query, "sid") {
        let sid = RandomId::parse(&sid).ok_or(Refusal::SessionUnknown)?;
        if is_websocket {
            check_upgrade(&server.hub, sid).await?;
        }
        return match (is_version_4, is_websocket, request.method().clone()) {
            (false, ..) => Err(Refusal::BadRequest("the session has another protocol version")),
            (_, true, _) => upgrade(server, request, Upgrade::Probe(sid)),
            (_, false, Method::GET) => {
                let waiting = Waiting::of(request.extensions());
                drop(request);
                poll(server, sid, &waiting).await
            }
            (_, false, Method::POST) => post(server, sid, request).await,
            (_, false, _) => Ok(method_not_allowed()),
        };
    }
    if request.method() != Method::GET {
        return Err(Refusal::BadHandshakeMethod);
    }
    if !is_version_4 {
        return Err(Refusal::ProtocolVersion);
    }
    let address = client_address(server, &request);
    if let Some(allow) = &server.config.allow_request {
        let asked = Request {
            uri: request.uri(),
            headers: request.headers(),
            address,
        };
        if let RequestDecision::Refuse(message) = allow(&asked) {
            return Err(Refusal::Forbidden(message));
        }
    }
    let permit = server.hub.admit(address).map_err(|error| {
        let status = if error.code() == Code::Draining.as_str() {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::TOO_MANY_REQUESTS
        };
        Refusal::Unavailable(status, format!("{}: {}", error.code(), error.message()))
    })?;
    let is_said = !server.config.forgets_handshakes() || !query::is_engines_own(query);
    let opening = Opening::new(
        request.headers(),
        if is_said { query } else { "" },
        address,
        is_secure(&request),
        &server.config.keep_headers,
    );
    if is_websocket {
        return upgrade(
            server,
            request,
            Upgrade::Open {
                opening: Arc::new(opening),
                permit,
            },
        );
    }
    open_polling(server, opening, permit).await
}

// Polling

async fn open_polling(server: &Server, opening: Opening, permit: Permit) -> Result<Response<Body>, Refusal> {
    let sid = RandomId::new();
    let (reply, handshake) = oneshot::channel();
    send(
        &server.hub,
        sid,
        Command::OpenPolling {
            sid,
            opening: Arc::new(opening),
            permit,
            reply,
        },
    );
    let handshake = handshake.await.map_err(|_| gone())?;
    let mut response = payload(handshake);
    add_cookie(server, sid, &mut response);
    Ok(response)
}

async fn poll(server: &Arc<Server>, sid: RandomId, waiting: &Waiting) -> Result<Response<Body>, Refusal> {
    static TICKETS: AtomicU64 = AtomicU64::new(0);
    let ticket = TICKETS.fetch_add(1, Ordering::Relaxed);
    let (reply, answer) = oneshot::channel();
    send(&server.hub, sid, Command::Poll { sid, ticket, reply });
    let abandoned = OnDrop::new(server, sid, Command::PollAborted { sid, ticket });
    waiting.note();
    let answer = answer.await;
    abandoned.disarm();
    match answer {
        Ok(PollReply::Payload(bytes)) => Ok(payload(bytes)),
        Ok(PollReply::Refused(refusal)) => Err(refusal),
        Err(_) => Err(Refusal::SessionUnknown),
    }
}

async fn post(server: &Arc<Server>, sid: RandomId, request: http::Request<Body>) -> Result<Response<Body>, Refusal> {
    if request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value == "application/octet-stream")
    {
        return Err(Refusal::BadRequest("version 4 has no binary payloads"));
    }
    let (reply, answer) = oneshot::channel();
    send(&server.hub, sid, Command::BeginPost { sid, reply });
    answer.await.map_err(|_| gone())??;
    let abandoned = OnDrop::new(server, sid, Command::EndPost { sid, aborted: true });
    let body = Limited::new(request.into_body(), server.hub.limits.message_bytes).collect();
    let body = match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            abandoned.disarm();
            send(&server.hub, sid, Command::EndPost { sid, aborted: false });
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
            return Ok(response);
        }
        Ok(Err(_)) | Err(_) => return Err(Refusal::BadRequest("the body did not come")),
    };
    abandoned.disarm();
    let (reply, answer) = oneshot::channel();
    send(&server.hub, sid, Command::Post { sid, body, reply });
    match answer.await {
        Ok(PostReply::Refused(refusal)) => Err(refusal),
        Ok(PostReply::Taken) | Err(_) => {
            let mut response = Response::new(Body::from("ok"));
            // Not `text/plain`, so that browsers do not take it for a download (engine.io).
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            no_store(&mut response);
            Ok(response)
        }
    }
}

fn payload(bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=UTF-8"),
    );
    no_store(&mut response);
    response
}

fn no_store(response: &mut Response<Body>) {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

fn add_cookie(server: &Server, sid: RandomId, response: &mut Response<Body>) {
    if let Some(name) = &server.config.cookie
        && let Ok(value) = HeaderValue::from_str(&format!("{name}={sid}; Path=/; HttpOnly; SameSite=Lax"))
    {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
}

// WebSocket

enum Upgrade {
    Open { opening: Arc<Opening>, permit: Permit },
    Probe(RandomId),
}

async fn check_upgrade(hub: &Hub, sid: RandomId) -> Result<(), Refusal> {
    let (reply, answer) = oneshot::channel();
    send(hub, sid, Command::CheckUpgrade { sid, reply });
    answer.await.map_err(|_| gone())?
}

/// Hands the socket to its shard, with the 101.
fn upgrade(
    server: &Arc<Server>,
    mut request: http::Request<Body>,
    upgrade: Upgrade,
) -> Result<Response<Body>, Refusal> {
    let sid = match &upgrade {
        Upgrade::Open { .. } => RandomId::new(),
        Upgrade::Probe(sid) => *sid,
    };
    let has_cookie = matches!(upgrade, Upgrade::Open { .. });
    let hub_of = Arc::clone(server);
    let mut response = websocket::accept(&mut request, move |link| {
        let link = Box::new(link);
        let command = match upgrade {
            Upgrade::Open { opening, permit } => Command::OpenWebSocket {
                sid,
                opening,
                permit,
                link,
            },
            Upgrade::Probe(sid) => Command::Probe { sid, link },
        };
        send(&hub_of.hub, sid, command);
    })
    .map_err(Refusal::BadRequest)?;
    if has_cookie {
        add_cookie(server, sid, &mut response);
    }
    Ok(response)
}

// Refusals

/// To an upgrade the message as text, to others the reference server's JSON.
fn refuse(refusal: &Refusal, is_upgrade: bool) -> Response<Body> {
    let (content_type, body) = if *refusal == Refusal::Overlap {
        ("text/html", String::new())
    } else if is_upgrade {
        ("text/html", refusal.message().to_owned())
    } else {
        (
            "application/json",
            serde_json::json!({ "code": refusal.code(), "message": refusal.message() }).to_string(),
        )
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = refusal.status();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    no_store(&mut response);
    if is_upgrade {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Refusal::BadRequest(detail) = refusal {
        tracing::debug!(detail, "a bad Engine.IO request");
    }
    response
}

fn method_not_allowed() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
    response
}

/// The shard is gone: the server has been closed.
fn gone() -> Refusal {
    Refusal::Unavailable(
        StatusCode::SERVICE_UNAVAILABLE,
        "the server is shutting down; come back".to_owned(),
    )
}

fn send(hub: &Hub, sid: RandomId, command: Command) {
    let shard = sid.shard(hub.shards.len());
    hub.send(u16::try_from(shard).unwrap_or_default(), command);
}

/// Sends a command if dropped: the client has closed the request.
struct OnDrop<'a> {
    server: &'a Server,
    sid: RandomId,
    command: Option<Command>,
}

impl<'a> OnDrop<'a> {
    fn new(server: &'a Server, sid: RandomId, command: Command) -> Self {
        Self {
            server,
            sid,
            command: Some(command),
        }
    }

    fn disarm(mut self) {
        self.command = None;
    }
}

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        if let Some(command) = self.command.take() {
            send(&self.server.hub, self.sid, command);
        }
    }
}

/// Whether the request came over TLS that ended here.
pub(crate) fn is_secure<B>(request: &http::Request<B>) -> bool {
    request.extensions().get::<Secure>().is_some()
}

// Addresses

/// The peer's address, or what trusted proxies say it is: the last address that is none of theirs. Who comes over a Unix socket is
/// such a proxy, without an address.
pub(crate) fn client_address<B>(server: &Server, request: &http::Request<B>) -> Option<IpAddr> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|peer| peer.0.ip().to_canonical());
    let trusted = &server.config.trusted_proxies;
    let is_proxy = match peer {
        Some(peer) => trusted.hold(peer),
        None => request.extensions().get::<Local>().is_some(),
    };
    if !is_proxy {
        return peer;
    }
    let forwarded = request
        .headers()
        .get_all("x-forwarded-for")
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = forwarded.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut address = peer;
    for hop in hops.iter().rev() {
        let Ok(hop) = hop.parse::<IpAddr>() else { break };
        let hop = hop.to_canonical();
        address = Some(hop);
        if !trusted.hold(hop) {
            break;
        }
    }
    address
}

//! The HTTP side of plain clients, as an axum router: `/ws`, `/sse` and `/poll`.

mod poll;
mod request;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse as _;
use axum::routing::get;
use http::{HeaderValue, Request, Response, StatusCode, header};
use tokio::sync::oneshot;

use super::Granted;
use super::pipe::{Pipe, StreamBody};
use super::requests;
use super::stream::{self, NewStream, TakenStream};
use crate::access::Visitor;
use crate::connections::ConnectionKind;
use crate::error::{Code, Error, Result};
use crate::handshake::{Handshake, Opening};
use crate::log::Since;
use crate::origin;
use crate::random::RandomId;
use crate::serve::Streams;
use crate::server::Server;
use crate::shard::command::Command;
use crate::shard::run::Task;
use crate::transport::link::NewLink;
use crate::transport::{http as engine, websocket};
use crate::wire::Wire;
use request::Query;

pub(crate) fn router(server: &Arc<Server>) -> Router {
    let routes = Router::new()
        .route("/ws", get(websocket))
        .route("/sse", get(events))
        .route("/poll", get(poll::poll))
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Arc::clone(server));
    guard(server, routes)
}

/// Lets only pages of allowed origins in, and gives every answer the CORS headers that go with that, a refusal too.
pub(crate) fn guard(server: &Arc<Server>, routes: Router) -> Router {
    routes.layer(from_fn_with_state(Arc::clone(server), check_origin))
}

async fn check_origin(State(server): State<Arc<Server>>, request: Request<Body>, next: Next) -> Response<Body> {
    server.note_runtime();
    let origin = match server.config.origins.check(request.headers()) {
        Ok(origin) => origin.map(str::to_owned),
        Err(reason) => {
            let error = Error::coded(Code::OriginNotAllowed, reason);
            let address = engine::client_address(&server, &request);
            server.hub.refusals.note(&error, address);
            return varied(error.into_response());
        }
    };
    let Some(origin) = origin else {
        return varied(next.run(request).await);
    };
    let mut response = if origin::is_preflight(request.method(), request.headers()) {
        let mut response = StatusCode::NO_CONTENT.into_response();
        origin::add_preflight_headers(request.headers(), response.headers_mut());
        response
    } else {
        next.run(request).await
    };
    origin::add_headers(&origin, response.headers_mut());
    let exposed = HeaderValue::from_static("ETag");
    response
        .headers_mut()
        .insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    response
}

/// What a cache has of it is not for a page of another origin.
fn varied(mut response: Response<Body>) -> Response<Body> {
    response
        .headers_mut()
        .append(header::VARY, HeaderValue::from_static("Origin"));
    response
}

async fn method_not_allowed() -> Error {
    Error::coded(Code::MethodNotAllowed, "this path knows GET only")
}

// Plain WebSockets

/// Who is refused is not kept: the connection was for a WebSocket.
async fn websocket(State(server): State<Arc<Server>>, request: Request<Body>) -> Response<Body> {
    let is_http1 = request.version() <= http::Version::HTTP_11;
    open_websocket(server, request).unwrap_or_else(|error| {
        let mut response = error.into_response();
        if is_http1 {
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    })
}

fn open_websocket(server: Arc<Server>, mut request: Request<Body>) -> Result<Response<Body>> {
    let address = engine::client_address(&server, &request);
    let permit = server.hub.admit(address)?;
    let opening = Arc::new(opening(&server, &request));
    websocket::accept(&mut request, move |link| {
        let sid = RandomId::new();
        let link = Box::new(link);
        let command = Command::OpenPlain {
            sid,
            opening,
            permit,
            link,
        };
        server.hub.send(server.hub.shard_of(sid), command);
    })
    .map_err(Error::new)
}

/// What a request says of who sent it.
pub(crate) fn handshake<B>(server: &Server, request: &Request<B>) -> Handshake {
    let cookie = server.config.token_cookie.clone();
    Handshake::new(Arc::new(opening(server, request)), None, Arc::from("/"), cookie)
}

fn opening<B>(server: &Server, request: &Request<B>) -> Opening {
    let query = request.uri().query().unwrap_or_default();
    let address = engine::client_address(server, request);
    Opening::new(
        request.headers(),
        query,
        address,
        engine::is_secure(request),
        &server.config.keep_headers,
    )
}

// Server-sent events

async fn events(State(server): State<Arc<Server>>, request: Request<Body>) -> Result<Response<Body>> {
    match open_stream(&server, &request.map(drop)).await {
        // Browsers give up on any other answer, so what may be otherwise in a moment is a stream that ends.
        Err(error) if error.transient_close_code().is_some() => Ok(put_off(&error)),
        outcome => outcome,
    }
}

/// A stream that ends, and says when to come back.
pub(super) fn put_off(error: &Error) -> Response<Body> {
    tracing::debug!(%error, "an event stream is put off");
    stream_response(Body::from(stream::retry()))
}

async fn open_stream(server: &Arc<Server>, request: &Request<()>) -> Result<Response<Body>> {
    let query = Query::parse(request.uri().query().unwrap_or_default())?;
    let wire = Wire::sse(query.flag("named")?, query.is_raw()?);
    let since = match last_event_id(request.headers()).or(query.get("lastEventId")) {
        None | Some("") => None,
        // What is no id any more is no reason to give up: the client has a gap.
        Some(id) => Some(id.parse().map_or(Since::Unknown, |id| server.hub.log.check(id))),
    };
    let permit = server.hub.admit(engine::client_address(server, request))?;
    let sid = RandomId::new();
    let (visitor, channels) = admit(server, sid, request, ConnectionKind::Sse, &query.channels).await?;
    let new = NewStream {
        pipe: Arc::default(),
        visitor: Some(visitor),
        channels,
        since,
        wire,
        permit: Some(permit),
    };
    Ok(start_stream(server, sid, new))
}

pub(super) fn start_stream(server: &Arc<Server>, sid: RandomId, new: NewStream) -> Response<Body> {
    let pipe: Arc<Pipe> = Arc::clone(&new.pipe);
    let shard = server.hub.shard_of(sid);
    let command = Command::OpenStream {
        sid,
        new: Box::new(new),
    };
    server.hub.send(shard, command);
    let body = StreamBody::new(Arc::clone(&pipe), Arc::clone(server), sid);
    let mut response = stream_response(Body::new(body));
    let server = Arc::clone(server);
    let bare = Streams::new(move |link: NewLink| {
        let taken = Box::new(TakenStream::new(pipe, link.stream, link.head));
        server.hub.send(shard, Command::TakeStream { sid, taken });
    });
    response.extensions_mut().insert(bare);
    response
}

pub(super) fn last_event_id(headers: &http::HeaderMap) -> Option<&str> {
    // Latin-1 bytes are no id, and a gap all the same.
    headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"))
}

fn stream_response(body: Body) -> Response<Body> {
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store, no-transform"),
    ];
    let mut response = (headers, body).into_response();
    // nginx would otherwise hold events back until its buffer is full.
    response
        .headers_mut()
        .insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

// Asking the application

/// Who the client is, and its channels with their grants: the application is asked on the thread of a shard.
async fn admit(
    server: &Arc<Server>,
    sid: RandomId,
    request: &Request<()>,
    kind: ConnectionKind,
    channels: &[String],
) -> Result<(Visitor, Vec<Granted>)> {
    if channels.is_empty() {
        return Err(Error::new("name a channel: `?channel=…`, several times for several"));
    }
    let max = server.hub.limits.subscriptions;
    if max > 0 && channels.len() > max {
        let problem = format!("a client may have {max} subscriptions");
        return Err(Error::coded(Code::TooManyChannels, problem));
    }
    let handshake = handshake(server, request).on(kind);
    let asked = Arc::clone(server);
    let channels = channels.to_vec();
    on_shard(server, sid, move || {
        Box::pin(async move {
            let visitor = asked.let_in(handshake).await?;
            let channels = requests::grants(&asked, &visitor, &channels).await?;
            Ok((visitor, channels))
        })
    })
    .await
}

type Boxed<T> = std::pin::Pin<Box<dyn Future<Output = T>>>;

/// Runs a future of the application's on the thread of a shard, where it need not be `Send`.
async fn on_shard<T: Send + 'static>(
    server: &Server,
    sid: RandomId,
    make: impl FnOnce() -> Boxed<Result<T>> + Send + 'static,
) -> Result<T> {
    let (reply, answer) = oneshot::channel();
    let run = move || -> Task {
        Box::pin(async move {
            let _ = reply.send(make().await);
        })
    };
    server.hub.ask(server.hub.shard_of(sid), Box::new(run));
    answer
        .await
        .unwrap_or_else(|_| Err(Error::coded(Code::Internal, "internal error")))
}

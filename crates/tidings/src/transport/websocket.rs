//! From a request to a WebSocket: the handshake, and how the byte stream is had.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tidings_protocol::websocket;
use tokio::net::TcpStream;

use super::link::{NewLink, NewStream};
use crate::serve::{Stream, Upgrades};

/// What becomes of a byte stream.
pub(crate) type Begin = Box<dyn FnOnce(NewLink) + Send>;

/// The answer to a WebSocket's request (RFC 6455, section 4.2.2). `begin` is called with the link when that is sent, or is to be
/// sent as the link's head.
pub(crate) fn accept(
    request: &mut Request<Body>,
    begin: impl FnOnce(NewLink) + Send + 'static,
) -> Result<Response<Body>, &'static str> {
    if request.version() == http::Version::HTTP_2 {
        return Err("a WebSocket needs HTTP/1.1 here");
    }
    let headers = request.headers();
    let is = |name, expected: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.eq_ignore_ascii_case(expected))
    };
    if request.method() != Method::GET || !is(header::UPGRADE, "websocket") || !is(header::SEC_WEBSOCKET_VERSION, "13")
    {
        return Err("this is no WebSocket request of version 13");
    }
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .and_then(|key| key.to_str().ok())
        .filter(|key| websocket::is_valid_key(key));
    let accept = websocket::accept_key(key.ok_or("the Sec-WebSocket-Key is not valid")?);
    let accept = HeaderValue::from_str(&accept).map_err(|_| "the Sec-WebSocket-Key is not valid")?;
    let on_upgrade = request
        .extensions_mut()
        .remove::<OnUpgrade>()
        .ok_or("this connection can't be upgraded")?;
    let upgrade = Upgrade {
        on_upgrade,
        begin: Box::new(begin),
    };
    match request.extensions().get::<Upgrades>() {
        Some(upgrades) => upgrades.set(upgrade),
        None => upgrade.follow(),
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// A connection that is going to be a WebSocket when its answer, a 101, is sent.
pub(crate) struct Upgrade {
    on_upgrade: OnUpgrade,
    pub(crate) begin: Begin,
}

impl Upgrade {
    /// Waits until hyper has sent the answer and gives the stream away.
    pub(crate) fn follow(self) {
        tokio::spawn(async move {
            if let Some(link) = self.on_upgrade.await.ok().and_then(new_link) {
                (self.begin)(link);
            }
        });
    }
}

/// The bare TCP socket under an upgraded connection where it can be had: hyper's buffers are then free.
fn new_link(upgraded: Upgraded) -> Option<NewLink> {
    let upgraded = match upgraded.downcast::<TokioIo<Stream>>() {
        Ok(parts) => return parts.io.into_inner().into_link(parts.read_buf),
        Err(upgraded) => upgraded,
    };
    // Of other servers: `axum::serve`, hyper itself.
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => return tcp_link(parts.io.into_inner(), parts.read_buf),
        Err(upgraded) => upgraded,
    };
    match hyper_util::server::conn::auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => tcp_link(parts.io.into_inner(), parts.read_buf),
        Err(upgraded) => Some(NewLink::new(
            NewStream::Boxed(Box::new(TokioIo::new(upgraded))),
            Bytes::new(),
        )),
    }
}

fn tcp_link(stream: TcpStream, early: Bytes) -> Option<NewLink> {
    // Small frames must not wait for acknowledgements of earlier ones.
    stream.set_nodelay(true).ok()?;
    let stream = stream.into_std().ok()?;
    Some(NewLink::new(NewStream::Tcp(stream), early))
}

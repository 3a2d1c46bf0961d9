//! A document at a URL, fetched over a connection of its own.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::connect::Connector;
use crate::url::{Url, host_and_port};

/// How long it may take in all.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is there now, of so many bytes at the most.
pub(super) async fn get(url: &Url, bytes_max: usize) -> Result<Vec<u8>, String> {
    let getting = tokio::time::timeout(PATIENCE, try_get(url, bytes_max)).await;
    getting.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
}

async fn try_get(url: &Url, bytes_max: usize) -> Result<Vec<u8>, String> {
    let (host, port) = host_and_port(url.uri());
    let connector = Connector::new(url.is_https(), url.ca.as_deref())?;
    let stream = connector.connect(host, port).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // It ends with the sender and the body.
    tokio::spawn(connection);
    let path = url.uri().path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(header::HOST, url.authority())
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

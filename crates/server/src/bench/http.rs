//! A small HTTP/1.1 client: one connection that is used again while it lasts.

use std::io;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A connection to one server.
pub(super) struct Http {
    /// `host:port`.
    address: String,
    authorization: String,
    sender: Option<SendRequest<Full<Bytes>>>,
    /// How often it connected.
    pub(super) connects: u32,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Answer {
    /// The body as text, shortened, for a message.
    pub(super) fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        text.chars().take(200).collect()
    }
}

impl Http {
    /// Does not connect yet. `bearer` is a token or an API key.
    pub(super) fn new(address: &str, bearer: &str) -> Self {
        Self {
            address: address.to_owned(),
            authorization: format!("Bearer {bearer}"),
            sender: None,
            connects: 0,
        }
    }

    /// Sends a request and gives the head of the answer.
    ///
    /// # Errors
    /// When the connection can't be made or ends.
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> io::Result<http::Response<Incoming>> {
        let mut sender = self.sender().await?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.address)
            .header("authorization", &self.authorization);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::new(body)).map_err(io::Error::other)?;
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        self.sender = Some(sender);
        Ok(answer)
    }

    async fn sender(&mut self) -> io::Result<SendRequest<Full<Bytes>>> {
        if let Some(mut sender) = self.sender.take()
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        self.connects += 1;
        connect(&self.address).await
    }

    /// Sends a request and reads all of its answer.
    ///
    /// # Errors
    /// When the connection can't be made or ends.
    pub(super) async fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> io::Result<Answer> {
        let answer = self.send(method, path, headers, body).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(Answer { status, body })
    }

    /// Gives the connection up: what comes on it no longer counts.
    pub(super) fn forget(&mut self) {
        self.sender = None;
    }
}

async fn connect(address: &str) -> io::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends with the sender and the body that is being read.
    tokio::spawn(connection);
    Ok(sender)
}

/// A query that names channels and more.
pub(super) fn query(channels: &[String], more: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for channel in channels {
        query.append_pair("channel", channel);
    }
    for (name, value) in more {
        query.append_pair(name, value);
    }
    query.finish()
}

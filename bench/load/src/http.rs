//! As much of HTTP/1.1 as a generator needs: the request for an upgrade, and the head of an answer.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};

use crate::note::{number, position};

/// The request that turns a connection into a WebSocket.
pub(crate) fn upgrade(address: SocketAddr, target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGlkaW5ncy1iZW5jaC0wMQ==\r\n\r\n"
    )
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Its bytes, with the empty line.
    pub(crate) bytes: usize,
    pub(crate) status: u64,
    pub(crate) body: Body,
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Length(usize),
    Chunked,
    /// To the connection's end, or none.
    Other,
}

/// The head at the beginning of `bytes`; none while it is incomplete.
pub(crate) fn head(bytes: &[u8]) -> Result<Option<Head>> {
    let Some(end) = position(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[..end])?;
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.as_bytes().get(..3))
        .and_then(number)
        .with_context(|| format!("not an answer: {text:?}"))?;
    let mut body = Body::Other;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            bail!("not a header: {line:?}");
        };
        if name.eq_ignore_ascii_case("content-length") {
            let length = number(value.trim().as_bytes()).context("a mangled content-length")?;
            body = Body::Length(length.try_into()?);
        }
        if name.eq_ignore_ascii_case("transfer-encoding") && value.trim().eq_ignore_ascii_case("chunked") {
            body = Body::Chunked;
        }
    }
    Ok(Some(Head {
        bytes: end + 4,
        status,
        body,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_found_when_it_is_whole() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nDate: now\r\n\r\nbody";
        for cut in 0..text.len() - 4 {
            assert_eq!(head(&text[..cut]).expect("valid"), None);
        }
        let expect = Head {
            bytes: text.len() - 4,
            status: 200,
            body: Body::Length(12),
        };
        assert_eq!(head(text).expect("valid"), Some(expect));
        let chunked = head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").expect("valid");
        assert_eq!(chunked.map(|head| head.body), Some(Body::Chunked));
        assert!(head(b"SSH-2.0\r\n\r\n").is_err());
    }
}

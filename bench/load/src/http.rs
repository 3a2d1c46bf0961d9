//! As much of HTTP/1.1 as a generator needs: the request for an upgrade, an answer's head, its headers, body and chunks.

use std::net::SocketAddr;
use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};

use crate::note::{number, position};

/// More than any server has to say at once.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The request that turns a connection into a WebSocket.
pub(crate) fn upgrade(address: SocketAddr, target: &str) -> String {
    upgrade_with(address, target, "")
}

/// The same with further headers, each with its line end.
pub(crate) fn upgrade_with(address: SocketAddr, target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGlkaW5ncy1iZW5jaC0wMQ==\r\n\r\n"
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

/// The value of a header in a whole head.
pub(crate) fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    std::str::from_utf8(head).ok()?.split("\r\n").find_map(|line| {
        let (one, value) = line.split_once(':')?;
        one.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The answer at the beginning of `bytes`, and its body; none while it is incomplete.
pub(crate) fn answer(bytes: &[u8]) -> Result<Option<(Head, &[u8])>> {
    let Some(head) = head(bytes)? else {
        return Ok(None);
    };
    let Body::Length(length) = head.body else {
        bail!("an answer without a length");
    };
    Ok(bytes.get(head.bytes..head.bytes + length).map(|body| (head, body)))
}

/// A piece of a chunked body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) data: Range<usize>,
    pub(crate) end: usize,
}

/// The chunk that begins at `at`, the last of which is empty; none while it is incomplete.
pub(crate) fn chunk(bytes: &[u8], at: usize) -> Result<Option<Chunk>> {
    let Some(line_bytes) = position(&bytes[at..], b"\r\n") else {
        return Ok(None);
    };
    let digits = std::str::from_utf8(&bytes[at..at + line_bytes])?;
    let length = usize::from_str_radix(digits, 16).with_context(|| format!("not a chunk: {digits:?}"))?;
    ensure!(length <= BODY_BYTES_MAX, "a chunk of {length} bytes");
    let begin = at + line_bytes + 2;
    let end = begin + length + 2;
    Ok((end <= bytes.len()).then_some(Chunk {
        data: begin..begin + length,
        end,
    }))
}

/// Reads the whole lines of an event stream and hands on what their `data:` brings; returns the bytes of those lines.
pub(crate) fn each_data(text: &[u8], mut take: impl FnMut(&[u8])) -> usize {
    let mut done = 0;
    while let Some(line_bytes) = text[done..].iter().position(|byte| *byte == b'\n') {
        let line = &text[done..done + line_bytes];
        done += line_bytes + 1;
        if let Some(value) = line.strip_prefix(b"data:") {
            take(value.strip_prefix(b" ").unwrap_or(value));
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_found_when_they_are_whole() {
        let bytes = b"5\r\nhello\r\n0\r\n\r\n";
        for cut in 0..10 {
            assert_eq!(chunk(&bytes[..cut], 0).expect("valid"), None);
        }
        assert_eq!(chunk(bytes, 0).expect("valid"), Some(Chunk { data: 3..8, end: 10 }));
        let last = chunk(bytes, 10).expect("valid").expect("whole");
        assert_eq!((last.data.len(), last.end), (0, bytes.len()));
        assert!(chunk(b"hello\r\n", 0).is_err());
    }

    #[test]
    fn an_answer_has_its_body_and_headers() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nEtag: 7\r\n\r\nbodynext";
        let (head, body) = answer(text).expect("valid").expect("whole");
        assert_eq!(body, b"body");
        assert_eq!(header(&text[..head.bytes], "ETag"), Some("7"));
        assert_eq!(header(&text[..head.bytes], "Date"), None);
        assert_eq!(answer(&text[..head.bytes + 3]).expect("valid"), None);
    }

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

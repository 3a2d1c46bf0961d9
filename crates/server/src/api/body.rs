//! The body of a request, read to its end but not past what it may have.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use bytes::BytesMut;
use http_body_util::BodyExt as _;
use serde::de::{self, IgnoredAny};
use tidings::{Code, Error, Result};

use super::too_large;

/// What is read of a body that is too long, over what it may have: a client that is cut off while it sends might miss
/// the answer.
const DISCARDED_BYTES_MAX: usize = 4_000_000;

/// How long more of such a body is waited for.
const DISCARDED_PAUSE: Duration = Duration::from_secs(1);

/// How long a body may take in all.
const TIME: Duration = Duration::from_secs(60);

/// The whole body.
///
/// # Errors
/// `too_large` when it has more than `limit` bytes; `bad_request` when it ends early, or takes longer than a minute.
pub(crate) async fn read(body: Body, limit: usize) -> Result<Bytes> {
    read_within(TIME, body, limit).await
}

async fn read_within(time: Duration, body: Body, limit: usize) -> Result<Bytes> {
    let whole = tokio::time::timeout(time, read_all(body, limit)).await;
    whole.unwrap_or_else(|_| Err(Error::new("the body took longer than a minute")))
}

async fn read_all(mut body: Body, limit: usize) -> Result<Bytes> {
    // One that says at once that it is far too long is told so at once.
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced.saturating_sub(limit) > DISCARDED_BYTES_MAX {
        return Err(too_large("the body", limit));
    }
    let mut kept = BytesMut::new();
    let mut seen: usize = 0;
    loop {
        let is_too_long = announced > limit || seen > limit;
        let frame = match is_too_long {
            // Who stops there is not waited for.
            true => tokio::time::timeout(DISCARDED_PAUSE, body.frame()).await.ok().flatten(),
            false => body.frame().await,
        };
        let data = match frame {
            None => break,
            Some(Ok(frame)) => frame.into_data(),
            Some(Err(_)) if is_too_long => break,
            Some(Err(_)) => return Err(Error::new("the body could not be read to its end")),
        };
        let Ok(data) = data else { continue };
        seen = seen.saturating_add(data.len());
        if seen <= limit {
            kept.extend_from_slice(&data);
        } else {
            kept = BytesMut::new();
            if seen - limit > DISCARDED_BYTES_MAX {
                break;
            }
        }
    }
    if announced > limit || seen > limit {
        return Err(too_large("the body", limit));
    }
    Ok(kept.freeze())
}

/// A value of an object's shape, in JSON.
///
/// # Errors
/// `invalid_json` when it is none; `bad_request` when it is not of the expected shape.
pub(crate) fn parse<'a, T: serde::Deserialize<'a>>(json: &'a [u8]) -> Result<T> {
    let parsed = if json.trim_ascii_start().first() == Some(&b'[') {
        // serde takes a list for an object whose values stand in the order of its fields, which is nobody's to know.
        serde_json::from_slice::<IgnoredAny>(json).and_then(|_| Err(de::Error::custom("a list, expected an object")))
    } else {
        serde_json::from_slice(json)
    };
    parsed.map_err(|error| {
        let problem = error.to_string();
        if error.is_data() {
            // Where in the text it is says little to who made it from an object.
            let problem = problem.split(" at line ").next().unwrap_or_default();
            // serde shows a text that stands where it should not, which may be a whole event.
            match problem.starts_with("invalid type: string") {
                true => Error::new("a text stands where an object or another value is expected"),
                false => Error::new(problem.to_owned()),
            }
        } else {
            Error::coded(Code::InvalidJson, format!("the body is no JSON: {problem}"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_does_not_end_is_given_up() {
        let begun = futures_util::stream::iter([Ok::<_, std::io::Error>(b"abc".as_slice())]);
        let endless = futures_util::StreamExt::chain(begun, futures_util::stream::pending());
        let read = read_within(Duration::from_millis(20), Body::from_stream(endless), 10).await;
        assert_eq!(read.unwrap_err().code(), "bad_request");
    }

    #[tokio::test]
    async fn a_body_may_be_as_long_as_the_limit_and_no_longer() {
        for (bytes, fits) in [(0, true), (10, true), (11, false), (5_000_000, false)] {
            let body = Body::from(vec![b'x'; bytes]);
            match read(body, 10).await {
                Ok(read) => assert!(fits && read.len() == bytes),
                Err(error) => assert!(!fits && error.code() == "too_large", "{bytes} {error}"),
            }
        }
        let pieces = [b"abc".as_slice(), b"defghij", b"k"].map(Ok::<_, std::io::Error>);
        let body = Body::from_stream(futures_util::stream::iter(pieces));
        assert_eq!(read(body, 10).await.unwrap_err().code(), "too_large");
        let broken = [Ok(b"abc".as_slice()), Err(std::io::Error::other("cut"))];
        let body = Body::from_stream(futures_util::stream::iter(broken));
        assert_eq!(read(body, 10).await.unwrap_err().code(), "bad_request");
    }

    #[test]
    fn a_list_stands_for_no_object() {
        #[derive(Debug, serde::Deserialize)]
        struct Point {
            x: u8,
        }
        assert_eq!(parse::<Point>(br#"{"x":1}"#).unwrap().x, 1);
        for (json, code) in [
            (&b"[1]"[..], "bad_request"),
            (b" [1]", "bad_request"),
            (b"[1", "invalid_json"),
        ] {
            assert_eq!(parse::<Point>(json).unwrap_err().code(), code);
        }
    }
}

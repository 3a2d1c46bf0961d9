//! Streams and waiting polls that are taken from hyper: what comes over their connection before, beside and after them is served as
//! if they were not.

#![allow(clippy::unwrap_used, missing_docs)] // a test's panic is its failure

#[path = "support/serving.rs"]
mod serving;
mod support;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use serving::{Serving, all, within};
use support::eventually;
use tidings::{Io, Tidings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// More than the buffers of two sockets hold.
const LARGE_BYTES: usize = 64 << 20;

/// After it a poll that waits is taken; before, it is not.
async fn long_enough() {
    tokio::time::sleep(Duration::from_millis(250)).await;
}

fn io() -> Io {
    let io = Tidings::builder().build();
    io.authorize(async |_: Arc<()>, _, _| Ok(()));
    io
}

fn app(io: &Io) -> Router {
    Router::new()
        .route("/small", get(async || "small"))
        .route("/large", get(async || vec![b'x'; LARGE_BYTES]))
        .route("/early", post(early))
        .merge(io.channel_router())
        .merge(io.router())
}

/// Answers before it has what was sent to it.
async fn early(body: axum::body::Body) -> Vec<u8> {
    tokio::spawn(axum::body::to_bytes(body, 10));
    vec![b'x'; LARGE_BYTES]
}

/// A server, and the target of a poll that waits.
async fn start(io: &Io) -> (Serving, String) {
    let server = Serving::new(app(io), |serve| serve).await;
    let poll = format!("/poll?channel=c&since={}", io.cursor());
    (server, poll)
}

fn request(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")
}

/// Reads until what came ends so.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let mut byte = [0];
        let read = within(end, stream.read(&mut byte)).await.unwrap();
        assert_eq!(read, 1, "closed after {:?}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&byte);
    }
    String::from_utf8_lossy(&text).into_owned()
}

async fn subscribers(io: &Io, count: usize) {
    eventually("the subscribers are counted", || io.counts().subscriptions == count).await;
}

async fn publish(io: &Io, text: &str) {
    io.to("c").emit("said", text).await.unwrap();
}

#[tokio::test]
async fn polls_one_after_another_share_a_connection_also_with_other_requests() {
    let io = io();
    let (server, _) = start(&io).await;
    let mut client = server.connect().await;
    for round in 0..12 {
        let text = format!("round {round}");
        let poll = format!("/poll?channel=c&since={}", io.cursor());
        client.write_all(request(&poll, "").as_bytes()).await.unwrap();
        subscribers(&io, 1).await;
        if round % 3 == 0 {
            long_enough().await;
        }
        publish(&io, &text).await;
        let answer = read_until(&mut client, "\"gaps\":[]}").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(&text), "{answer}");
        assert!(!answer.to_lowercase().contains("connection: close"), "{answer}");
        client.write_all(request("/small", "").as_bytes()).await.unwrap();
        assert!(
            read_until(&mut client, "\r\n\r\nsmall")
                .await
                .starts_with("HTTP/1.1 200")
        );
        subscribers(&io, 0).await;
    }
}

/// Clients may send requests before they have the answers (RFC 9112, section 9.3.2).
#[tokio::test]
async fn requests_sent_ahead_are_answered_in_their_order() {
    let io = io();
    let (server, poll) = start(&io).await;
    let ahead = [request("/small", ""), request(&poll, ""), request("/small", "")].concat();
    let mut client = server.say(&ahead).await;
    read_until(&mut client, "\r\n\r\nsmall").await;
    subscribers(&io, 1).await;
    // Also one that comes while the poll waits, and in two parts.
    let (first, second) = (request("/sse?channel=c", ""), "/small");
    let (begin, end) = first.split_at(20);
    client.write_all(begin.as_bytes()).await.unwrap();
    long_enough().await;
    publish(&io, "hello").await;
    let answer = read_until(&mut client, "\"gaps\":[]}").await;
    assert!(answer.contains("hello"), "{answer}");
    assert!(
        read_until(&mut client, "\r\n\r\nsmall")
            .await
            .starts_with("HTTP/1.1 200")
    );
    client.write_all(end.as_bytes()).await.unwrap();
    let head = read_until(&mut client, "\r\n\r\n").await;
    assert!(
        head.contains("text/event-stream") && head.contains("connection: close"),
        "{head}"
    );
    publish(&io, "on the stream").await;
    assert!(read_until(&mut client, "on the stream").await.contains("retry:"));
    // Nobody answers what is said to a stream.
    client.write_all(request(second, "").as_bytes()).await.unwrap();
    publish(&io, "still").await;
    read_until(&mut client, "still").await;
    drop(client);
    subscribers(&io, 0).await;
}

/// While the client has not taken an earlier answer, hyper keeps the connection.
#[tokio::test]
async fn an_answer_that_is_not_taken_yet_is_not_lost() {
    let io = io();
    for waits in [false, true] {
        let (server, poll) = start(&io).await;
        let target = if waits { &poll } else { "/sse?channel=c" };
        let mut client = server.say(&[request("/large", ""), request(target, "")].concat()).await;
        read_until(&mut client, "\r\n\r\n").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut large = vec![0; LARGE_BYTES];
        within("the answer comes", client.read_exact(&mut large)).await.unwrap();
        assert!(large.iter().all(|byte| *byte == b'x'));
        subscribers(&io, 1).await;
        publish(&io, "hello").await;
        assert!(read_until(&mut client, "hello").await.starts_with("HTTP/1.1 200"));
        drop(client);
        subscribers(&io, 0).await;
    }
}

#[tokio::test]
async fn a_body_is_no_request() {
    let io = io();
    let (server, poll) = start(&io).await;
    let hidden = request("/small", "");
    let headers = format!("Content-Length: {}\r\nConnection: close\r\n", hidden.len());
    let client = server.say(&(request(&poll, &headers) + &hidden)).await;
    subscribers(&io, 1).await;
    long_enough().await;
    publish(&io, "hello").await;
    let answers = all(client).await;
    assert!(answers.contains("hello") && !answers.contains("small"), "{answers}");
}

#[tokio::test]
async fn who_asks_for_it_is_closed_after_the_poll() {
    let io = io();
    for (version, headers) in [
        ("1.1", "Connection: close\r\n"),
        ("1.1", "Connection: x, Close\r\n"),
        ("1.0", ""),
    ] {
        let (server, poll) = start(&io).await;
        let client = server
            .say(&format!("GET {poll} HTTP/{version}\r\nHost: x\r\n{headers}\r\n"))
            .await;
        subscribers(&io, 1).await;
        long_enough().await;
        publish(&io, "hello").await;
        let answer = all(client).await;
        assert!(
            answer.starts_with("HTTP/1.") && answer.ends_with("\"gaps\":[]}"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn who_leaves_is_missed_by_nobody() {
    let io = io();
    let (server, poll) = start(&io).await;
    for target in [poll.as_str(), "/sse?channel=c"] {
        for round in 0..10 {
            let client = server.say(&request(target, "")).await;
            subscribers(&io, 1).await;
            if round % 3 == 0 {
                long_enough().await;
            }
            drop(client);
            subscribers(&io, 0).await;
        }
    }
    // HEAD asks for nothing that goes on.
    let head = all(server
        .say("HEAD /sse?channel=c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await)
    .await;
    assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    eventually("nobody is left", || {
        let counts = io.counts();
        counts.connections + counts.subscriptions == 0
    })
    .await;
}

#[tokio::test]
async fn who_talks_to_a_stream_is_not_listened_to_for_long() {
    let io = io();
    let (server, _) = start(&io).await;
    let mut client = server.say(&request("/sse?channel=c", "")).await;
    subscribers(&io, 1).await;
    client.write_all(&[b'x'; 60_000]).await.unwrap();
    publish(&io, "hello").await;
    read_until(&mut client, "hello").await;
    let talk = async { while client.write_all(&[b'x'; 10_000]).await.is_ok() {} };
    within("it is cut", talk).await;
    subscribers(&io, 0).await;
}

/// What a layer made of the body counts.
#[tokio::test]
async fn a_body_that_a_layer_encodes_stays_with_it() {
    let io = io();
    let encode = |mut response: Response| async move {
        response
            .headers_mut()
            .insert("content-encoding", "identity".parse().unwrap());
        response.map(axum::body::Body::new)
    };
    let app = app(&io).layer(axum::middleware::map_response(encode));
    let server = Serving::new(app, |serve| serve).await;
    let mut client = server.say(&request("/sse?channel=c", "")).await;
    let head = read_until(&mut client, "\r\n\r\n").await;
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    publish(&io, "hello").await;
    read_until(&mut client, "hello").await;
}

#[tokio::test]
async fn the_shutdown_waits_for_polls_that_are_answered() {
    let io = io();
    let (server, poll) = start(&io).await;
    let client = server.say(&request(&poll, "")).await;
    let polling = server
        .say(&request("/socket.io/?EIO=4&transport=polling", "Connection: close\r\n"))
        .await;
    let handshake = all(polling).await;
    let sid = handshake.split("\"sid\":\"").nth(1).unwrap().split('"').next().unwrap();
    let session = server
        .say(&request(&format!("/socket.io/?EIO=4&transport=polling&sid={sid}"), ""))
        .await;
    let stream = server.say(&request("/sse?channel=c", "")).await;
    subscribers(&io, 2).await;
    long_enough().await;
    let ended = server.stop();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!ended.is_finished());
    io.close().await;
    let answer = all(client).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("\"gaps\":[]}"),
        "{answer}"
    );
    assert!(all(session).await.ends_with("\r\n\r\n1"));
    assert!(all(stream).await.contains("retry:"));
    within("the server ends", ended).await.unwrap().unwrap();
}

/// Where others serve, the answers go their ordinary way.
#[tokio::test]
async fn the_same_under_axums_own_server() {
    let io = io();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app(&io);
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(request("/sse?channel=c", "").as_bytes())
        .await
        .unwrap();
    assert!(read_until(&mut stream, "\r\n\r\n").await.contains("chunked"));
    let mut poll = TcpStream::connect(address).await.unwrap();
    let target = format!("/poll?channel=c&since={}", io.cursor());
    poll.write_all(request(&target, "").as_bytes()).await.unwrap();
    subscribers(&io, 2).await;
    publish(&io, "hello").await;
    read_until(&mut stream, "hello").await;
    assert!(read_until(&mut poll, "\"gaps\":[]}").await.contains("hello"));
    drop((stream, poll));
    subscribers(&io, 0).await;
}

/// It ends before its byte stream has come to its shard: the client is told all the same.
#[tokio::test]
async fn a_stream_that_is_over_at_once_is_an_answer() {
    let io = io();
    let close = io.clone();
    let end = move |request: axum::extract::Request, next: axum::middleware::Next| {
        let close = close.clone();
        async move {
            let response = next.run(request).await;
            close.close().await;
            response
        }
    };
    let app = app(&io).layer(axum::middleware::from_fn(end));
    let server = Serving::new(app, |serve| serve).await;
    let answer = all(server.say(&request("/sse?channel=c", "")).await).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("retry:"),
        "{answer:?}"
    );
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// `{"type":"ping","id":1}` as a client frames it, with a mask of zeros.
fn ping() -> Vec<u8> {
    let text = br#"{"type":"ping","id":1}"#;
    [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], &text[..]].concat()
}

/// Where nothing has to be waited for, a WebSocket's first message comes with its 101.
#[tokio::test]
async fn a_101_leaves_with_the_first_message() {
    let io = io();
    let (server, _) = start(&io).await;
    for target in ["/ws", "/socket.io/?EIO=4&transport=websocket"] {
        let mut client = server.say(&request(target, UPGRADE)).await;
        let mut bytes = vec![0; 4096];
        let count = within("the answer comes", client.read(&mut bytes)).await.unwrap();
        let answer = String::from_utf8_lossy(&bytes[..count]);
        assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{answer}");
        assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{answer}");
        assert!(answer.contains("\r\n\r\n\u{FFFD}"), "no frame in {answer}");
    }
}

/// The handshake does not wait for who decides about the client.
#[tokio::test]
async fn a_101_does_not_wait_for_the_application() {
    let io = io();
    let (decide, decision) = tokio::sync::watch::channel(false);
    io.auth(async move |_: tidings::Handshake| {
        decision.clone().wait_for(|decided| *decided).await.unwrap();
        Ok(())
    });
    let (server, _) = start(&io).await;
    let mut client = server.say(&request("/ws", UPGRADE)).await;
    read_until(&mut client, "\r\n\r\n").await;
    decide.send(true).unwrap();
    read_until(&mut client, "welcome").await;
}

/// A request sent before it, whose answer is not taken yet, and a frame sent with it.
#[tokio::test]
async fn a_websocket_behind_an_answer_that_is_not_taken_yet_is_not_lost() {
    let io = io();
    for before in ["", "/small", "/large"] {
        let (server, _) = start(&io).await;
        let first = if before.is_empty() {
            String::new()
        } else {
            request(before, "")
        };
        let mut client = server.say(&(first + &request("/ws", UPGRADE))).await;
        client.write_all(&ping()).await.unwrap();
        if !before.is_empty() {
            read_until(&mut client, "\r\n\r\n").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            let mut body = vec![0; if before == "/large" { LARGE_BYTES } else { 5 }];
            within("the answer comes", client.read_exact(&mut body)).await.unwrap();
        }
        let head = read_until(&mut client, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        read_until(&mut client, r#""type":"ok","id":1"#).await;
        drop(client);
        eventually("the connection is gone", || io.counts().connections == 0).await;
    }
}

/// A layer that answers otherwise has the last word, and nothing of the WebSocket is left.
#[tokio::test]
async fn a_layer_can_refuse_a_websocket() {
    let io = io();
    let refuse = |_: Response| async { axum::http::StatusCode::FORBIDDEN };
    let app = app(&io).layer(axum::middleware::map_response(refuse));
    let server = Serving::new(app, |serve| serve).await;
    let mut client = server.say(&request("/ws", UPGRADE)).await;
    assert!(read_until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 403"));
    eventually("the connection is gone", || io.counts().connections == 0).await;
    client.write_all(request("/ws", UPGRADE).as_bytes()).await.unwrap();
    assert!(read_until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 403"));
}

/// Behind an answer that began before its request's body was there, and is not taken yet.
#[tokio::test]
async fn a_websocket_behind_an_early_answer_is_not_lost() {
    let io = io();
    let (server, _) = start(&io).await;
    let mut client = server
        .say("POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        .await;
    read_until(&mut client, "\r\n\r\n").await;
    client
        .write_all(format!("hello{}", request("/ws", UPGRADE)).as_bytes())
        .await
        .unwrap();
    client.write_all(&ping()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut body = vec![0; LARGE_BYTES];
    within("the answer comes", client.read_exact(&mut body)).await.unwrap();
    let head = read_until(&mut client, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    read_until(&mut client, r#""type":"ok","id":1"#).await;
}

/// The application's own fault is none of the client's, which is told, and can come again.
#[tokio::test]
async fn a_panic_of_who_decides_is_an_answer() {
    let io = io();
    io.auth(async |_: tidings::Handshake| -> tidings::Result<()> { panic!("a fault") });
    let (server, _) = start(&io).await;
    let mut client = server.say(&request("/ws", UPGRADE)).await;
    let answer = read_until(&mut client, "\"internal error\"}").await;
    assert!(answer.contains("101 Switching"), "{answer}");
    let mut close = [0; 4];
    within("the close frame comes", client.read_exact(&mut close))
        .await
        .unwrap();
    assert_eq!(close, [0x88, 2, 0x03, 0xf3]); // 1011
}

//! Clients that take nothing, or send no further: they are cut off, and hold neither memory nor the shutdown. Who has
//! nothing to take is left alone.

#![allow(clippy::unwrap_used, missing_docs)] // a test's panic is its failure

#[path = "support/serving.rs"]
mod serving;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::{any, get, post};
use http::Request;
use serving::{Serving, all, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Notify, Semaphore, mpsc};

/// More than the buffers of two sockets hold.
const LARGE_BYTES: usize = 64 << 20;

/// So long that the test would not wait for it.
const LONG: Duration = Duration::from_secs(3_600);

const SHORT: Duration = Duration::from_millis(200);

/// Bytes that tell when the server has let go of them.
struct Held {
    bytes: Vec<u8>,
    gone: mpsc::UnboundedSender<()>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.gone.send(());
    }
}

/// `/large` answers much, and tells when nothing of it is held any more.
fn large() -> (Router, mpsc::UnboundedReceiver<()>) {
    let (gone, is_gone) = mpsc::unbounded_channel();
    let large = move || {
        let held = Held {
            bytes: vec![b'x'; LARGE_BYTES],
            gone: gone.clone(),
        };
        std::future::ready(Body::from(Bytes::from_owner(held)))
    };
    (Router::new().route("/large", get(large)), is_gone)
}

fn get_of(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_is_cut_off() {
    let (app, mut is_gone) = large();
    let server = Serving::new(app, |serve| serve.stall_timeout(SHORT)).await;
    let stalled = server.say(&get_of("/large")).await;
    within("the answer is given up", is_gone.recv()).await.unwrap();
    assert!(all(stalled).await.len() < LARGE_BYTES);
}

/// It reads the socket, and so answers pings, but opens the stream's window no further.
#[tokio::test]
async fn who_takes_nothing_of_a_stream_of_http2_is_cut_off() {
    let (app, mut is_gone) = large();
    let server = Serving::new(app, |serve| serve.stall_timeout(SHORT)).await;
    let (mut client, connection) = h2::client::handshake(server.connect().await).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get(format!("http://{}/large", server.address))
        .body(())
        .unwrap();
    let answer = client.send_request(request, true).unwrap().0.await.unwrap();
    within("the answer is given up", is_gone.recv()).await.unwrap();
    let _ = within("the connection is cut", connection).await.unwrap();
    drop(answer);
}

#[tokio::test]
async fn who_takes_an_answer_slowly_gets_all_of_it() {
    let (app, _) = large();
    let timeout = 10 * SHORT;
    let server = Serving::new(app, |serve| serve.stall_timeout(timeout)).await;
    let mut slow = server.say(&get_of("/large")).await;
    // In pieces with pauses, together longer than the timeout.
    let mut bytes = vec![0; LARGE_BYTES / 16];
    let mut count = 0;
    while count < LARGE_BYTES {
        within("some bytes come", slow.read_exact(&mut bytes)).await.unwrap();
        count += bytes.len();
        tokio::time::sleep(timeout / 10).await;
    }
}

#[tokio::test]
async fn who_sends_no_more_of_a_body_is_cut_off() {
    let (told, mut failed) = mpsc::unbounded_channel();
    let read = async move |body: Body| {
        let read = axum::body::to_bytes(body, 100).await;
        let _ = told.send(read.unwrap_err().to_string());
    };
    let app = Router::new().route("/", post(read));
    let server = Serving::new(app, |serve| serve.stall_timeout(SHORT)).await;
    let half = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello";
    let stalled = server.say(half).await;
    let error = within("the body is given up", failed.recv()).await.unwrap();
    assert!(error.contains("no further"), "{error}");
    // The answer is the application's; the connection can't be used again.
    assert!(all(stalled).await.starts_with("HTTP/1.1 200"));

    // And over HTTP/2, where others go on.
    let (mut client, connection) = h2::client::handshake(server.connect().await).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("http://{}/", server.address)).body(()).unwrap();
    let (_, mut body) = client.send_request(request, false).unwrap();
    body.send_data("hello".into(), false).unwrap();
    within("the body is given up", failed.recv()).await.unwrap();
    let request = Request::get(format!("http://{}/none", server.address))
        .body(())
        .unwrap();
    assert_eq!(
        client.send_request(request, true).unwrap().0.await.unwrap().status(),
        404
    );
}

/// A body that the test feeds.
fn fed() -> (Router, mpsc::UnboundedSender<&'static str>) {
    struct Fed(mpsc::UnboundedReceiver<&'static str>);

    impl hyper::body::Body for Fed {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            self.0
                .poll_recv(cx)
                .map(|text| text.map(|text| Ok(hyper::body::Frame::data(text.into()))))
        }
    }

    let (feed, food) = mpsc::unbounded_channel();
    let food = Arc::new(std::sync::Mutex::new(Some(food)));
    let app = Router::new().route(
        "/fed",
        any(move || std::future::ready(Body::new(Fed(food.lock().unwrap().take().unwrap())))),
    );
    (app, feed)
}

/// Waits until the server has cut off clients that stall for as long as the timeout, three times one after another.
async fn three_timeouts(server: &Serving, is_gone: &mut mpsc::UnboundedReceiver<()>) {
    for _ in 0..3 {
        let _stalled = server.say(&get_of("/large")).await;
        within("the answer is given up", is_gone.recv()).await.unwrap();
    }
}

#[tokio::test]
async fn streams_and_polls_with_nothing_to_send_are_left_alone() {
    let (large, mut is_gone) = large();
    let (fed, feed) = fed();
    let release = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&release);
    let poll = get(async move || {
        wait.acquire().await.unwrap().forget();
        "polled"
    });
    let app = large.merge(fed).route("/poll", poll);
    let server = Serving::new(app, |serve| serve.stall_timeout(SHORT)).await;

    let mut stream = server.say(&get_of("/fed")).await;
    let poll = server
        .say("GET /poll HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    let (mut client, connection) = h2::client::handshake(server.connect().await).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://{}/poll", server.address))
        .body(())
        .unwrap();
    let poll_of_http2 = client.send_request(request, true).unwrap().0;

    three_timeouts(&server, &mut is_gone).await;
    feed.send("event").unwrap();
    drop(feed);
    let mut text = Vec::new();
    let mut bytes = [0; 100];
    while !text.ends_with(b"0\r\n\r\n") {
        let count = within("the event comes", stream.read(&mut bytes)).await.unwrap();
        assert!(count > 0, "the stream was cut");
        text.extend_from_slice(&bytes[..count]);
    }
    assert!(String::from_utf8(text).unwrap().contains("event"));
    release.add_permits(2);
    assert!(all(poll).await.ends_with("polled"));
    assert_eq!(
        within("the poll is answered", poll_of_http2).await.unwrap().status(),
        200
    );
}

#[tokio::test]
async fn stalled_clients_do_not_hold_the_shutdown() {
    let (large, mut is_gone) = large();
    let read = async |body: Body| drop(axum::body::to_bytes(body, 100).await);
    let app = large.route("/", post(read));
    let server = Serving::new(app, |serve| serve.patience(LONG).stall_timeout(LONG).head_timeout(LONG)).await;
    let mut reader = server.say(&get_of("/large")).await;
    within("the answer begins", reader.read_exact(&mut [0; 1000]))
        .await
        .unwrap();
    let mut writer = server
        .say("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n")
        .await;
    within("the body is asked for", writer.read_exact(&mut [0; 25]))
        .await
        .unwrap();
    let _half_head = server.say("GET / HTTP/1.1\r\nHo").await;
    let (mut client, connection) = h2::client::handshake(server.connect().await).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get(format!("http://{}/large", server.address))
        .body(())
        .unwrap();
    let _answer = within("the answer begins", client.send_request(request, true).unwrap().0)
        .await
        .unwrap();

    within("the server ends", server.stop()).await.unwrap().unwrap();
    for _ in 0..2 {
        within("the answer is given up", is_gone.recv()).await.unwrap();
    }
    let _ = within("the connection is cut", connection).await.unwrap();
}

#[tokio::test]
async fn what_is_under_way_at_the_shutdown_may_end() {
    let (large, _) = large();
    let release = Arc::new(Notify::new());
    let wait = Arc::clone(&release);
    let (begun, mut has_begun) = mpsc::unbounded_channel();
    let app = large.route(
        "/slow",
        get(async move || {
            begun.send(()).unwrap();
            wait.notified().await;
            "done"
        }),
    );
    let server = Serving::new(app, |serve| serve.patience(LONG)).await;
    let slow = server.say(&get_of("/slow")).await;
    within("the request is under way", has_begun.recv()).await.unwrap();
    let mut download = server.say(&get_of("/large")).await;
    let mut bytes = vec![0; 4 << 20];
    within("the answer begins", download.read_exact(&mut bytes))
        .await
        .unwrap();

    let ended = server.stop();
    let mut count = bytes.len();
    while count < LARGE_BYTES {
        tokio::time::sleep(Duration::from_millis(10)).await;
        within("some bytes come", download.read_exact(&mut bytes))
            .await
            .unwrap();
        count += bytes.len();
    }
    drop(download);
    assert!(!ended.is_finished());
    release.notify_one();
    assert!(all(slow).await.ends_with("done"));
    within("the server ends", ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_with_nothing_to_send_does_not_hold_the_shutdown() {
    let (fed, feed) = fed();
    let server = Serving::new(fed, |serve| serve.patience(LONG)).await;
    let mut stream = server.say(&get_of("/fed")).await;
    feed.send("event").unwrap();
    within("the stream begins", stream.read_exact(&mut [0; 20]))
        .await
        .unwrap();
    within("the server ends", server.stop()).await.unwrap().unwrap();
    stream.write_all(b"x").await.ok();
    all(stream).await;
}

//! HTTP/2 without TLS, as a proxy speaks it: streams at once, limits, and what tells it from HTTP/1.1.

#![allow(clippy::unwrap_used, missing_docs)] // a test's panic is its failure

#[path = "support/serving.rs"]
mod serving;

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{any, get};
use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::{Request, Response};
use serving::{Serving, all, within};
use tidings::Tidings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A client and the task that drives its connection.
async fn client(server: &Serving) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let (client, connection) = h2::client::handshake(server.connect().await).await.unwrap();
    (client.ready().await.unwrap(), tokio::spawn(connection))
}

fn request(server: &Serving, path: &str) -> http::request::Builder {
    Request::builder().uri(format!("http://{}{path}", server.address))
}

fn ask(client: &mut SendRequest<Bytes>, request: http::request::Builder) -> h2::client::ResponseFuture {
    client.send_request(request.body(()).unwrap(), true).unwrap().0
}

async fn text(response: Response<RecvStream>) -> String {
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(chunk) = within("the body comes", body.data()).await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn streams_are_answered_as_they_are_ready() {
    let release = Arc::new(Notify::new());
    let wait = Arc::clone(&release);
    let app = Router::new()
        .route("/slow", get(async move || wait.notified().await))
        .route(
            "/fast",
            get(async |request: axum::extract::Request| format!("{:?}", request.version())),
        );
    let server = Serving::new(app, |serve| serve).await;
    let (mut client, _connection) = client(&server).await;
    let slow = ask(&mut client, request(&server, "/slow"));
    let fast = within("the second is answered", ask(&mut client, request(&server, "/fast")))
        .await
        .unwrap();
    assert_eq!(text(fast).await, "HTTP/2.0");
    release.notify_one();
    assert_eq!(within("the first is answered", slow).await.unwrap().status(), 200);
}

/// HTTP/2 has no `Host` header of its own, and pages of the own host must come in all the same.
#[tokio::test]
async fn polling_works_and_knows_its_own_host() {
    let io = Tidings::builder().build();
    let server = Serving::new(Router::new().merge(io.router()), |serve| serve).await;
    let (mut client, _connection) = client(&server).await;
    let path = "/socket.io/?EIO=4&transport=polling";
    let own = request(&server, path).header("origin", format!("http://{}", server.address));
    let response = ask(&mut client, own).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(text(response).await.starts_with("0{\"sid\":"));

    // The name in the target counts, not another one beside it.
    let foreign = "http://evil.example";
    let request = request(&server, path)
        .header("origin", foreign)
        .header("host", "evil.example");
    assert_eq!(ask(&mut client, request).await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_websocket_is_refused_and_the_connection_stays() {
    let io = Tidings::builder().build();
    let server = Serving::new(Router::new().merge(io.router()), |serve| serve).await;
    let (mut client, _connection) = client(&server).await;
    let websocket = request(&server, "/socket.io/?EIO=4&transport=websocket").header("sec-websocket-version", "13");
    assert_eq!(ask(&mut client, websocket).await.unwrap().status(), 400);
    let polling = request(&server, "/socket.io/?EIO=4&transport=polling");
    assert_eq!(ask(&mut client, polling).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_head_up_to_the_limit_passes_and_one_beyond_is_431() {
    let app = Router::new().route("/", any(async || "in"));
    let server = Serving::new(app, |serve| serve.head_bytes(16 << 10)).await;
    let (mut client, _connection) = client(&server).await;
    for (bytes, status) in [(15 << 10, 200), (17 << 10, 431)] {
        let request = request(&server, "/").header("x-long", "x".repeat(bytes));
        assert_eq!(ask(&mut client, request).await.unwrap().status(), status, "{bytes}");
    }
    // The connection goes on.
    assert_eq!(ask(&mut client, request(&server, "/")).await.unwrap().status(), 200);
}

/// A client that keeps to no rule: frames by hand (RFC 9113, section 4.1).
struct Raw(std::net::TcpStream);

const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

impl Raw {
    fn new(server: &Serving) -> Self {
        let mut stream = std::net::TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(serving::PATIENCE)).unwrap();
        stream.set_write_timeout(Some(serving::PATIENCE)).unwrap();
        stream.write_all(PREFACE).unwrap();
        let mut raw = Self(stream);
        raw.send(SETTINGS, 0, 0, &[]).unwrap();
        raw
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.0.write_all(&frame)
    }

    /// `GET http://x/`, whole: END_STREAM and END_HEADERS, and fields of the static table (RFC 7541, appendix A).
    fn ask(&mut self, stream: u32) -> std::io::Result<()> {
        self.send(1, 0x5, stream, &[0x82, 0x86, 0x84, 0x41, 1, b'x'])
    }

    /// The next frame of a kind: its stream and payload. Others are passed over.
    fn receive(&mut self, kind: u8) -> std::io::Result<(u32, Vec<u8>)> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head)?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut payload)?;
            if head[3] == kind {
                return Ok((u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload));
            }
        }
    }
}

#[tokio::test]
async fn who_takes_back_requests_as_fast_as_they_go_out_is_sent_away() {
    let app = Router::new().route("/", any(async || std::future::pending::<()>().await));
    let server = Serving::new(app, |serve| serve).await;
    let mut raw = Raw::new(&server);
    let goaway = tokio::task::spawn_blocking(move || {
        for stream in (1..).step_by(2).take(50_000) {
            let cancel = 8_u32.to_be_bytes();
            if raw
                .ask(stream)
                .and_then(|()| raw.send(RST_STREAM, 0, stream, &cancel))
                .is_err()
            {
                break; // the server has closed
            }
        }
        raw.receive(GOAWAY)
    });
    // Where the close overtakes the frame it is a reset, not a time-out: the server has closed.
    match within("the server has enough", goaway).await.unwrap() {
        Ok((_, payload)) => assert_eq!(payload[4..8], 11_u32.to_be_bytes(), "ENHANCE_YOUR_CALM"),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }

    // And others are served.
    let answer = all(server
        .say("GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await)
    .await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[tokio::test]
async fn at_most_128_streams_are_open_at_once() {
    let app = Router::new().route("/", any(async || std::future::pending::<()>().await));
    let server = Serving::new(app, |serve| serve).await;
    let mut raw = Raw::new(&server);
    let refused = tokio::task::spawn_blocking(move || {
        for stream in (1..).step_by(2).take(129) {
            raw.ask(stream).unwrap();
        }
        raw.receive(RST_STREAM).unwrap()
    });
    let refused = within("one is refused", refused).await.unwrap();
    assert_eq!(refused, (257, 7_u32.to_be_bytes().to_vec()), "REFUSED_STREAM");
}

/// `P` begins the preface of HTTP/2, and POST, and PUT: no byte is lost, wherever the segments are split.
#[tokio::test]
async fn what_begins_like_http2_and_is_http1_loses_no_byte() {
    let app = Router::new().route("/", any(async |body: String| body));
    let server = Serving::new(app, |serve| serve).await;
    for method in ["POST", "PRI", "P"] {
        let text = format!("{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
        for split in 1..26 {
            let mut stream = server.connect().await;
            stream.set_nodelay(true).unwrap();
            stream.write_all(&text.as_bytes()[..split]).await.unwrap();
            tokio::task::yield_now().await;
            stream.write_all(&text.as_bytes()[split..]).await.unwrap();
            let answer = all(stream).await;
            assert!(
                answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"),
                "{split} {answer}"
            );
        }
    }
}

#[tokio::test]
async fn a_preface_in_pieces_is_one() {
    let app = Router::new().route("/", any(async || "in"));
    let server = Serving::new(app, |serve| serve).await;
    for split in 1..PREFACE.len() {
        let mut stream = server.connect().await;
        stream.set_nodelay(true).unwrap();
        stream.write_all(&PREFACE[..split]).await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(&PREFACE[split..]).await.unwrap();
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap(); // empty SETTINGS
        let mut answer = [0; 9];
        within(
            "the server's settings",
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer),
        )
        .await
        .unwrap();
        assert_eq!(answer[3], 4, "{split}");
    }
}

#[tokio::test]
async fn a_preface_that_never_ends_is_cut_off() {
    let server = Serving::new(Router::new(), |serve| serve.head_timeout(Duration::from_millis(100))).await;
    for text in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        assert_eq!(all(server.say(text).await).await, "", "{text:?}");
    }
}

#[tokio::test]
async fn who_asks_for_nothing_is_sent_away_and_who_waits_for_an_answer_is_not() {
    let release = Arc::new(Notify::new());
    let wait = Arc::clone(&release);
    let app = Router::new()
        .route("/slow", get(async move || wait.notified().await))
        .route("/fast", get(async || "fast"));
    let idle = Duration::from_millis(200);
    let server = Serving::new(app, |serve| serve.head_timeout(idle)).await;
    // Neither who never asks, though it answers pings, nor who has been answered.
    let (_silent, ended) = client(&server).await;
    within("the silent one is sent away", ended).await.unwrap().unwrap();
    let (mut asking, ended) = client(&server).await;
    let fast = ask(&mut asking, request(&server, "/fast")).await.unwrap();
    assert_eq!(text(fast).await, "fast");
    within("the answered one is sent away", ended).await.unwrap().unwrap();

    let (mut waiting, ended) = client(&server).await;
    let slow = ask(&mut waiting, request(&server, "/slow"));
    tokio::time::sleep(4 * idle).await;
    release.notify_one();
    assert_eq!(within("it is answered", slow).await.unwrap().status(), 200);
    within("and then sent away", ended).await.unwrap().unwrap();

    // A head that never ends.
    let mut bytes = PREFACE.to_vec();
    bytes.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]); // SETTINGS
    bytes.extend([0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82]); // HEADERS without END_HEADERS
    let mut stream = server.connect().await;
    stream.write_all(&bytes).await.unwrap();
    within("it is closed", all(stream)).await;
}

#[tokio::test]
async fn an_address_has_so_many_connections_on_which_nothing_is_asked() {
    let release = Arc::new(Notify::new());
    let wait = Arc::clone(&release);
    let app = Router::new().route("/slow", get(async move || wait.notified().await));
    let server = Serving::new(app, |serve| serve.idle_per_address(3)).await;
    let head = format!("GET /slow HTTP/1.1\r\nhost: {}\r\n\r\n", server.address);
    // Requests under way are none, of either protocol.
    let mut busy = Vec::new();
    for _ in 0..5 {
        busy.push(server.say(&head).await);
        let (mut client, connection) = client(&server).await;
        let slow = ask(&mut client, request(&server, "/slow"));
        tokio::spawn(slow);
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(connection);
    }
    let mut idle = Vec::new();
    for text in ["", "G", "PRI * HTTP/2.0\r\n"] {
        idle.push(server.say(text).await);
    }
    let mut stream = server.connect().await;
    let mut byte = [0];
    let read = within("it is closed at once", stream.read(&mut byte)).await;
    assert!(matches!(read, Ok(0) | Err(_)));
    idle.pop();
    let mut stream = loop {
        // Until the server has seen that it is gone.
        let mut stream = server.say(&head).await;
        let read = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut byte)).await;
        if read.is_err() {
            break stream;
        }
    };
    for _ in 0..20 {
        release.notify_waiters();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(within("it is answered", stream.read(&mut byte)).await.unwrap(), 1);
}

#[tokio::test]
async fn tls_where_there_is_none_is_closed() {
    let server = Serving::new(Router::new(), |serve| serve).await;
    assert_eq!(all(server.say("\u{16}\u{3}\u{1}").await).await, "");
}

#[tokio::test]
async fn the_shutdown_waits_for_what_is_under_way_and_for_nothing_else() {
    let release = Arc::new(Notify::new());
    let wait = Arc::clone(&release);
    let app = Router::new().route(
        "/",
        get(async move || {
            wait.notified().await;
            "done"
        }),
    );
    let server = Serving::new(app, |serve| serve.patience(Duration::from_secs(3_600))).await;
    let (mut client, connection) = client(&server).await;
    let answer = ask(&mut client, request(&server, "/"));
    let (_idle, idle_connection) = self::client(&server).await;
    // It is under way when it is known to the handler.
    let ping = within("the request has arrived", async {
        let (mut other, connection) = h2::client::handshake(server.connect().await).await.unwrap();
        tokio::spawn(connection);
        ask(&mut other, request(&server, "/none")).await.unwrap()
    });
    assert_eq!(ping.await.status(), 404);
    let ended = server.stop();
    within("the idle one ends", idle_connection).await.unwrap().unwrap();
    release.notify_one();
    let answer = within("the answer comes", answer).await.unwrap();
    assert_eq!(text(answer).await, "done");
    drop(client);
    let _ = within("the connection ends", connection).await;
    within("the server ends", ended).await.unwrap().unwrap();
}

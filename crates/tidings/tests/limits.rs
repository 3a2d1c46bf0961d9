//! Every limit, at it and past it.

#![allow(clippy::unwrap_used, missing_docs)] // a test's panic is its failure

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use support::{Client, PATIENCE, blocking, eventually, serve};
use tidings::{Data, Io, Limits, RequestDecision, Socket, Tidings};

fn echo(io: &Io) {
    io.on_connect(async |socket: Socket| {
        socket.on("length", async |Data(text): Data<String>| Ok(text.len()));
        socket.on("count", async |event: tidings::Event| Ok(event.attachments().len()));
    });
}

/// One HTTP request on its own connection; the whole response.
fn request(address: SocketAddr, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let sent = format!("{head}\r\nHost: {address}\r\nConnection: close\r\n{length}\r\n{body}");
    // The server may answer, and close, before it has read all.
    let _ = stream.write_all(sent.as_bytes());
    let mut response = Vec::new();
    let _ = stream.read_to_end(&mut response);
    String::from_utf8_lossy(&response).into_owned()
}

fn get(address: SocketAddr, query: &str) -> String {
    request(
        address,
        &format!("GET /socket.io/?EIO=4&transport=polling{query} HTTP/1.1"),
        "",
    )
}

fn post(address: SocketAddr, sid: &str, body: &str) -> String {
    request(
        address,
        &format!("POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1"),
        body,
    )
}

/// Opens a polling session; its id.
fn open(address: SocketAddr) -> String {
    let response = get(address, "");
    let (_, rest) = response
        .split_once("\"sid\":\"")
        .unwrap_or_else(|| panic!("no handshake: {response}"));
    rest[..20].to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages() {
    let mut limits = Limits::default();
    limits.message_bytes = 10_000;
    let io = Tidings::builder().limits(limits).build();
    echo(&io);
    let address = serve(&io).await;
    blocking(move || {
        // `42777["length","…"]`: 19 bytes around the text.
        let around = "42777[\"length\",\"\"]".len();
        let mut client = Client::connect(address);
        client.send(&format!("42777[\"length\",\"{}\"]", "x".repeat(10_000 - around)));
        assert_eq!(client.receive(), format!("43777[{}]", 10_000 - around));
        client.send(&format!("42777[\"length\",\"{}\"]", "x".repeat(10_001 - around)));
        assert_eq!(client.closed(), Some(1009));

        let sid = open(address);
        assert!(post(address, &sid, "40").contains("200 OK"));
        let fits = format!("42[\"length\",\"{}\"]", "x".repeat(10_000 - around + 3));
        assert!(post(address, &sid, &fits).contains("200 OK"));
        let over = post(address, &sid, &format!("{fits}x"));
        assert!(over.starts_with("HTTP/1.1 413"), "{over}");
        assert!(
            get(address, &format!("&sid={sid}")).contains("40{\"sid\""),
            "the session is still there"
        );
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attachments_and_namespaces() {
    let mut limits = Limits::default();
    limits.namespaces = 3;
    let io = Tidings::builder().limits(limits).build();
    echo(&io);
    let _children = io.of("/n{number}");
    let address = serve(&io).await;
    blocking(move || {
        let mut client = Client::connect(address);
        client.send("4510-77[\"count\"]");
        for _ in 0..10 {
            client.socket.send(tungstenite::Message::binary(vec![1_u8, 2])).unwrap();
        }
        assert_eq!(client.receive(), "4377[10]");
        for number in 1..=2 {
            client.send(&format!("40/n{number},"));
            assert!(client.receive().starts_with(&format!("40/n{number},{{\"sid\"")));
        }
        client.send("40/n3,");
        let refused = client.receive();
        assert!(
            refused.starts_with("44/n3,") && refused.contains("too_many_channels"),
            "{refused}"
        );
        client.send("4511-77[\"count\"]");
        assert_eq!(client.closed(), None, "one attachment too many closes");
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_in_all_and_of_one_address() {
    for per_ip in [false, true] {
        let mut limits = Limits::default();
        if per_ip {
            limits.connections_per_ip = 2;
        } else {
            limits.connections = 2;
        }
        let io = Tidings::builder().limits(limits).build();
        let address = serve(&io).await;
        let first = blocking(move || {
            let first = Client::connect(address);
            let _second = open(address);
            let refused = get(address, "");
            assert!(
                refused.starts_with("HTTP/1.1 429") && refused.contains("too_many_connections"),
                "{refused}"
            );
            first
        })
        .await;
        drop(first);
        eventually("its place is free", || io.counts().connections == 1).await;
        blocking(move || drop(Client::connect(address))).await;
        io.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate() {
    let mut limits = Limits::default();
    limits.messages_per_second = 1;
    limits.messages_burst = 5;
    let io = Tidings::builder().limits(limits).build();
    echo(&io);
    let address = serve(&io).await;
    blocking(move || {
        let mut client = Client::connect(address);
        for _ in 0..5 {
            assert_eq!(client.ask("[\"length\",\"x\"]"), "[1]");
        }
        assert!(client.ask("[\"length\",\"x\"]").contains("rate_limited"));
        client.send("42[\"length\",\"x\"]");
        assert!(
            client
                .receive()
                .starts_with("42[\"tidings:error\",{\"code\":\"rate_limited\"")
        );
    })
    .await;
    blocking(move || {
        let mut client = Client::connect(address);
        for _ in 0..6 {
            client.send("40/nobody,");
        }
        assert_eq!(client.closed(), Some(4429), "a flood of CONNECTs is one too");
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads() {
    let io = Tidings::builder().build();
    let address = serve(&io).await;
    blocking(move || {
        let head = |bytes: usize| {
            format!(
                "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nX-Filler: {}",
                "x".repeat(bytes)
            )
        };
        assert!(request(address, &head(15_000), "").starts_with("HTTP/1.1 200"));
        let over = request(address, &head(20_000), "");
        assert!(over.starts_with("HTTP/1.1 431"), "{over:.100}");
        let many = (0..2_000).map(|i| format!("\r\nX-{i}: 1")).collect::<String>();
        let over = request(
            address,
            &format!("GET /socket.io/?EIO=4&transport=polling HTTP/1.1{many}"),
            "",
        );
        assert!(over.starts_with("HTTP/1.1 431"), "{over:.100}");
    })
    .await;
    io.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn origins_and_requests_are_refused_alike_on_both_transports() {
    let io = Tidings::builder()
        .allowed_origin("https://app.example")
        .allow_request(|request| match request.query("refuse") {
            Some(message) => RequestDecision::Refuse(message),
            None => RequestDecision::Allow,
        })
        .build();
    let address = serve(&io).await;
    blocking(move || {
        let upgrade = "\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        for (transport, further) in [("polling", ""), ("websocket", upgrade)] {
            let head = |query: &str, origin: &str| format!("GET /socket.io/?EIO=4&transport={transport}{query} HTTP/1.1\r\nOrigin: {origin}{further}");
            let refused = request(address, &head("", "https://evil.example"), "");
            assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("https://evil.example") && refused.contains("allowed_origin"), "{refused}");
            let refused = request(address, &head("&refuse=because", "https://app.example"), "");
            assert!(refused.starts_with("HTTP/1.1 403") && refused.contains("because"), "{refused}");
        }
        let allowed = request(address, "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nOrigin: https://app.example", "");
        assert!(allowed.contains("access-control-allow-origin: https://app.example"), "{allowed}");
        let preflight = "OPTIONS /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nOrigin: https://app.example\r\nAccess-Control-Request-Method: POST";
        assert!(request(address, preflight, "").starts_with("HTTP/1.1 204"));
    })
    .await;
    io.close().await;
}

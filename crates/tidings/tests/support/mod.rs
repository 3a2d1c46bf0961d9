//! A server on a free port and a raw Socket.IO client over a WebSocket, for tests that look at the wire. [`plain`] are the
//! clients without Socket.IO.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each test file uses some of it

pub(crate) mod plain;
pub(crate) mod random;

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tidings::Io;
use tungstenite::{Message, WebSocket};

/// No answer takes so long, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn serve(io: &Io) -> SocketAddr {
    serve_with(io, axum::Router::new()).await
}

/// With routes of the application's own.
pub(crate) async fn serve_with(io: &Io, routes: axum::Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = routes.merge(io.router()).merge(io.channel_router());
    tokio::spawn(async move { tidings::serve(listener, app).await });
    address
}

/// Seen from a client: `{"sid":…}` of a CONNECT, and what came before it.
#[derive(Debug, Clone)]
pub(crate) struct Entered {
    pub(crate) sid: String,
    pub(crate) pid: Option<String>,
    pub(crate) before: Vec<String>,
}

impl Entered {
    /// Reads packets until the CONNECT of a namespace.
    fn read(namespace: &str, mut receive: impl FnMut() -> String) -> Self {
        let prefix = match namespace {
            "/" => "40".to_owned(),
            _ => format!("40{namespace},"),
        };
        let mut before = Vec::new();
        loop {
            let packet = receive();
            assert!(!packet.starts_with("44"), "refused: {packet}");
            if let Some(json) = packet.strip_prefix(&prefix)
                && let Ok(answer) = serde_json::from_str::<serde_json::Value>(json)
            {
                return Self {
                    sid: answer["sid"].as_str().unwrap().to_owned(),
                    pid: answer["pid"].as_str().map(str::to_owned),
                    before,
                };
            }
            before.push(packet);
        }
    }
}

/// A CONNECT with an `auth` payload.
pub(crate) fn connect_packet(namespace: &str, auth: &serde_json::Value) -> String {
    match namespace {
        "/" => format!("40{auth}"),
        _ => format!("40{namespace},{auth}"),
    }
}

pub(crate) struct Client {
    pub(crate) socket: WebSocket<TcpStream>,
    pub(crate) id: String,
}

impl Client {
    /// Opens a WebSocket and enters `/`.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let mut client = Self::open(address);
        client.send("40");
        let answer = client.receive();
        let sid = answer
            .strip_prefix("40{\"sid\":\"")
            .and_then(|rest| rest.strip_suffix("\"}"));
        client.id = sid.unwrap_or_else(|| panic!("not a CONNECT: {answer}")).to_owned();
        client
    }

    /// Opens a WebSocket; the Engine.IO handshake is read.
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let (socket, _) = tungstenite::client(url, stream).unwrap();
        let mut client = Self {
            socket,
            id: String::new(),
        };
        assert!(client.receive().starts_with("0{"));
        client
    }

    /// Opens a WebSocket and enters a namespace with an `auth` payload.
    pub(crate) fn enter(address: SocketAddr, namespace: &str, auth: &serde_json::Value) -> (Self, Entered) {
        let mut client = Self::open(address);
        client.send(&connect_packet(namespace, auth));
        let entered = Entered::read(namespace, || client.receive());
        client.id.clone_from(&entered.sid);
        (client, entered)
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    /// The next text; pings are answered.
    pub(crate) fn receive(&mut self) -> String {
        loop {
            match self.socket.read().unwrap() {
                Message::Text(text) if text.as_str() == "2" => self.send("3"),
                Message::Text(text) => return text.as_str().to_owned(),
                _ => {}
            }
        }
    }

    /// Sends an event and waits for its ack; what else comes meanwhile is dropped.
    pub(crate) fn ask(&mut self, event: &str) -> String {
        self.send(&format!("4277{event}"));
        loop {
            if let Some(answer) = self.receive().strip_prefix("4377") {
                return answer.to_owned();
            }
        }
    }

    /// Reads until the server closes; the close code if there was one.
    pub(crate) fn closed(mut self) -> Option<u16> {
        loop {
            match self.socket.read() {
                Ok(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("the server did not close")
                }
                Err(_) => return None,
            }
        }
    }
}

/// A raw Socket.IO client over HTTP long-polling.
pub(crate) struct Polling {
    address: SocketAddr,
    pub(crate) session: String,
    waiting: std::collections::VecDeque<String>,
}

impl Polling {
    pub(crate) fn enter(address: SocketAddr, namespace: &str, auth: &serde_json::Value) -> (Self, Entered) {
        let opened = plain::get(address, "/socket.io/?EIO=4&transport=polling", &[]);
        let handshake: serde_json::Value = serde_json::from_str(opened.body.strip_prefix('0').unwrap()).unwrap();
        let mut client = Self {
            address,
            session: handshake["sid"].as_str().unwrap().to_owned(),
            waiting: std::collections::VecDeque::new(),
        };
        client.send(&connect_packet(namespace, auth));
        let entered = Entered::read(namespace, || client.receive());
        (client, entered)
    }

    pub(crate) fn path(&self) -> String {
        format!("/socket.io/?EIO=4&transport=polling&sid={}", self.session)
    }

    pub(crate) fn send(&self, packets: &str) {
        let answer = plain::request(self.address, "POST", &self.path(), &[], packets);
        assert_eq!(answer.body, "ok", "{answer:?}");
    }

    /// Ends the transport, which is not yet the end of the sockets.
    pub(crate) fn close(&self) {
        self.send("1");
    }

    /// The next packet; pings are answered.
    pub(crate) fn receive(&mut self) -> String {
        loop {
            match self.waiting.pop_front() {
                Some(packet) if packet == "2" => self.send("3"),
                Some(packet) => return packet,
                None => {
                    let payload = plain::get(self.address, &self.path(), &[]);
                    assert_eq!(payload.status, 200, "{payload:?}");
                    self.waiting.extend(payload.body.split('\x1e').map(str::to_owned));
                }
            }
        }
    }
}

/// Resident memory of this process, in KiB.
pub(crate) fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How often clients come and go where a test looks for what they leave: `TIDINGS_CYCLES`, or this.
pub(crate) fn cycles(otherwise: usize) -> usize {
    let given = std::env::var("TIDINGS_CYCLES").ok();
    given.map_or(otherwise, |count| count.parse().unwrap())
}

/// Waits for a condition that nothing announces.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs what blocks beside the server.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

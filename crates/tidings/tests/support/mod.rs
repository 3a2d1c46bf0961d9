//! A server on a free port and a raw Socket.IO client over a WebSocket, for tests that look at the wire.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each test file uses some of it

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tidings::Io;
use tungstenite::{Message, WebSocket};

/// No answer takes so long, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn serve(io: &Io) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::Router::new().merge(io.router());
    tokio::spawn(async move { tidings::serve(listener, app).await });
    address
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

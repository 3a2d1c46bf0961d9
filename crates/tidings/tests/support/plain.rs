//! Clients without Socket.IO, as raw as can be: HTTP requests, an EventSource, a plain WebSocket.

use std::io::{BufRead as _, BufReader, ErrorKind, Read, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Message, WebSocket};

use super::PATIENCE;

type Header<'a> = (&'a str, &'a str);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// Checks that it is a problem document (RFC 9457) with the status of its code.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status, self.header("content-type")),
            (status, Some("application/problem+json")),
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status)));
        assert!(
            !problem["detail"].as_str().unwrap().is_empty() && !problem["title"].as_str().unwrap().is_empty(),
            "{problem}"
        );
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}

fn status(head: &str) -> u16 {
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no HTTP: {head:?}"))
}

/// Sends a request on a connection of its own.
pub(crate) fn start(address: SocketAddr, method: &str, path: &str, headers: &[Header<'_>], body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        request += &format!("Content-Length: {}\r\n", body.len());
    }
    // The server may answer, and close, before it has read all.
    let _ = stream.write_all(format!("{request}\r\n{body}").as_bytes());
    stream
}

/// Reads the answer to its end.
pub(crate) fn finish(mut stream: TcpStream) -> Answer {
    let mut response = Vec::new();
    stream.read_to_end(&mut response).unwrap();
    let response = String::from_utf8(response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    Answer {
        status: status(head),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

pub(crate) fn request(address: SocketAddr, method: &str, path: &str, headers: &[Header<'_>], body: &str) -> Answer {
    finish(start(address, method, path, headers, body))
}

pub(crate) fn get(address: SocketAddr, path: &str, headers: &[Header<'_>]) -> Answer {
    request(address, "GET", path, headers, "")
}

/// The seq of an id.
pub(crate) fn seq(id: &str) -> u64 {
    let (_, seq) = id.split_once('-').unwrap_or_else(|| panic!("no id: {id:?}"));
    seq.parse().unwrap_or_else(|_| panic!("no id: {id:?}"))
}

/// The id of an event of this server.
pub(crate) fn id(io: &tidings::Io, seq: u64) -> String {
    let cursor = io.cursor().to_string();
    let (epoch, _) = cursor.split_once('-').unwrap();
    format!("{epoch}-{seq}")
}

/// `channel=a&channel=b`.
pub(crate) fn channels_query(channels: &[impl AsRef<str>]) -> String {
    let channels = channels.iter().map(|channel| format!("channel={}", channel.as_ref()));
    channels.collect::<Vec<_>>().join("&")
}

// Server-sent events

/// What an EventSource finds between two empty lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) id: Option<String>,
    pub(crate) event: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) retry: Option<u64>,
}

impl Block {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.data.as_deref().unwrap()).unwrap()
    }
}

pub(crate) struct EventSource {
    reader: BufReader<Body>,
    head: String,
    /// As the browser's `lastEventId`.
    pub(crate) last_id: String,
}

impl EventSource {
    pub(crate) fn open(address: SocketAddr, path: &str, headers: &[Header<'_>]) -> Self {
        let mut reader = BufReader::new(start(address, "GET", path, headers, ""));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "no answer: {head}");
        }
        assert_eq!(status(&head), 200, "{head}");
        assert_eq!(header(&head, "content-type"), Some("text/event-stream"));
        // An answer that is over at once has a length, one that goes on comes in chunks or ends with its connection.
        let length = header(&head, "content-length").map(|length| length.parse().unwrap());
        let is_chunked = header(&head, "transfer-encoding") == Some("chunked");
        Self {
            reader: BufReader::new(Body {
                reader,
                is_chunked,
                left: length.unwrap_or(if is_chunked { 0 } else { usize::MAX }),
            }),
            head,
            last_id: String::new(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// The next block; none when the stream is over.
    pub(crate) fn block(&mut self) -> Option<Block> {
        let mut block = Block::default();
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            let line = line.strip_suffix('\n').unwrap();
            assert!(!line.contains('\r'), "{line:?}");
            if line.is_empty() {
                if let Some(id) = &block.id {
                    self.last_id.clone_from(id);
                }
                return Some(block);
            }
            let (field, value) = line.split_once(':').unwrap();
            let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
            match field {
                "id" => block.id = Some(value),
                "event" => block.event = Some(value),
                "data" => match &mut block.data {
                    Some(data) => *data += &format!("\n{value}"),
                    None => block.data = Some(value),
                },
                "retry" => block.retry = Some(value.parse().unwrap()),
                other => panic!("the field {other:?}"),
            }
        }
    }

    /// The next block with data.
    pub(crate) fn event(&mut self) -> Option<Block> {
        loop {
            match self.block() {
                Some(block) if block.data.is_none() => {}
                block => return block,
            }
        }
    }

    /// Reads the stream to its end; what it said when to come back.
    pub(crate) fn end(mut self) -> (Vec<Block>, Option<u64>) {
        let blocks: Vec<Block> = std::iter::from_fn(|| self.block()).collect();
        let retry = blocks.last().and_then(|block| block.retry);
        (blocks, retry)
    }
}

/// The body of an answer, out of its chunks (RFC 9112 section 7.1) where it comes in some.
struct Body {
    reader: BufReader<TcpStream>,
    is_chunked: bool,
    left: usize,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 && self.is_chunked {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            self.left = usize::from_str_radix(line.trim_end(), 16)
                .map_err(|_| std::io::Error::new(ErrorKind::UnexpectedEof, format!("no chunk: {line:?}")))?;
        }
        if self.left == 0 {
            return Ok(0);
        }
        let max = self.left.min(buffer.len());
        let read = self.reader.read(&mut buffer[..max])?;
        self.left -= read;
        if self.left == 0 && self.is_chunked {
            self.reader.read_line(&mut String::new())?;
        }
        Ok(read)
    }
}

// Plain WebSockets

pub(crate) struct Ws {
    pub(crate) socket: WebSocket<TcpStream>,
    requests: u64,
}

impl Ws {
    /// Opens `/ws` with this query (`""`, `"?access_token=ann"`).
    pub(crate) fn open(address: SocketAddr, query: &str) -> Self {
        Self::try_open(address, query, &[]).unwrap()
    }

    /// The status where it is no WebSocket that comes.
    pub(crate) fn try_open(address: SocketAddr, query: &str, headers: &[Header<'_>]) -> Result<Self, u16> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = format!("ws://{address}/ws{query}").into_client_request().unwrap();
        for (name, value) in headers {
            let name: axum::http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Self { socket, requests: 0 }),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                Err(response.status().as_u16())
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Opens it and reads the welcome.
    pub(crate) fn enter(address: SocketAddr, query: &str) -> Self {
        let mut ws = Self::open(address, query);
        let welcome = ws.receive();
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        ws
    }

    pub(crate) fn send(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).unwrap();
    }

    /// The next message.
    pub(crate) fn receive(&mut self) -> Value {
        match self.next() {
            Ok(message) => message,
            Err(code) => panic!("closed with {code:?}"),
        }
    }

    /// The next message, or the code with which the server closed.
    pub(crate) fn next(&mut self) -> Result<Value, Option<u16>> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Ok(serde_json::from_str(text.as_str()).unwrap()),
                Ok(Message::Close(frame)) => return Err(frame.map(|frame| frame.code.into())),
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("nothing came for {PATIENCE:?}")
                }
                Err(_) => return Err(None),
            }
        }
    }

    /// Sends a request and waits for its answer: the result, or the code of the error. What else comes meanwhile is dropped.
    pub(crate) fn ask(&mut self, mut request: Value) -> Result<Value, String> {
        self.requests += 1;
        request["id"] = json!(self.requests);
        self.send(&request);
        loop {
            let mut answer = self.receive();
            if answer["id"] != request["id"] {
                continue;
            }
            match answer["type"].as_str() {
                Some("ok") => return Ok(answer["result"].take()),
                Some("error") => return Err(answer["code"].as_str().unwrap().to_owned()),
                _ => {}
            }
        }
    }

    pub(crate) fn subscribe(&mut self, channels: &[&str], since: Option<&str>) -> Result<Value, String> {
        let mut request = json!({ "type": "subscribe", "channels": channels });
        if let Some(since) = since {
            request["since"] = json!(since);
        }
        self.ask(request)
    }

    /// Reads until the server closes: what came, and the code.
    pub(crate) fn end(mut self) -> (Vec<Value>, Option<u16>) {
        let mut messages = Vec::new();
        loop {
            match self.next() {
                Ok(message) => messages.push(message),
                Err(code) => return (messages, code),
            }
        }
    }
}

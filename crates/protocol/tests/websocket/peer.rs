//! tungstenite at the other end of a wire in memory, and the comparison with it.

use std::collections::VecDeque;
use std::io;

use tidings_protocol::websocket::Error;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

use crate::client::{Said, hear, pieces};

/// What is written goes nowhere; what is read are the pieces, one a call.
pub(crate) struct Wire(VecDeque<Vec<u8>>);

impl io::Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(mut piece) = self.0.pop_front() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let bytes = piece.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&piece[..bytes]);
        if bytes < piece.len() {
            self.0.push_front(piece.split_off(bytes));
        }
        Ok(bytes)
    }
}

impl io::Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream of messages as tungstenite understands it.
pub(crate) struct Peer(WebSocket<Wire>);

#[derive(Debug)]
pub(crate) enum Next {
    Said(Said),
    /// More bytes are needed.
    Pending,
    Failed(tungstenite::Error),
}

impl Peer {
    /// A peer that reads `bytes` in pieces of the `sizes`.
    pub(crate) fn new(role: Role, bytes: &[u8], sizes: &[usize], message_bytes_max: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(4096)
            .max_frame_size(Some(message_bytes_max))
            .max_message_size(Some(message_bytes_max));
        let wire = Wire(pieces(bytes, sizes).map(<[u8]>::to_vec).collect());
        Self(WebSocket::from_raw_socket(wire, role, Some(config)))
    }

    pub(crate) fn next(&mut self) -> Next {
        match self.0.read() {
            Ok(message) => Next::Said(match message {
                Message::Text(text) => Said::Text(text.as_str().to_owned()),
                Message::Binary(bytes) => Said::Binary(bytes.to_vec()),
                Message::Ping(bytes) => Said::Ping(bytes.to_vec()),
                Message::Pong(bytes) => Said::Pong(bytes.to_vec()),
                Message::Close(None) => Said::Close(None, String::new()),
                Message::Close(Some(close)) => Said::Close(Some(close.code.into()), close.reason.as_str().to_owned()),
                Message::Frame(frame) => panic!("a raw frame: {frame}"),
            }),
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Next::Pending,
            Err(error) => Next::Failed(error),
        }
    }

    fn feed(&mut self, byte: u8) {
        self.0.get_mut().0.push_back(vec![byte]);
    }
}

/// How tungstenite reports a close code that may not be sent: as a message that says so.
fn is_invalid_close(said: &Said) -> bool {
    matches!(said, Said::Close(Some(code), reason)
        if *code == u16::from(CloseCode::Protocol) && reason == "Protocol violation")
}

/// Both read `bytes` as a server, we in `our_sizes`, tungstenite in `their_sizes`: the same messages, and both fail or neither.
///
/// There are three differences, and only these pass: close code 1014, which tungstenite doesn't know; how a wrong close code is
/// reported; and that tungstenite waits for the end of a frame before it says what is wrong with it.
pub(crate) fn compare(bytes: &[u8], our_sizes: &[usize], their_sizes: &[usize], message_bytes_max: usize) {
    // tungstenite counts control frames too.
    assert!(message_bytes_max >= 125);
    let ours = hear(bytes, our_sizes, message_bytes_max);
    let mut peer = Peer::new(Role::Server, bytes, their_sizes, message_bytes_max);
    for said in &ours.said {
        match peer.next() {
            Next::Said(theirs) if theirs == *said => {}
            Next::Said(theirs) if is_invalid_close(&theirs) && matches!(said, Said::Close(Some(1014), _)) => {}
            other => panic!("we hear {said:?}, tungstenite {other:?}"),
        }
        if matches!(said, Said::Close(..)) {
            return;
        }
    }
    let Some(error) = ours.error else {
        match peer.next() {
            Next::Pending => return,
            Next::Said(said) => panic!("we want more, tungstenite hears {said:?}"),
            Next::Failed(error) => panic!("we want more, tungstenite fails with {error}"),
        }
    };
    // Two bytes of header could claim 64 KiB.
    for _ in 0..message_bytes_max.max(0xffff) + 20 {
        match peer.next() {
            Next::Pending => peer.feed(0),
            Next::Failed(_) => return,
            Next::Said(theirs) if is_invalid_close(&theirs) && matches!(error, Error::InvalidCloseCode(_)) => {
                return;
            }
            Next::Said(theirs) => panic!("we fail with {error:?}, tungstenite hears {theirs:?}"),
        }
    }
    panic!("we fail with {error:?}, tungstenite waits on");
}

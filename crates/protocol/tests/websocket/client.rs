//! The client's side: masked frames, and the decoder fed with them piece by piece.

use tidings_protocol::websocket::{Decoder, Error, Message};

pub(crate) const FIN: u8 = 0x80;
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// As how many bytes a length is written; more than needed is not how it should be, but understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LengthForm {
    Shortest,
    Two,
    Eight,
}

/// A client's frame. `first` is FIN, the reserved bits and the opcode.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    frame_as(first, payload, [0x37, 0xfa, 0x21, 0x3d], LengthForm::Shortest)
}

pub(crate) fn frame_as(first: u8, payload: &[u8], mask: [u8; 4], form: LengthForm) -> Vec<u8> {
    let mut out = vec![first];
    match (form, payload.len()) {
        (LengthForm::Shortest, bytes @ 0..126) => out.push(0x80 | bytes as u8),
        (LengthForm::Shortest | LengthForm::Two, bytes @ 0..0x1_0000) => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(bytes as u16).to_be_bytes());
        }
        (_, bytes) => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(bytes as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]));
    out
}

pub(crate) fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}

/// A [`Message`] that owns what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

impl From<Message<'_>> for Said {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.to_owned()),
            Message::Binary(bytes) => Self::Binary(bytes.to_owned()),
            Message::Ping(bytes) => Self::Ping(bytes.to_owned()),
            Message::Pong(bytes) => Self::Pong(bytes.to_owned()),
            Message::Close { code, reason } => Self::Close(code, reason.to_owned()),
        }
    }
}

/// What came of a stream of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) said: Vec<Said>,
    pub(crate) error: Option<Error>,
    /// What was kept at the end.
    pub(crate) buffered_bytes: usize,
}

/// Cuts `bytes` into pieces of the `sizes`, again and again.
pub(crate) fn pieces<'a>(mut bytes: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut sizes = sizes.iter().cycle();
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let size = sizes.next().map_or(bytes.len(), |&size| size.clamp(1, bytes.len()));
        let (piece, rest) = bytes.split_at(size);
        bytes = rest;
        Some(piece)
    })
}

/// Feeds a decoder with `bytes` in pieces of the `sizes`, and checks what has to hold for any bytes at all.
pub(crate) fn hear(bytes: &[u8], sizes: &[usize], message_bytes_max: usize) -> Heard {
    let mut decoder = Decoder::new();
    let mut heard = Heard {
        said: Vec::new(),
        error: None,
        buffered_bytes: 0,
    };
    let mut has_ended = false;
    let mut received_bytes = 0;
    for piece in pieces(bytes, sizes) {
        let mut read = piece.to_vec();
        let mut input = &mut read[..];
        received_bytes += piece.len();
        loop {
            match decoder.next(&mut input, message_bytes_max) {
                Ok(None) => break,
                Ok(Some(message)) => {
                    assert!(!has_ended, "{message:?} after the end");
                    has_ended = matches!(message, Message::Close { .. });
                    heard.said.push(message.into());
                }
                Err(error) => {
                    assert!(!has_ended, "{error:?} after the end");
                    has_ended = true;
                    heard.error = Some(error);
                }
            }
        }
        assert!(input.is_empty(), "{} bytes are left", input.len());
        heard.buffered_bytes = decoder.buffered_bytes();
        // A header without its last byte, a message at the limit, a ping without its last byte.
        assert!(
            heard.buffered_bytes <= message_bytes_max.saturating_add(13 + 124).min(received_bytes),
            "{}",
            heard.buffered_bytes
        );
    }
    heard
}

//! Engine.IO v4: the packets under Socket.IO, and the payloads that carry several of them over HTTP long-polling.
//!
//! A packet is one character for its [`PacketType`] and then its data. Over a WebSocket each text frame is one packet
//! ([`decode_packet`]), and a binary frame is the data of a message, without a type. Over HTTP the packets of a body
//! are joined by [`RECORD_SEPARATOR`], and bytes travel as `b` and base64 ([`decode_payload`], [`encode_binary`]).
//!
//! Source: the Engine.IO protocol, revision 4 (<https://socket.io/docs/v4/engine-io-protocol/>), sections "Packet
//! encoding" and "Handshake"; what it leaves open is as npm's `engine.io-parser` 5.2.3 does it.
//!
//! ```
//! use tidings_protocol::engineio::{PacketType, PayloadPacket, decode_payload};
//!
//! let packets: Vec<_> = decode_payload("4hello\u{1e}bAQID\u{1e}3").collect::<Result<_, _>>()?;
//! assert_eq!(packets, [
//!     PayloadPacket::Text(PacketType::Message, "hello"),
//!     PayloadPacket::Binary(vec![1, 2, 3]),
//!     PayloadPacket::Text(PacketType::Pong, ""),
//! ]);
//! # Ok::<(), tidings_protocol::engineio::Error>(())
//! ```

mod base64;

use std::iter;

/// What stands between two packets of a polling payload.
///
/// JSON has to escape this character and base64 has no use for it, and [`socketio`](crate::socketio) allows none in a
/// namespace: so Socket.IO's packets never contain it.
pub const RECORD_SEPARATOR: u8 = 0x1e;

/// What a packet is for: its first character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketType {
    /// `0`, the server's handshake.
    Open,
    /// `1`, the end of the session.
    Close,
    /// `2`, the server's heartbeat (and the client's probe during an upgrade).
    Ping,
    /// `3`, its answer.
    Pong,
    /// `4`, what the layer above sends.
    Message,
    /// `5`, the client's word that its next packets come over the probed transport.
    Upgrade,
    /// `6`, nothing; it ends a pending poll.
    Noop,
}

impl PacketType {
    /// The character on the wire, `b'0'` to `b'6'`.
    pub const fn as_byte(self) -> u8 {
        match self {
            Self::Open => b'0',
            Self::Close => b'1',
            Self::Ping => b'2',
            Self::Pong => b'3',
            Self::Message => b'4',
            Self::Upgrade => b'5',
            Self::Noop => b'6',
        }
    }

    /// The type that a character on the wire stands for; nothing for one that is none.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            b'0' => Self::Open,
            b'1' => Self::Close,
            b'2' => Self::Ping,
            b'3' => Self::Pong,
            b'4' => Self::Message,
            b'5' => Self::Upgrade,
            b'6' => Self::Noop,
            _ => return None,
        })
    }
}

/// Why a packet cannot be read. The reference answers either by closing the session with `parse error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not even a type: an empty text frame, an empty body, or two separators in a row.
    #[error("an Engine.IO packet needs at least its type")]
    Empty,
    /// The first character is none of `0` to `6`.
    #[error("an Engine.IO packet cannot begin with {0:?}")]
    UnknownType(char),
}

/// Reads a packet that is text: its type and its data.
///
/// # Errors
/// [`Error`] for an empty packet or an unknown type. `b`, which begins base64, is unknown here: where a client may send
/// that, use [`decode_packet`].
///
/// ```
/// use tidings_protocol::engineio::{PacketType, decode};
/// assert_eq!(decode("2probe"), Ok((PacketType::Ping, "probe")));
/// ```
pub fn decode(text: &str) -> Result<(PacketType, &str), Error> {
    let first = text.chars().next().ok_or(Error::Empty)?;
    let kind = text
        .bytes()
        .next()
        .and_then(PacketType::from_byte)
        .ok_or(Error::UnknownType(first))?;
    // A known type is one byte long.
    Ok((kind, &text[1..]))
}

/// A packet as text can carry it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadPacket<'a> {
    /// A packet with its type and data.
    Text(PacketType, &'a str),
    /// A message of bytes, sent as base64.
    Binary(Vec<u8>),
}

/// Reads a packet that is text, or bytes as `b` and base64.
///
/// That is one record of a polling payload, and a text frame of a WebSocket too: a stock client with `forceBase64`
/// sends its bytes so there. The base64 is read as leniently as Node reads it: other characters are skipped, the
/// URL-safe alphabet counts, padding may be absent, `=` ends it. There is no base64 that is an error.
///
/// # Errors
/// [`Error`] for an empty packet or an unknown type.
///
/// ```
/// use tidings_protocol::engineio::{PayloadPacket, decode_packet};
/// assert_eq!(decode_packet("b-_8")?, PayloadPacket::Binary(vec![0xfb, 0xff]));
/// # Ok::<(), tidings_protocol::engineio::Error>(())
/// ```
pub fn decode_packet(text: &str) -> Result<PayloadPacket<'_>, Error> {
    if let Some(text) = text.strip_prefix('b') {
        return Ok(PayloadPacket::Binary(base64::decode(text)));
    }
    decode(text).map(|(kind, data)| PayloadPacket::Text(kind, data))
}

/// Reads the packets of an HTTP body, in order.
///
/// The caller makes the body valid UTF-8 first (the reference replaces what is not by U+FFFD). An error is the last
/// item: what stood before it counts, what stands behind it does not. An empty body is one [`Error::Empty`], and so is
/// the end of a body that ends with a separator.
pub fn decode_payload(body: &str) -> impl Iterator<Item = Result<PayloadPacket<'_>, Error>> {
    let mut records = Some(body.split(char::from(RECORD_SEPARATOR)));
    iter::from_fn(move || {
        let packet = decode_packet(records.as_mut()?.next()?);
        if packet.is_err() {
            records = None;
        }
        Some(packet)
    })
}

/// A message of bytes as polling carries it: `b` and standard base64 with padding.
///
/// ```
/// assert_eq!(tidings_protocol::engineio::encode_binary(&[1, 2, 3, 4]), "bAQIDBA==");
/// ```
pub fn encode_binary(bytes: &[u8]) -> String {
    base64::encode(bytes)
}

/// What the server says first: the session's id and how it wants to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake<'a> {
    /// The session's id, which authorises its HTTP requests: a secret.
    pub sid: &'a str,
    /// The transports to which the client may upgrade.
    pub upgrades: &'a [&'a str],
    /// Milliseconds between two pings of the server.
    pub ping_interval_ms: u64,
    /// Milliseconds within which the client answers a ping.
    pub ping_timeout_ms: u64,
    /// The largest message and the largest body that the server takes, in bytes.
    pub max_payload_bytes: usize,
}

impl Handshake<'_> {
    /// The open packet, with exactly the five keys of the protocol, in its order.
    ///
    /// ```
    /// let handshake = tidings_protocol::engineio::Handshake {
    ///     sid: "lv_VI97HAXpY6yYWAAAB",
    ///     upgrades: &["websocket"],
    ///     ping_interval_ms: 25_000,
    ///     ping_timeout_ms: 20_000,
    ///     max_payload_bytes: 1_000_000,
    /// };
    /// assert_eq!(
    ///     handshake.encode(),
    ///     r#"0{"sid":"lv_VI97HAXpY6yYWAAAB","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
    /// );
    /// ```
    pub fn encode(&self) -> String {
        use serde_json::Value;
        format!(
            r#"{}{{"sid":{},"upgrades":{},"pingInterval":{},"pingTimeout":{},"maxPayload":{}}}"#,
            char::from(PacketType::Open.as_byte()),
            Value::from(self.sid),
            Value::from(self.upgrades),
            self.ping_interval_ms,
            self.ping_timeout_ms,
            self.max_payload_bytes,
        )
    }
}

//! Socket.IO v5 (what clients of Socket.IO 3 and 4 speak): packets inside Engine.IO's messages.
//!
//! `<type>[<attachments>-][<namespace>,][<ack id>][<JSON>]`, and behind a binary packet its attachments as messages of
//! bytes. Here a packet is read where it lies: [`decode`] finds its parts, [`event`] and [`ack_arguments`] check the
//! JSON in one pass that builds nothing, and what goes on to others is a slice of what arrived. So lone surrogates,
//! numbers of any size, the order of keys and the spaces between them arrive as they were sent. Nesting costs neither stack nor
//! memory to speak of, and may be [`DEPTH_MAX`] levels deep.
//!
//! Source: the Socket.IO protocol, revision 5 (<https://socket.io/docs/v4/socket-io-protocol/>), section "Packet
//! encoding"; what it leaves open is as npm's `socket.io-parser` 4.2.7 does it. Stricter than that parser, where no
//! client would notice: attachments and ids are plain decimal digits, a packet is never empty, a binary packet has a
//! payload, a namespace has no U+001E in it, a placeholder's number is whole.
//!
//! ```
//! use tidings_protocol::socketio::{decode, event, split_arguments, write_ack};
//!
//! let packet = decode(r#"2/chat,7["say","hello",{"to":"all"}]"#, 10)?;
//! assert_eq!((packet.namespace, packet.id), ("/chat", Some(7)));
//!
//! let said = event(packet.data)?;
//! assert_eq!(said.name, "say");
//! assert_eq!(said.arguments, r#""hello",{"to":"all"}"#);
//! assert_eq!(split_arguments(said.arguments)?[1].get(), r#"{"to":"all"}"#);
//!
//! let mut answer = Vec::new();
//! write_ack(&mut answer, packet.namespace, 7, 0, "true");
//! assert_eq!(answer, b"3/chat,7[true]");
//! # Ok::<(), tidings_protocol::socketio::Error>(())
//! ```

mod decode;
mod encode;
mod payload;
mod placeholder;

pub use decode::decode;
pub use encode::{write_ack, write_connect, write_connect_error, write_disconnect, write_event};
pub use payload::{Event, ack_arguments, count_arguments, event, is_reserved_event, split_arguments};
pub use placeholder::check_placeholders;

use crate::json::{DEPTH_MAX, Unexpected};

/// What a packet is for: its first character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketType {
    /// `0`: a client joins a namespace, and the server's yes.
    Connect,
    /// `1`: one side leaves a namespace.
    Disconnect,
    /// `2`: an event.
    Event,
    /// `3`: the answer to an event that had an id.
    Ack,
    /// `4`: the server's no to a [`Connect`](Self::Connect). Servers write it; [`decode`] never returns it.
    ConnectError,
    /// `5`: an event with attachments.
    BinaryEvent,
    /// `6`: an answer with attachments.
    BinaryAck,
}

impl PacketType {
    /// The character on the wire, `b'0'` to `b'6'`.
    pub const fn as_byte(self) -> u8 {
        match self {
            Self::Connect => b'0',
            Self::Disconnect => b'1',
            Self::Event => b'2',
            Self::Ack => b'3',
            Self::ConnectError => b'4',
            Self::BinaryEvent => b'5',
            Self::BinaryAck => b'6',
        }
    }

    /// The type that a character on the wire stands for; nothing for one that is none.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            b'0' => Self::Connect,
            b'1' => Self::Disconnect,
            b'2' => Self::Event,
            b'3' => Self::Ack,
            b'4' => Self::ConnectError,
            b'5' => Self::BinaryEvent,
            b'6' => Self::BinaryAck,
            _ => return None,
        })
    }

    /// Whether attachments follow a packet of this type.
    pub const fn is_binary(self) -> bool {
        matches!(self, Self::BinaryEvent | Self::BinaryAck)
    }
}

/// A packet's parts, borrowed from its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it is for.
    pub kind: PacketType,
    /// The namespace with its leading `/` and, if the client wrote one, its query; `/` when the packet names none.
    pub namespace: &'a str,
    /// The number by which an answer finds its event.
    pub id: Option<u64>,
    /// How many messages of bytes belong to this packet and follow it; 0 unless it is binary.
    pub attachments: usize,
    /// The payload, raw JSON; `""` when there is none.
    pub data: &'a str,
}

/// Why a packet cannot be read. The reference answers each of them by closing the transport (`parse error`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not even a type.
    #[error("a Socket.IO packet needs at least its type")]
    Empty,
    /// The first character is none of `0` to `6`.
    #[error("a Socket.IO packet cannot begin with {0:?}")]
    UnknownType(char),
    /// Only servers send CONNECT_ERROR.
    #[error("CONNECT_ERROR comes from servers only")]
    ConnectErrorFromClient,
    /// A binary packet whose count of attachments is absent, zero, or not a number followed by `-`.
    #[error("a binary packet needs a count of attachments, at least 1, and a `-` behind it")]
    AttachmentCount,
    /// More attachments than the server takes.
    #[error("more than {max} attachments")]
    TooManyAttachments {
        /// The limit that was given.
        max: usize,
    },
    /// A namespace with Engine.IO's separator of packets in it.
    #[error("a namespace cannot contain U+001E")]
    Namespace,
    /// An ack id that does not fit 64 bits. (npm's server rounds it to a float, so that its answer finds nothing.)
    #[error("an ack id above 18446744073709551615")]
    IdTooLarge,
    /// A payload that is not of the kind which its packet asks for.
    #[error("the payload has to be {0}")]
    Payload(&'static str),
    /// A payload that is not JSON, or has something behind its end.
    #[error("the payload is not JSON, or is nested deeper than {DEPTH_MAX} levels, at byte {at}")]
    Json {
        /// Where in the payload, in bytes from its beginning.
        at: usize,
    },
    /// An event whose name is neither a string nor a number, or holds half a surrogate pair.
    #[error("an event's name has to be a string or a number")]
    EventName,
    /// An event whose name Socket.IO keeps for itself.
    #[error("{0:?} is a reserved event name")]
    ReservedEvent(&'static str),
    /// A placeholder whose `num` is not the number of an attachment.
    #[error("a placeholder has to name one of the packet's {attachments} attachments")]
    Placeholder {
        /// How many attachments the packet has.
        attachments: usize,
    },
}

impl From<Unexpected> for Error {
    fn from(Unexpected(at): Unexpected) -> Self {
        Self::Json { at }
    }
}

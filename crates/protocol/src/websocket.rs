//! WebSocket frames as a server reads and writes them (RFC 6455), and the key of the opening handshake.
//!
//! Reading is a [`Decoder`] for each connection: what was read from the socket goes in as a mutable slice, is unmasked where it
//! lies, and comes out as [`Message`]s that borrow from it. A frame that arrived whole is neither copied nor allocated
//! for; only what is left unfinished at the end of a read is kept, so a quiet connection costs the decoder's 16 bytes.
//!
//! Writing needs no state: server frames are not masked (section 5.1), so one [`frame`] is the same for every connection
//! and a broadcast encodes once. [`write_frame`] appends to a buffer instead, [`close_frame`] says goodbye.
//!
//! No extension is negotiated, so a frame with a reserved bit is refused. There is exactly one place that does it
//! (`Header::parse`): permessage-deflate (RFC 7692) would have to let RSV1 through there, for the first frame of a message.
//!
//! Where implementations differ: a length need not be in its shortest form, which section 5.2 asks for and which
//! neither tungstenite nor most servers insist on; it changes nothing about what the message is.
//!
//! ```
//! use tidings_protocol::websocket::{Decoder, Message, Opcode, frame};
//!
//! // Section 5.7: a masked "Hello", and the first two bytes of what follows.
//! let mut read = *b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x89\x80";
//! let mut input = &mut read[..];
//! let mut decoder = Decoder::new();
//! while let Some(message) = decoder.next(&mut input, 1_000_000)? {
//!     assert_eq!(message, Message::Text("Hello"));
//! }
//! assert_eq!(decoder.buffered_bytes(), 2);
//!
//! assert_eq!(frame(Opcode::Text, &[b"Hel", b"lo"]), &b"\x81\x05Hello"[..]);
//! # Ok::<(), tidings_protocol::websocket::Error>(())
//! ```

mod decoder;
mod encode;
mod error;
mod handshake;
mod header;
mod mask;
mod message;
mod partial;

pub use decoder::Decoder;
pub use encode::{close_frame, frame, write_frame};
pub use error::Error;
pub use handshake::{accept_key, is_valid_key};
pub use header::Opcode;
pub use message::Message;

/// The longest payload of a ping, pong or close (RFC 6455, section 5.5).
const CONTROL_BYTES_MAX: usize = 125;

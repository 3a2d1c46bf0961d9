//! The protocols of Tidings as plain functions from bytes to packets and back. No sockets, no timers, no tokio: what arrives goes in, what
//! is to be sent comes out, and whoever calls does the reading and writing.
//!
//! A Socket.IO client speaks three protocols, each inside the other, and there is a module for each:
//!
//! - [`websocket`]: frames, as a server reads and writes them (RFC 6455).
//! - [`engineio`]: a session over WebSocket or HTTP long-polling: handshake, heartbeat, messages (Engine.IO v4).
//! - [`socketio`]: namespaces, events, acks and attachments inside those messages (Socket.IO v5).
//!
//! Everybody else gets the same events as JSON:
//!
//! - [`json`]: an event as one object, and Socket.IO's arguments as its data and back.
//! - [`plain`]: the messages of a plain WebSocket.
//! - [`sse`]: an event stream, for `EventSource`.
//!
//! **Payloads pass through.** Socket.IO's JSON is not parsed into values and written again, since that loses what the
//! values cannot hold: half a surrogate pair, a number of thirty digits, the order of keys. A payload is checked once, in one pass, and
//! from then on is a slice of the text that arrived. An event that is passed on to a thousand others is therefore encoded by
//! copying, once.
//!
//! **Bad input is an error, never a panic.** All of this is fed by strangers. Each module has one `Error` that says
//! what was wrong; what to do about it (nearly always: close) is the caller's part. Depth of nesting, sizes and counts
//! are the sender's to choose, so nothing here recurses, and what is counted has a limit that the caller gives. The tests
//! mutate valid packets for as long as one lets them, and there are cargo-fuzz targets beside them.
//!
//! An echo server's whole conversation about one message:
//!
//! ```
//! use tidings_protocol::{engineio, socketio};
//!
//! fn answer(frame: &str) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error>> {
//!     let (engineio::PacketType::Message, text) = engineio::decode(frame)? else {
//!         return Ok(None);
//!     };
//!     let packet = socketio::decode(text, 10)?;
//!     let (socketio::PacketType::Event, Some(id)) = (packet.kind, packet.id) else {
//!         return Ok(None);
//!     };
//!     let event = socketio::event(packet.data)?;
//!     let mut out = vec![engineio::PacketType::Message.as_byte()];
//!     socketio::write_ack(&mut out, packet.namespace, id, 0, event.arguments);
//!     Ok(Some(out))
//! }
//!
//! let echo = answer(r#"42/chat,5["echo", 1e400, "\ud83d"]"#)?;
//! assert_eq!(echo.as_deref(), Some(&br#"43/chat,5[1e400, "\ud83d"]"#[..]));
//! assert_eq!(answer("3")?, None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod engineio;
pub mod json;
pub mod plain;
pub mod socketio;
pub mod sse;
pub mod websocket;

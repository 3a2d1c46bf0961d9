//! Socket.IO packets. Where a table does not say otherwise, npm's `socket.io-parser` 4.2.7 answers the same.
#![allow(clippy::unwrap_used, missing_docs)]

mod packets;
mod payloads;
mod properties;

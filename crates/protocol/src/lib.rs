//! Sans-I/O codecs.
#![allow(missing_docs)]
pub mod engineio;
pub mod socketio;
pub mod websocket;

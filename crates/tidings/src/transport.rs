//! Transports: how bytes of clients come to connections.

pub(crate) mod engineio;
pub(crate) mod http;
pub(crate) mod link;
pub(crate) mod query;
pub(crate) mod websocket;

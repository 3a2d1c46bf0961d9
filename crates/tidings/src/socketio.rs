//! Socket.IO v5: namespaces, sockets, rooms, acks, and the application's handlers.
//!
//! [`client`] speaks the protocol on one connection, on its shard's thread; [`driver`] runs the handlers of one
//! socket, one after another. The rest is what applications hold: [`Io`](io::Io), [`Socket`](socket::Socket),
//! [`Broadcast`](broadcast::Broadcast).

pub(crate) mod ack;
pub(crate) mod arguments;
pub(crate) mod broadcast;
pub(crate) mod client;
pub(crate) mod driver;
pub(crate) mod extract;
pub(crate) mod handler;
pub(crate) mod io;
pub(crate) mod namespace;
pub(crate) mod rate;
pub(crate) mod reason;
pub(crate) mod recovery;
pub(crate) mod socket;

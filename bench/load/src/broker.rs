//! Servers that keep what is published: how to publish, how to be answered and how to subscribe, for each of them.

mod nats;
mod nchan;
mod redis;
mod resp;
mod tidings;

use std::net::SocketAddr;

use anyhow::Result;

pub(crate) use self::nats::Nats;
pub(crate) use self::nchan::NchanApi;
pub(crate) use self::redis::Redis;
pub(crate) use self::tidings::{API_KEY, Api, Channels, EVENT, api_publish, channel_name};
use crate::link::Link;

/// How many channels (streams) the publishes go to, in turn.
pub(crate) const CHANNELS: usize = 10;
/// How many events a channel keeps at least, where the server can be told.
pub(crate) const KEEP: usize = 10_000;

/// The way to talk to one kind of server.
pub(crate) trait Broker: Sync {
    /// Whether one connection carries all publishes in flight, or each has one of its own.
    fn pipelines(&self) -> bool;

    /// Makes the channels, where they don't come by themselves.
    fn prepare(&self, address: SocketAddr) -> Result<()>;

    /// A connection that is ready to publish.
    fn publisher(&self, address: SocketAddr) -> Result<(Link, Box<dyn Publisher>)>;

    /// A connection that gets all of a channel. `number` is its own among the subscribers.
    fn subscriber(&self, address: SocketAddr, channel: usize, number: usize) -> Result<(Link, Box<dyn Subscriber>)>;
}

/// A publishing connection's side of the protocol.
pub(crate) trait Publisher {
    /// Appends a publish to `out`. `ticket` says which one it is when it is answered.
    fn publish(&mut self, out: &mut Vec<u8>, ticket: u64, channel: usize, data: &[u8]);

    /// Takes whole messages: gives the ticket of each answer to `on_answer`, appends what the server must hear to `out`.
    ///
    /// # Errors
    /// For a publish that was refused, and what no server says.
    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>, on_answer: &mut dyn FnMut(u64)) -> Result<usize>;
}

/// A subscribing connection's side of the protocol.
pub(crate) trait Subscriber {
    /// Takes whole messages: gives the data of each event to `on_data`, appends what the server must hear to `out`.
    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>, on_data: &mut dyn FnMut(&[u8])) -> Result<usize>;
}

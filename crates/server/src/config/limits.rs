//! `[limits]`: what a client may cost. Zero is no limit.

use std::time::Duration;

use super::document::Table;
use super::keys::LIMITS;
use super::problem::Problem;
use super::section::{Section, count, duration};

/// The limits of the binary, in the words of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// A message, in bytes. Default 1,000,000.
    pub(crate) message_bytes: usize,
    /// Messages that a connection may send in a second. Default 100.
    pub(crate) messages_per_second: u32,
    /// Messages that a connection may send at once before the rate counts. Default 200.
    pub(crate) messages_burst: u32,
    /// What waits to be written to a connection before it lags, in bytes. Default 1 MiB.
    pub(crate) outbox_bytes: usize,
    /// Subscriptions that a client asked for. Default 128.
    pub(crate) subscriptions: usize,
    /// Binary attachments of a packet. Default 10.
    pub(crate) attachments: usize,
    /// A request's head, in bytes. Default 16 KiB.
    pub(crate) headers_bytes: usize,
    /// How long a client may take for a request's head or for its first message. Default 10 s.
    pub(crate) handshake: Duration,
    /// How long a session can be recovered. Default 2 minutes.
    pub(crate) session: Duration,
    /// Connections in all. Default 0.
    pub(crate) connections: usize,
    /// Connections from one IP address. Default 0.
    pub(crate) connections_per_ip: usize,
    /// Connections of one user. Default 0.
    pub(crate) connections_per_user: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 1_000_000,
            messages_per_second: 100,
            messages_burst: 200,
            outbox_bytes: 1_048_576,
            subscriptions: 128,
            attachments: 10,
            headers_bytes: 16_384,
            handshake: Duration::from_secs(10),
            session: Duration::from_secs(120),
            connections: 0,
            connections_per_ip: 0,
            connections_per_user: 0,
        }
    }
}

impl Limits {
    /// Reads the table; what it leaves out keeps its default.
    pub(super) fn read(table: Table, problems: &mut Vec<Problem>) -> Self {
        let mut section = Section::new("limits.", &LIMITS, table, problems);
        let default = Self::default();
        let mut bytes = |key, default| section.read(key, count).unwrap_or(default);
        let message_bytes = bytes("message_bytes", default.message_bytes);
        let outbox_bytes = bytes("outbox_bytes", default.outbox_bytes);
        let subscriptions = bytes("subscriptions", default.subscriptions);
        let attachments = bytes("attachments", default.attachments);
        let headers_bytes = bytes("headers_bytes", default.headers_bytes);
        let connections = bytes("connections", default.connections);
        let connections_per_ip = bytes("connections_per_ip", default.connections_per_ip);
        let connections_per_user = bytes("connections_per_user", default.connections_per_user);
        let limits = Self {
            message_bytes,
            messages_per_second: section
                .read("messages_per_second", count)
                .unwrap_or(default.messages_per_second),
            messages_burst: section.read("messages_burst", count).unwrap_or(default.messages_burst),
            outbox_bytes,
            subscriptions,
            attachments,
            headers_bytes,
            handshake: section.read("handshake", duration).unwrap_or(default.handshake),
            session: section.read("session", duration).unwrap_or(default.session),
            connections,
            connections_per_ip,
            connections_per_user,
        };
        section.finish();
        limits
    }
}

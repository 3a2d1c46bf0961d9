//! Why a socket ended.

use std::fmt;

/// Why a socket ended, in the words of Node's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The transport failed, or the client broke its protocol.
    TransportError,
    /// The client closed the transport.
    TransportClose,
    /// The server closed the transport: the client broke Socket.IO's protocol, or entered no namespace in time.
    ForcedClose,
    /// No answer to a ping.
    PingTimeout,
    /// What the client sent was no packet.
    ParseError,
    /// The server is going.
    ServerShuttingDown,
    /// The client left the namespace.
    ClientNamespaceDisconnect,
    /// The server's application ended the socket.
    ServerNamespaceDisconnect,
}

impl Reason {
    /// Every reason, in the order of the type.
    pub const ALL: &'static [Reason] = &[
        Reason::TransportError,
        Reason::TransportClose,
        Reason::ForcedClose,
        Reason::PingTimeout,
        Reason::ParseError,
        Reason::ServerShuttingDown,
        Reason::ClientNamespaceDisconnect,
        Reason::ServerNamespaceDisconnect,
    ];

    /// The reason as Node spells it, for example `"transport close"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::TransportError => "transport error",
            Reason::TransportClose => "transport close",
            Reason::ForcedClose => "forced close",
            Reason::PingTimeout => "ping timeout",
            Reason::ParseError => "parse error",
            Reason::ServerShuttingDown => "server shutting down",
            Reason::ClientNamespaceDisconnect => "client namespace disconnect",
            Reason::ServerNamespaceDisconnect => "server namespace disconnect",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

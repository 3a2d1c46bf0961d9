//! Where connections come in: a TCP or a Unix socket.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

/// So many connections may wait to be accepted, if the system's own limit (Linux: `net.core.somaxconn`, 4096) allows. A listener
/// has 128 by itself: of some thousand clients that come back at once most would try again after a second, or three.
#[cfg(target_os = "linux")]
const BACKLOG: i32 = 4_096;

/// What [`serve`](super::serve) listens on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Listener {
    /// An address and a port.
    Tcp(TcpListener),
    /// A path, for a proxy on the same machine. What that says of its clients' addresses in `X-Forwarded-For` counts, and
    /// handlers get no `ConnectInfo<SocketAddr>`.
    #[cfg(unix)]
    Unix(UnixListener),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

#[cfg(unix)]
impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

/// A connection, and where it comes from.
pub(super) enum Accepted {
    Tcp(TcpStream, SocketAddr),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Accepted {
    /// None of a Unix socket.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, address) => Some(*address),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }

    /// Has small messages leave at once. False when it is gone already.
    pub(super) fn set_nodelay(&self) -> bool {
        match self {
            Self::Tcp(stream, _) => stream.set_nodelay(true).is_ok(),
            #[cfg(unix)]
            Self::Unix(_) => true,
        }
    }
}

impl Listener {
    /// Lets more wait. On a socket that listens already it only changes the number; where that can't be, it stays as it was.
    pub(super) fn lengthen(&self) {
        #[cfg(target_os = "linux")]
        {
            let done = match self {
                Self::Tcp(listener) => rustix::net::listen(listener, BACKLOG),
                Self::Unix(listener) => rustix::net::listen(listener, BACKLOG),
            };
            if let Err(error) = done {
                tracing::debug!(%error, "the listener keeps its backlog");
            }
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok(Accepted::Tcp(stream, address))
            }
            #[cfg(unix)]
            Self::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

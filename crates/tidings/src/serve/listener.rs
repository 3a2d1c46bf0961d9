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
            // It has that of its listener.
            #[cfg(target_os = "linux")]
            Self::Tcp(..) => true,
            #[cfg(not(target_os = "linux"))]
            Self::Tcp(stream, _) => stream.set_nodelay(true).is_ok(),
            #[cfg(unix)]
            Self::Unix(_) => true,
        }
    }
}

impl Listener {
    /// Lets more wait: on a socket that listens already that only changes the number. And has small messages of what is accepted
    /// leave at once, where a connection begins with its listener's options: one call less for each.
    pub(super) fn prepare(&self) {
        #[cfg(target_os = "linux")]
        {
            use rustix::net::{listen, sockopt};

            let done = match self {
                Self::Tcp(listener) => {
                    sockopt::set_tcp_nodelay(listener, true).and_then(|()| listen(listener, BACKLOG))
                }
                Self::Unix(listener) => listen(listener, BACKLOG),
            };
            if let Err(error) = done {
                tracing::debug!(%error, "the listener stays as it is");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn small_messages_leave_at_once() {
        let listener = Listener::from(TcpListener::bind("127.0.0.1:0").await.unwrap());
        listener.prepare();
        let Listener::Tcp(tcp) = &listener else { unreachable!() };
        let _client = TcpStream::connect(tcp.local_addr().unwrap()).await.unwrap();
        let accepted = listener.accept().await.unwrap();
        assert!(accepted.set_nodelay());
        let Accepted::Tcp(stream, _) = &accepted else {
            panic!("accepted from a TCP listener");
        };
        assert!(stream.nodelay().unwrap());
    }
}

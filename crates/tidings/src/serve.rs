//! Serving: accept, read the head, hand over. As `axum::serve`, with the limits a server on the open internet wants.

mod body;
mod connection;
mod doors;
mod flow;
mod listener;
mod stream;
mod takeover;
#[cfg(feature = "tls")]
mod tls;

use std::future::{Future, IntoFuture};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::watch;

use crate::network::Networks;
use connection::Settings;
pub(crate) use connection::{Local, Secure};
use doors::Doors;
pub use listener::Listener;
pub(crate) use stream::Stream;
pub(crate) use takeover::{Streams, Upgrades, Waiting};
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError};

/// Serves an axum app on a listener, of TCP or a Unix socket, until the shutdown signal if there is one.
///
/// Clients may speak HTTP/1.1 or HTTP/2: over TLS (`Serve::tls`, with the feature `tls`) as they agree with ALPN,
/// without it as they begin ("prior knowledge", as proxies do). WebSockets come over HTTP/1.1.
///
/// Event streams and polls that wait take a tenth of the memory that they take under `axum::serve`. What a layer wraps around
/// the body of an event stream sees nothing of it then, unless it sets `Content-Encoding`.
///
/// Beside `axum::serve` it lets more clients wait to be accepted (4,096 on Linux, where it was 128), limits the size of request heads and the time they may take, cuts off clients that stall,
/// tells handlers the client's address (`ConnectInfo<SocketAddr>`) and sets `TCP_NODELAY`.
///
/// ```no_run
/// # async fn run() -> std::io::Result<()> {
/// let io = tidings::Tidings::builder().build();
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// tidings::serve(listener, axum::Router::new().merge(io.router())).await
/// # }
/// ```
pub fn serve(listener: impl Into<Listener>, app: Router) -> Serve {
    Serve {
        listener: listener.into(),
        settings: Settings {
            app,
            head_bytes: 16 << 10,
            head_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            #[cfg(feature = "tls")]
            tls: None,
        },
        idle_per_address: doors::idle_per_address(),
        trusted: Networks::default(),
        shutdown: None,
        patience: Duration::from_secs(20),
    }
}

/// The future of [`serve`].
#[must_use = "nothing is served until this is awaited"]
pub struct Serve {
    listener: Listener,
    settings: Settings,
    idle_per_address: usize,
    trusted: Networks,
    shutdown: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    patience: Duration,
}

impl Serve {
    /// Speaks TLS, and nothing else. Who comes with `http://` is told so. A Unix socket stays as it is.
    ///
    /// ```no_run
    /// # async fn run(listener: tokio::net::TcpListener, app: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
    /// let tls = tidings::Tls::from_pem_files("cert.pem", "key.pem")?;
    /// tidings::serve(listener, app).tls(tls).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.settings.tls = Some(tls);
        self
    }

    /// The largest request head, in bytes; at least 8 KiB. A larger one is answered 431. Default 16 KiB.
    pub fn head_bytes(mut self, bytes: usize) -> Self {
        self.settings.head_bytes = bytes.max(8 << 10);
        self
    }

    /// How long a client may take for a request's head, and for the TLS handshake before the first. Default 10 s.
    pub fn head_timeout(mut self, timeout: Duration) -> Self {
        self.settings.head_timeout = timeout;
        self
    }

    /// How long a client may take no byte of an answer, and send no byte of a body that is waited for, before it is cut
    /// off. Streams and long polls that have nothing to send may be silent for as long as they like. Default 30 s. For WebSockets
    /// and, on HTTP/1.1, for Tidings' own event streams it is always 30 s.
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.settings.stall_timeout = timeout;
        self
    }

    /// How many connections an address may have on which nothing is asked: in the TLS handshake, before a request's head, kept
    /// alive after an answer. What comes past it is closed at once, since each takes a descriptor from all others. WebSockets and
    /// requests under way don't count: [`Limits`](crate::Limits) has those. An IPv6 network of 64 bits is one address. 0 is no
    /// limit. Default: a quarter of the descriptors that the process may have.
    pub fn idle_per_address(mut self, connections: usize) -> Self {
        self.idle_per_address = connections;
        self
    }

    /// A network (`10.0.0.0`, 8) for which [`Serve::idle_per_address`] does not count, as that of a proxy. May be called for
    /// several. What a proxy says of its clients, [`Builder::trusted_proxy`](crate::Builder::trusted_proxy) is about.
    pub fn trusted_proxy(mut self, network: IpAddr, prefix_bits: u8) -> Self {
        self.trusted.push(network, prefix_bits);
        self
    }

    /// Stops accepting when `signal` ends, lets requests that are under way end, and returns. Answers that are being
    /// sent may go on as long as they move. WebSockets and Tidings' own event streams are not waited for:
    /// [`Io::close`](crate::Io::close) ends them.
    pub fn with_graceful_shutdown(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.shutdown = Some(Box::pin(signal));
        self
    }

    /// How long requests that are under way at the shutdown may take. Default 20 s.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    async fn run(self) -> io::Result<()> {
        let settings = Arc::new(self.settings);
        self.listener.lengthen();
        let doors = Doors::new(self.idle_per_address, self.trusted);
        let (stop, stopped) = watch::channel(());
        let (alive, mut all_gone) = tokio::sync::mpsc::channel::<()>(1);
        let mut shutdown = self.shutdown.unwrap_or_else(|| Box::pin(std::future::pending()));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = &mut shutdown => break,
            };
            let accepted = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, say: those that are open must go on.
                    tracing::warn!(%error, "a connection can't be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            if !accepted.set_nodelay() {
                continue;
            }
            let Some(place) = doors.come(accepted.address().map(|address| address.ip())) else {
                continue;
            };
            let (settings, stopped) = (Arc::clone(&settings), stopped.clone());
            let connection = connection::run(accepted, place, settings, stopped, alive.clone());
            tokio::spawn(connection);
        }
        drop((self.listener, stop, alive));
        // Nobody sends: this ends when the last connection has dropped its sender.
        let _ = tokio::time::timeout(self.patience, all_gone.recv()).await;
        Ok(())
    }
}

impl IntoFuture for Serve {
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

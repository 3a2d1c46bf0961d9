//! Serving: accept, read the head, hand over. As `axum::serve`, with the limits a server on the open internet wants.

use std::future::{Future, IntoFuture};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::ServiceExt as _;

/// Serves an axum app on a listener, until the shutdown signal if there is one.
///
/// Beside `axum::serve` it limits the size of request heads and the time they may take, tells handlers the client's address
/// (`ConnectInfo<SocketAddr>`) and sets `TCP_NODELAY`. HTTP/1.1 only.
///
/// ```no_run
/// # async fn run() -> std::io::Result<()> {
/// let io = tidings::Tidings::builder().build();
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// tidings::serve(listener, axum::Router::new().merge(io.router())).await
/// # }
/// ```
pub fn serve(listener: TcpListener, app: Router) -> Serve {
    Serve {
        listener,
        app,
        head_bytes: 16 << 10,
        head_timeout: Duration::from_secs(10),
        shutdown: None,
        patience: Duration::from_secs(20),
    }
}

/// How long a connection without a request has at the shutdown, for an answer that is still being written.
const IDLE_PATIENCE: Duration = Duration::from_millis(500);

/// The future of [`serve`].
#[must_use = "nothing is served until this is awaited"]
pub struct Serve {
    listener: TcpListener,
    app: Router,
    head_bytes: usize,
    head_timeout: Duration,
    shutdown: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    patience: Duration,
}

impl Serve {
    /// The largest request head, in bytes; at least 8 KiB. A larger one is answered 431. Default 16 KiB.
    pub fn head_bytes(mut self, bytes: usize) -> Self {
        self.head_bytes = bytes.max(8 << 10);
        self
    }

    /// How long a client may take for a request's head. Default 10 s.
    pub fn head_timeout(mut self, timeout: Duration) -> Self {
        self.head_timeout = timeout;
        self
    }

    /// Stops accepting when `signal` ends, lets requests that are under way end, and returns.
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
        let (stop, stopped) = watch::channel(());
        let (alive, mut all_gone) = tokio::sync::mpsc::channel::<()>(1);
        let mut shutdown = self.shutdown.unwrap_or_else(|| Box::pin(std::future::pending()));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = &mut shutdown => break,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, say: those that are open must go on.
                    tracing::warn!(%error, "a connection can't be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            if stream.set_nodelay(true).is_err() {
                continue; // it is gone already
            }
            let app = self.app.clone();
            let requests = Arc::new(());
            let request = Arc::clone(&requests);
            let service = service_fn(move |incoming: http::Request<hyper::body::Incoming>| {
                let mut incoming = incoming.map(Body::new);
                incoming.extensions_mut().insert(ConnectInfo(address));
                let answer = app.clone().oneshot(incoming);
                let request = Arc::clone(&request);
                async move {
                    let answer = answer.await;
                    drop(request);
                    answer
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.head_timeout)
                .max_buf_size(self.head_bytes)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            let mut stopped = stopped.clone();
            let alive = alive.clone();
            tokio::spawn(async move {
                let mut connection = std::pin::pin!(connection);
                let ended = tokio::select! {
                    ended = connection.as_mut() => ended,
                    // The service holds one, each request that is under way another.
                    _ = stopped.changed() => if Arc::strong_count(&requests) > 2 {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    } else {
                        // Idle, or a head that may never end: there is nothing to wait for.
                        connection.as_mut().graceful_shutdown();
                        tokio::time::timeout(IDLE_PATIENCE, connection).await.unwrap_or(Ok(()))
                    },
                };
                if let Err(error) = ended {
                    tracing::debug!(%error, "an HTTP connection ended");
                }
                drop(alive);
            });
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

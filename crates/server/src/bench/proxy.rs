//! A TCP proxy in front of each client, so that stock clients too lose their connections as networks lose them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long the server keeps a connection whose client is gone without a word.
const HELD: Duration = Duration::from_secs(40);

/// Small, so that a stalled client is soon felt by the server.
const WINDOW_BYTES: u32 = 16 * 1024;

/// What happens to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// They pass.
    Pass,
    /// Nothing is read, so that the sender feels it.
    Stall,
    /// They are read and thrown away: the connection looks alive and is not. Only a cut can follow.
    Swallow,
}

/// How connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// Both sides are closed.
    Close,
    /// Both sides are reset.
    Reset,
    /// The client's side is reset, the server's stays open for a while and takes all it is sent.
    HalfOpen,
}

#[derive(Debug, Clone, Copy)]
struct Control {
    mode: Mode,
    cuts: u64,
    cut: Cut,
}

/// A proxy; it ends when it is dropped.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    control: watch::Sender<Control>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Listens on a free port and connects through to `target`.
    ///
    /// # Errors
    /// When no port is free.
    pub(super) async fn start(target: SocketAddr) -> io::Result<Arc<Self>> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (control, _) = watch::channel(Control {
            mode: Mode::Pass,
            cuts: 0,
            cut: Cut::Close,
        });
        let controls = control.clone();
        let task = tokio::spawn(async move {
            loop {
                if let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(carry(client, target, controls.subscribe()));
                }
            }
        });
        Ok(Arc::new(Self { address, control, task }))
    }

    /// What happens to bytes from now on, on all connections.
    pub(super) fn mode(&self, mode: Mode) {
        self.control.send_modify(|control| control.mode = mode);
    }

    /// Ends all connections that there are.
    pub(super) fn cut(&self, cut: Cut) {
        self.control.send_modify(|control| {
            control.cuts += 1;
            control.cut = cut;
        });
    }
}

async fn carry(client: TcpStream, target: SocketAddr, control: watch::Receiver<Control>) {
    let Ok(server) = connect(target).await else {
        // Nobody there: the client sees a connection that ends at once.
        return;
    };
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    let mut cuts = control.clone();
    let already = cuts.borrow_and_update().cuts;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut up = Pump::new(from_client, to_server, control.clone());
    let mut down = Pump::new(from_server, to_client, control);
    let cut = tokio::select! {
        biased;
        cut = cut_after(&mut cuts, already) => cut,
        () = async { tokio::join!(up.run(), down.run()); } => return,
    };
    let (
        Pump {
            from: from_client,
            to: to_server,
            ..
        },
        Pump {
            from: mut from_server,
            to: to_client,
            ..
        },
    ) = (up, down);
    match cut {
        Cut::Close => {}
        Cut::Reset => {
            reset(to_client);
            reset(to_server);
        }
        Cut::HalfOpen => {
            reset(to_client);
            drop(from_client);
            // Nobody reads what comes; the end of it, or the end of patience, ends it.
            let _ = tokio::time::timeout(HELD, async {
                let mut bytes = [0; 4096];
                while from_server.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
            })
            .await;
            drop(to_server);
        }
    }
}

async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(WINDOW_BYTES)?;
    socket.connect(target).await
}

/// Makes the close of its connection a reset.
fn reset(half: OwnedWriteHalf) {
    // A connection that is gone already can't be reset, and need not be.
    let _ = half.as_ref().set_zero_linger();
    // Dropped, it would say good-bye.
    half.forget();
}

async fn cut_after(control: &mut watch::Receiver<Control>, already: u64) -> Cut {
    loop {
        let now = *control.borrow_and_update();
        if now.cuts > already {
            return now.cut;
        }
        if control.changed().await.is_err() {
            // The proxy is gone.
            return Cut::Close;
        }
    }
}

/// One direction of a connection.
struct Pump {
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    control: watch::Receiver<Control>,
    /// Something was thrown away: nothing may pass any more, or there would be a hole in the stream.
    broken: bool,
}

impl Pump {
    fn new(from: OwnedReadHalf, to: OwnedWriteHalf, control: watch::Receiver<Control>) -> Self {
        Self {
            from,
            to,
            control,
            broken: false,
        }
    }

    async fn run(&mut self) {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            self.flowing().await;
            let read = tokio::select! {
                read = self.from.read(&mut bytes) => read.unwrap_or(0),
                _ = self.control.changed() => continue,
            };
            if read == 0 {
                // The other direction may still have something to say.
                let _ = self.to.shutdown().await;
                return;
            }
            // What was read as the stall began waits here.
            self.flowing().await;
            self.broken |= self.mode() == Mode::Swallow;
            if !self.broken && self.to.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    }

    fn mode(&self) -> Mode {
        self.control.borrow().mode
    }

    async fn flowing(&mut self) {
        while self.mode() == Mode::Stall {
            if self.control.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pair() -> (Arc<Proxy>, TcpStream, TcpStream) {
        let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap()).await.unwrap();
        let client = TcpStream::connect(proxy.address).await.unwrap();
        let (server, _) = server.accept().await.unwrap();
        (proxy, client, server)
    }

    async fn arrives(from: &mut TcpStream, to: &mut TcpStream, text: &str) {
        from.write_all(text.as_bytes()).await.unwrap();
        let mut bytes = vec![0; text.len()];
        to.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, text.as_bytes());
    }

    #[tokio::test]
    async fn bytes_pass_and_a_stall_only_delays_them() {
        let (proxy, mut client, mut server) = pair().await;
        arrives(&mut client, &mut server, "up").await;
        proxy.mode(Mode::Stall);
        client.write_all(b"one ").await.unwrap();
        server.write_all(b"two").await.unwrap();
        let mut byte = [0; 1];
        let early = tokio::time::timeout(Duration::from_millis(50), client.read(&mut byte)).await;
        assert!(early.is_err(), "nothing comes while it stalls");
        proxy.mode(Mode::Pass);
        let mut three = [0; 3];
        client.read_exact(&mut three).await.unwrap();
        assert_eq!(&three, b"two");
        arrives(&mut client, &mut server, "one ").await;
    }

    #[tokio::test]
    async fn a_cut_ends_both_sides_and_the_next_connection_lives() {
        for cut in [Cut::Close, Cut::Reset] {
            let (proxy, mut client, mut server) = pair().await;
            arrives(&mut client, &mut server, "x").await;
            proxy.cut(cut);
            let mut byte = [0; 1];
            assert_eq!(server.read(&mut byte).await.unwrap_or(0), 0);
            assert_eq!(client.read(&mut byte).await.is_err(), cut == Cut::Reset);
            assert!(TcpStream::connect(proxy.address).await.is_ok());
        }
    }

    #[tokio::test]
    async fn half_open_the_server_sees_nothing() {
        let (proxy, mut client, mut server) = pair().await;
        arrives(&mut client, &mut server, "x").await;
        proxy.mode(Mode::Swallow);
        server.write_all(b"lost").await.unwrap();
        client.write_all(b"lost").await.unwrap();
        proxy.cut(Cut::HalfOpen);
        proxy.mode(Mode::Pass);
        let mut byte = [0; 1];
        assert!(client.read(&mut byte).await.is_err());
        server.write_all(b"still taken").await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(50), server.read(&mut byte)).await;
        assert!(early.is_err(), "it is neither closed nor does anything come");
    }
}

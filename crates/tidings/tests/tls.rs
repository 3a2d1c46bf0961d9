//! TLS: what is agreed with ALPN, a WebSocket over it, handshakes that come to nothing, and files that are wrong.

#![allow(clippy::unwrap_used, missing_docs)] // a test's panic is its failure

#[path = "support/serving.rs"]
mod serving;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serving::{Serving, all, within};
use tidings::{Data, Socket, Tidings, Tls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tungstenite::WebSocket;

/// A folder with a certificate for `localhost` and its key. It is gone when the test ends.
struct Folder {
    path: PathBuf,
    roots: RootCertStore,
}

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tidings-tls-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let mut folder = Self {
            path,
            roots: RootCertStore::empty(),
        };
        folder.renew();
        folder
    }

    /// Another certificate in the same files, which the folder's clients trust from now on, too.
    fn renew(&mut self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        self.write("cert.pem", &made.cert.pem());
        self.write("key.pem", &made.signing_key.serialize_pem());
        let certificate = made.cert.der().clone();
        self.roots.add(certificate.clone()).unwrap();
        certificate
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).unwrap();
    }

    fn tls(&self) -> Tls {
        Tls::from_pem_files(self.file("cert.pem"), self.file("key.pem")).unwrap()
    }

    fn client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut config = ClientConfig::builder()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    async fn connect(&self, address: SocketAddr, alpn: &[&str]) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(address).await.unwrap();
        let connected = TlsConnector::from(self.client(alpn)).connect(name(), stream);
        within("TLS comes about", connected).await.unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

fn app() -> Router {
    Router::new().route("/", get(async |request: Request| format!("{:?}", request.version())))
}

fn request() -> http::Request<Empty<bytes::Bytes>> {
    http::Request::builder()
        .uri("https://localhost/")
        .header("host", "localhost")
        .body(Empty::new())
        .unwrap()
}

#[tokio::test]
async fn alpn_decides_between_http2_and_http1() {
    let folder = Folder::new();
    let server = Serving::new(app(), |serve| serve.tls(folder.tls())).await;
    for (offered, agreed, version) in [
        (&["h2", "http/1.1"][..], Some("h2"), "HTTP/2.0"),
        (&["http/1.1", "h2"], Some("h2"), "HTTP/2.0"),
        (&["http/1.1"], Some("http/1.1"), "HTTP/1.1"),
        (&[], None, "HTTP/1.1"),
    ] {
        let stream = folder.connect(server.address, offered).await;
        let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        assert_eq!(alpn.as_deref(), agreed.map(str::as_bytes), "{offered:?}");
        let response = if agreed == Some("h2") {
            let (mut client, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                    .await
                    .unwrap();
            tokio::spawn(connection);
            client.send_request(request()).await.unwrap()
        } else {
            let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .unwrap();
            tokio::spawn(connection);
            client.send_request(request()).await.unwrap()
        };
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, version);
    }
}

#[tokio::test]
async fn who_offers_another_protocol_alone_is_refused() {
    let folder = Folder::new();
    let server = Serving::new(app(), |serve| serve.tls(folder.tls())).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let refused = TlsConnector::from(folder.client(&["smtp"]))
        .connect(name(), stream)
        .await;
    assert!(refused.unwrap_err().to_string().contains("NoApplicationProtocol"));
}

/// Sends a packet; the rest of the next one that begins so.
fn answer<S: Read + Write>(socket: &mut WebSocket<S>, packet: &str, prefix: &str) -> String {
    socket.send(packet.into()).unwrap();
    loop {
        let message = socket.read().unwrap().into_text().unwrap();
        if let Some(answer) = message.strip_prefix(prefix) {
            return answer.to_owned();
        }
    }
}

fn enter<S: Read + Write>(address: SocketAddr, scheme: &str, stream: S) -> WebSocket<S> {
    let url = format!("{scheme}://{address}/socket.io/?EIO=4&transport=websocket");
    let Ok((mut socket, response)) = tungstenite::client(url, stream) else {
        panic!("no WebSocket")
    };
    assert_eq!(response.status(), 101);
    answer(&mut socket, "40", "40");
    socket
}

#[tokio::test]
async fn a_websocket_works_over_tls_and_its_handshake_says_so() {
    let folder = Folder::new();
    let io = Tidings::builder().build();
    io.on("secure", async |socket: Socket| Ok(socket.handshake().is_secure()));
    io.on("echo", async |Data(text): Data<String>| Ok(text));
    let app = Router::new().merge(io.router());
    let plain = Serving::new(app.clone(), |serve| serve).await;
    let secure = Serving::new(app, |serve| serve.tls(folder.tls())).await;
    let (plain_address, address, config) = (plain.address, secure.address, folder.client(&["http/1.1"]));
    let talk = tokio::task::spawn_blocking(move || {
        let connect = |address| {
            let stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(serving::PATIENCE)).unwrap();
            stream
        };
        let mut socket = enter(plain_address, "ws", connect(plain_address));
        assert_eq!(answer(&mut socket, "421[\"secure\"]", "431"), "[false]");

        let session = ClientConnection::new(config, name()).unwrap();
        let mut socket = enter(address, "wss", StreamOwned::new(session, connect(address)));
        assert_eq!(answer(&mut socket, "421[\"secure\"]", "431"), "[true]");
        let long = "x".repeat(300_000); // many TLS records
        let packet = format!("422[\"echo\",\"{long}\"]");
        assert_eq!(answer(&mut socket, &packet, "432"), format!("[\"{long}\"]"));
    });
    within("the client is done", talk).await.unwrap();
}

#[tokio::test]
async fn who_speaks_plain_http_is_told_what_to_do() {
    let folder = Folder::new();
    let server = Serving::new(app(), |serve| serve.tls(folder.tls())).await;
    let answer = all(server.say("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await).await;
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("https://"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_cut_off() {
    let folder = Folder::new();
    let server = Serving::new(app(), |serve| {
        serve.tls(folder.tls()).head_timeout(Duration::from_millis(100))
    })
    .await;
    // Nothing; the head of a record; TLS whole, and then no request.
    assert_eq!(all(server.connect().await).await, "");
    assert_eq!(all(server.say("\u{16}\u{3}\u{1}\0\u{64}").await).await, "");
    let mut silent = folder.connect(server.address, &["h2"]).await;
    let ended = within("the server closes", silent.read(&mut [0])).await;
    assert_eq!(ended.ok().filter(|count| *count > 0), None);
}

#[tokio::test]
async fn handshakes_do_not_hold_the_shutdown_nor_each_other() {
    let folder = Folder::new();
    let server = Serving::new(app(), |serve| {
        let long = Duration::from_secs(3_600);
        serve.tls(folder.tls()).head_timeout(long).patience(long)
    })
    .await;
    let silent = server.connect().await;
    let half = server.say("\u{16}\u{3}\u{1}\0\u{64}").await;
    let mut asking = folder.connect(server.address, &["http/1.1"]).await;
    asking
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 15];
    within("the answer comes", asking.read_exact(&mut answer))
        .await
        .unwrap();
    assert_eq!(answer, *b"HTTP/1.1 200 OK");
    within("the server ends", server.stop()).await.unwrap().unwrap();
    assert_eq!((all(silent).await, all(half).await), (String::new(), String::new()));
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_for_new_connections() {
    let mut folder = Folder::new();
    let tls = folder.tls();
    let server = Serving::new(app(), |serve| serve.tls(tls.clone())).await;
    let renewed = folder.renew();
    let shown = async |folder: &Folder| {
        let stream = folder.connect(server.address, &[]).await;
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    };
    assert_ne!(shown(&folder).await, renewed);
    tls.reload().unwrap();
    assert_eq!(shown(&folder).await, renewed);

    folder.write("key.pem", "");
    assert!(tls.reload().is_err());
    assert_eq!(shown(&folder).await, renewed);
}

#[test]
fn what_is_wrong_with_the_files_is_told_with_the_file() {
    let folder = Folder::new();
    let other = Folder::new();
    folder.write("empty.pem", "");
    folder.write(
        "text.pem",
        "-----BEGIN CERTIFICATE-----\nnot base64\n-----END CERTIFICATE-----\n",
    );
    folder.write(
        "none.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    folder.write(
        "encrypted.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    folder.write(
        "no-key.pem",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    let (cert, key) = (folder.file("cert.pem"), folder.file("key.pem"));
    let wrong = |cert: &Path, key: &Path, is_about_key: bool, part: &str| {
        let error = Tls::from_pem_files(cert, key).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.is_about_key(), is_about_key, "{text}");
        let file = if is_about_key { key } else { cert };
        assert!(
            text.starts_with(&file.display().to_string()) && text.contains(part),
            "{text}"
        );
    };
    for (name, part) in [
        ("absent.pem", "can't be read"),
        ("empty.pem", "no certificate"),
        ("key.pem", "no certificate"),
        ("text.pem", "no proper PEM"),
        ("none.pem", "can't be used"),
    ] {
        wrong(&folder.file(name), &key, false, part);
    }
    for (name, part) in [
        ("absent.pem", "can't be read"),
        ("empty.pem", "no private key"),
        ("cert.pem", "no private key"),
        ("encrypted.pem", "is encrypted"),
        ("no-key.pem", "can't be used"),
    ] {
        wrong(&cert, &folder.file(name), true, part);
    }
    wrong(
        &cert,
        &other.file("key.pem"),
        true,
        "does not belong to the certificate",
    );
}

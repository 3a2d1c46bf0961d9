//! Connections to others: TCP, and over it TLS where the URL says so.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// Bytes both ways.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection of whatever kind.
pub(crate) type Stream = Box<dyn Duplex>;

/// Makes connections.
pub(crate) struct Connector {
    tls: Option<TlsConnector>,
}

impl Connector {
    /// `ca` is a file of certificates that vouch for the server, beside the public ones.
    ///
    /// # Errors
    /// When it can't be read.
    pub(crate) fn new(secure: bool, ca: Option<&Path>) -> Result<Self, String> {
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(ca) = ca {
            add(&mut roots, ca).map_err(|problem| format!("{}: {problem}", ca.display()))?;
        }
        if !secure {
            return Ok(Self { tls: None });
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            tls: Some(TlsConnector::from(Arc::new(config))),
        })
    }

    /// A connection.
    ///
    /// # Errors
    /// When there is none to be had in time.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> io::Result<Stream> {
        let connected = tokio::time::timeout(CONNECT, self.try_connect(host, port)).await;
        connected.unwrap_or_else(|_| {
            let problem = format!("no connection within {} s", CONNECT.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, problem))
        })
    }

    async fn try_connect(&self, host: &str, port: u16) -> io::Result<Stream> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, stream).await.map_err(explained)?))
    }
}

/// What can be done about a certificate that is refused.
fn explained(error: io::Error) -> io::Error {
    let refused = error.get_ref().and_then(|error| error.downcast_ref());
    let Some(rustls::Error::InvalidCertificate(reason)) = refused else {
        return error;
    };
    let help = match reason {
        CertificateError::UnknownIssuer => {
            "name the file of the CA that signed it: --ca, or `ca` beside the URL in the configuration"
        }
        // As `openssl req -x509` makes them. rustls has no name of its own for it.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "the server shows a CA's own certificate; let it show one with `basicConstraints=CA:FALSE`, self-signed or \
             signed by that CA"
        }
        _ => return error,
    };
    io::Error::other(format!("{error}: {help}"))
}

fn add(roots: &mut RootCertStore, ca: &Path) -> Result<(), String> {
    let certificates = CertificateDer::pem_file_iter(ca).map_err(|error| error.to_string())?;
    let mut count = 0;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
        count += 1;
    }
    match count {
        0 => Err("there is no certificate in it".to_owned()),
        _ => Ok(()),
    }
}

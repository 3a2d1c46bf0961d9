//! TLS by rustls: certificate and key from PEM files.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, InconsistentKeys, ServerConfig};
use tokio_rustls::server::TlsStream;

use super::stream::Socket;

/// The certificate with which [`Serve::tls`](super::Serve::tls) speaks HTTPS: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by
/// ALPN. With the feature `tls`. Cheap to clone; clones share the certificate.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
    cert_file: Arc<Path>,
    key_file: Arc<Path>,
}

impl Tls {
    /// Reads a certificate, followed in its file by the intermediate ones, and the private key that belongs to it
    /// (PKCS #8, PKCS #1 or SEC 1), both PEM.
    ///
    /// # Errors
    /// When a file can't be read or holds nothing that can be used, or when the key is another certificate's.
    pub fn from_pem_files(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, TlsError> {
        let (cert_file, key_file) = (cert.into(), key.into());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let current = Arc::new(Current(RwLock::new(read(&cert_file, &key_file, &provider)?)));
        let unusable = |error| TlsError::new(&cert_file, false, Problem::Unusable(error));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Who comes back resumes without the key's signature, and nothing is kept here for it.
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
        Ok(Self {
            config: Arc::new(config),
            current,
            cert_file: cert_file.into(),
            key_file: key_file.into(),
        })
    }

    /// Reads the files again. Connections that are open keep what they began with.
    ///
    /// # Errors
    /// As [`Tls::from_pem_files`]; the certificate in use then stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let read = read(&self.cert_file, &self.key_file, self.config.crypto_provider())?;
        *self.current.0.write() = read;
        Ok(())
    }

    pub(super) async fn accept(&self, tcp: Socket) -> io::Result<TlsStream<Socket>> {
        TlsAcceptor::from(Arc::clone(&self.config)).accept(tcp).await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("cert_file", &self.cert_file)
            .field("key_file", &self.key_file)
            .finish_non_exhaustive()
    }
}

/// The certificate of new connections.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }
}

fn read(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
    let wrong_cert = |problem| TlsError::new(cert, false, problem);
    let wrong_key = |problem| TlsError::new(key, true, problem);

    let text = std::fs::read(cert).map_err(|error| wrong_cert(Problem::Unreadable(error)))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong_cert(Problem::NotPem(error)))?;
    if chain.is_empty() {
        return Err(wrong_cert(Problem::NoCertificate));
    }

    let text = std::fs::read(key).map_err(|error| wrong_key(Problem::Unreadable(error)))?;
    let private = PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        wrong_key(match error {
            _ if is_encrypted(&text) => Problem::Encrypted,
            pem::Error::NoItemsFound => Problem::NoKey,
            error => Problem::NotPem(error),
        })
    })?;
    CertifiedKey::from_der(chain, private, provider)
        .map(Arc::new)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                wrong_key(Problem::OtherKey(cert.to_path_buf()))
            }
            rustls::Error::InvalidCertificate(_) => wrong_cert(Problem::Unusable(error)),
            error => wrong_key(Problem::Unusable(error)),
        })
}

fn is_encrypted(pem: &[u8]) -> bool {
    // PKCS #8, and the older way (RFC 1421 section 4.6.1.1).
    let marks = [&b"-----BEGIN ENCRYPTED PRIVATE KEY-----"[..], b"Proc-Type: 4,ENCRYPTED"];
    let holds = |mark: &[u8]| pem.windows(mark.len()).any(|window| window == mark);
    marks.into_iter().any(holds)
}

/// Why certificate and key can't be used. The message names the file; it holds nothing of the key.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct TlsError {
    file: PathBuf,
    is_key: bool,
    #[source]
    problem: Problem,
}

impl TlsError {
    fn new(file: &Path, is_key: bool, problem: Problem) -> Self {
        Self {
            file: file.to_path_buf(),
            is_key,
            problem,
        }
    }

    /// Whether it is the key's file that must be mended, not the certificate's.
    pub fn is_about_key(&self) -> bool {
        self.is_key
    }
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("the file can't be read: {0}")]
    Unreadable(io::Error),
    #[error("the file is no proper PEM: {0}")]
    NotPem(pem::Error),
    #[error("there is no certificate in the file; it is PEM, with a line `-----BEGIN CERTIFICATE-----`")]
    NoCertificate,
    #[error("there is no private key in the file; it is PEM, with a line `-----BEGIN PRIVATE KEY-----`")]
    NoKey,
    #[error("the private key is encrypted; write it without a passphrase, as `openssl pkey -in KEY -out FILE` does")]
    Encrypted,
    #[error("the private key does not belong to the certificate in {}", .0.display())]
    OtherKey(PathBuf),
    #[error("it can't be used: {0}")]
    Unusable(rustls::Error),
}

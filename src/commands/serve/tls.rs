//! TLS for callers: the certificate and its private key, read again when they change, and the handshake.

use std::io;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ServerSessionMemoryCache;
use rustls::{Error, InconsistentKeys, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy, sink};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::textfile::{self, TextError};
use crate::upstream::{self, SetupError};
use crate::watch::FileWatch;

/// How many sessions are kept, so that their callers need no full handshake when they come back.
const SESSIONS: usize = 4096;

/// The first byte of a TLS connection: a handshake record (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 0x16;

/// What is told to who speaks plain HTTP where TLS is spoken.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 44\r\n\
    connection: close\r\n\r\nhermux: TLS is spoken here, so use https://\n";

/// How much of what a plain caller still sends is read, so that the answer reaches it, bytes.
const MOST_OF_PLAIN: u64 = 256 << 10;

/// What is in force now; read by the workers, replaced as a whole.
pub(super) type InForce = Arc<ArcSwap<ServerConfig>>;

/// The certificate and the private key. Broken or unequal ones leave the last good pair in force.
pub(in crate::commands) struct Tls {
    certificate: FileWatch,
    key: FileWatch,
    in_force: InForce,
}

impl Tls {
    /// Reads both, and begins to watch them before that, so that no change is missed.
    pub(in crate::commands) fn load(certificate: &Path, key: &Path) -> Result<Self, SetupError> {
        let watches = (FileWatch::new(certificate), FileWatch::new(key));
        let in_force = Arc::new(ArcSwap::from_pointee(read(certificate, key)?));
        Ok(Self { certificate: watches.0, key: watches.1, in_force })
    }

    pub(super) fn in_force(&self) -> InForce {
        Arc::clone(&self.in_force)
    }

    /// Reads both where one changed since the last look.
    pub(super) fn reload_changed(&mut self) {
        // Both are asked each time: each tells its change once.
        let changed = (self.certificate.changed(), self.key.changed());
        if changed.0 || changed.1 {
            self.reload();
        }
    }

    /// Reads both, changed or not. Connections that are open keep what they began with.
    pub(super) fn reload(&self) {
        match read(self.certificate.path(), self.key.path()) {
            Ok(config) => {
                self.in_force.store(Arc::new(config));
                tracing::info!("reloaded the certificate: {}", self.certificate.path().display());
            }
            Err(error) => tracing::error!("the last good certificate stays in force: {error}"),
        }
    }
}

/// The configuration of connections that show `certificate`.
fn read(certificate: &Path, key: &Path) -> Result<ServerConfig, SetupError> {
    let chain = chain(certificate)?;
    let private = private_key(key)?;
    let builder = ServerConfig::builder_with_provider(upstream::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError(format!("TLS cannot be set up: {error}")))?
        .with_no_client_auth();
    let mut config = builder.with_single_cert(chain, private).map_err(|error| {
        let (certificate, key) = (certificate.display(), key.display());
        SetupError(match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => format!(
                "the private key is not that of the certificate: {key}\n\
                 hint: it has to belong to the first certificate in {certificate}"
            ),
            Error::InvalidCertificate(_) => format!(
                "the certificate is broken ({error}): {certificate}\n\
                 hint: --tls-cert takes the server's own certificate first, then its chain"
            ),
            _ => format!(
                "the private key can't be used ({error}): {key}\n\
                 hint: --tls-key takes an RSA, ECDSA (P-256 or P-384) or Ed25519 key as PEM"
            ),
        })
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    Ok(config)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let fault = |what: &str| {
        SetupError(format!(
            "{what}: {}\nhint: --tls-cert takes certificates as PEM, each from BEGIN to END CERTIFICATE",
            path.display()
        ))
    };
    let text =
        std::fs::read(path).map_err(|error| fault(&format!("the certificate can't be read ({error})")))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(fault("the file has no certificate")),
        Ok(chain) => Ok(chain),
        Err(_) => Err(fault("the file has a broken certificate")),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, SetupError> {
    let fault = |what: &str| {
        SetupError(format!(
            "{what}: {}\nhint: --tls-key takes a private key as PEM, not encrypted; `openssl pkey` decrypts one",
            path.display()
        ))
    };
    let text = match textfile::read(path) {
        Ok(Some(text)) => text,
        Ok(None) => return Err(fault("the private key can't be read (no such file)")),
        Err(TextError::NotText { .. }) => return Err(fault("the private key is not PEM")),
        Err(error) => return Err(SetupError(error.to_string())),
    };
    if text.exposed {
        tracing::warn!("{}", textfile::exposed_warning(path));
    }
    PrivateKeyDer::from_pem_slice(text.as_str().as_bytes())
        .map_err(|_| fault("the file has no private key that can be read"))
}

/// The handshake with who connected by `stream`; whoever speaks plain HTTP is told so.
pub(super) async fn handshake(mut stream: TcpStream, in_force: InForce) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
        stream.write_all(PLAIN).await?;
        stream.shutdown().await?;
        // Closing while unread input waits would take the answer from the peer.
        copy(&mut stream.take(MOST_OF_PLAIN), &mut sink()).await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not begin as TLS does"));
    }
    TlsAcceptor::from(in_force.load_full()).accept(stream).await
}

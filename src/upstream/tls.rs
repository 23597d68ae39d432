//! TLS towards upstream: the crypto provider, the roots, the configuration.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::SetupError;

/// The one place that names the crypto provider.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The configuration of all connections; sharing it lets sessions resume.
pub(super) fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, SetupError> {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().find(|name| std::env::var_os(name).is_some());
    let native = rustls_native_certs::load_native_certs();
    let mut roots = system_roots(native.certs, named)?;
    if let Some(path) = ca_file {
        add_file(&mut roots, path)?;
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A configuration that trusts nobody, for who needs one though there is no TLS.
pub(super) fn nobody() -> Result<ClientConfig, SetupError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Ok(config)
}

/// The system's roots; the bundled ones where the system has none, unless a variable, `named`, said where
/// they are: then none there is a mistake that must not widen whom we trust.
fn system_roots(
    native: Vec<CertificateDer<'static>>,
    named: Option<&'static str>,
) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(native);
    match (usable, named) {
        (0, Some(name)) => Err(SetupError(format!(
            "no certificate is where the variable says: {name}\nhint: correct it, or unset it to use the system's roots"
        ))),
        (0, None) => {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            Ok(roots)
        }
        _ => Ok(roots),
    }
}

/// Whether certificates can be read from a file.
pub(super) fn check_file(path: &Path) -> Result<(), SetupError> {
    add_file(&mut RootCertStore::empty(), path)
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), SetupError> {
    let fault = |what: String| {
        SetupError(format!(
            "{what}: {}\nhint: --ca-file takes certificates as PEM, each from BEGIN to END CERTIFICATE",
            path.display()
        ))
    };
    let text = std::fs::read(path).map_err(|error| fault(format!("the CA file cannot be read ({error})")))?;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        certificate
            .ok()
            .and_then(|certificate| roots.add(certificate).ok())
            .ok_or_else(|| fault("the CA file has a broken certificate".to_owned()))?;
        count += 1;
    }
    if count == 0 { Err(fault("the CA file has no certificate".to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rustls::RootCertStore;

    use super::{add_file, system_roots};

    #[test]
    fn bundled_roots_serve_a_system_without_any() {
        let roots = system_roots(Vec::new(), None).unwrap();
        assert_eq!(roots.len(), webpki_roots::TLS_SERVER_ROOTS.len());
    }

    #[test]
    fn a_variable_that_names_no_certificate_is_an_error() {
        let error = system_roots(Vec::new(), Some("SSL_CERT_FILE")).unwrap_err();
        assert!(error.0.contains("SSL_CERT_FILE"));
    }

    #[test]
    fn a_ca_file_adds_its_certificates_or_says_what_is_wrong() {
        let mut roots = RootCertStore::empty();
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_owned();
        assert!(add_file(&mut roots, &path).unwrap_err().0.contains("has no certificate"));
        file.write_all(issued.cert.pem().as_bytes()).unwrap();
        add_file(&mut roots, &path).unwrap();
        assert_eq!(roots.len(), 1);
        file.write_all(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(add_file(&mut roots, &path).unwrap_err().0.contains("broken"));
        let missing = path.with_extension("missing");
        assert!(add_file(&mut roots, &missing).unwrap_err().0.contains("missing"));
    }
}

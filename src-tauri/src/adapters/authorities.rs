//! Whose certificates prove a server: the authorities that this system trusts, or those of a file. Neutral ground, like
//! the clock.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::files;
use crate::domain::base::limits::AUTHORITIES_FILE_MAX_BYTES;

/// How servers prove themselves: by the certificates of the system, read once.
///
/// # Errors
/// If this system has none.
pub fn of_system() -> io::Result<Arc<ClientConfig>> {
    static TRUSTED: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = TRUSTED.get() {
        return Ok(config.clone());
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (kept, _) = roots.add_parsable_certificates(found.certs);
    if kept == 0 {
        return Err(io::Error::other(
            "this system has no certificates of authorities to trust; install its package ca-certificates, or name a file \
             of them in SSL_CERT_FILE",
        ));
    }
    let config = config(roots)?;
    Ok(TRUSTED.get_or_init(|| config).clone())
}

/// How servers prove themselves: by the certificates of a PEM file alone, read each time.
///
/// # Errors
/// If the file does not read or has none.
pub fn of_file(path: &Path) -> io::Result<Arc<ClientConfig>> {
    let bad = |why: String| io::Error::other(format!("{}: {why}", path.display()));
    let text = files::read(path, AUTHORITIES_FILE_MAX_BYTES).map_err(|e| bad(e.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|e| bad(e.to_string()))?;
        roots.add(certificate).map_err(|e| bad(e.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(bad("it holds no certificate in PEM form".to_owned())),
        false => config(roots),
    }
}

fn config(roots: RootCertStore) -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

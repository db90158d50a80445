//! TLS clients: trusted roots and the rustls configuration.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{
    CertificateDer,
    pem::{Error as PemError, PemObject},
};

use crate::provider;

/// The configuration of a TLS client, for QUIC and TCP alike: it trusts `roots`, verifies the
/// server's name, and offers the given ALPN protocols, most preferred first.
///
/// TLS 1.2 is offered over TCP, where an inspecting proxy may know nothing newer; QUIC uses TLS 1.3
/// only. Resumption is off; a caller that wants it sets its own session cache.
pub fn client(roots: impl Into<Arc<RootCertStore>>, alpn: &[&[u8]]) -> ClientConfig {
    #[expect(clippy::expect_used, reason = "fails only for versions that the provider lacks")]
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("aws-lc-rs has suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.resumption = Resumption::disabled();
    config
}

/// The root certificates of the operating system.
#[derive(Debug)]
pub struct NativeRoots {
    /// All that could be read. May be empty.
    pub store: RootCertStore,
    /// One text for each file or store that could not be read.
    pub errors: Vec<String>,
}

/// Loads the root certificates that the operating system trusts, or those that `SSL_CERT_FILE` and
/// `SSL_CERT_DIR` name. Reads many files, and blocks.
pub fn native_roots() -> NativeRoots {
    let mut store = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    store.add_parsable_certificates(native.certs);
    NativeRoots { store, errors: native.errors.iter().map(ToString::to_string).collect() }
}

/// The error for PEM that cannot be used as trusted roots.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// There is no `CERTIFICATE` section.
    #[error(
        "there is no PEM certificate: pass the certificate of the authority that issued the server's"
    )]
    NoCertificate,
    /// The PEM is damaged.
    #[error("the PEM is damaged: copy it again from where it was issued")]
    DamagedPem(#[source] PemError),
    /// The PEM is intact, but one of its certificates is not valid X.509.
    #[error("a certificate is damaged: copy it again from where it was issued")]
    DamagedCertificate(#[source] rustls::Error),
}

/// Takes every certificate in `pem` as a trusted root.
///
/// Unlike with the roots of an operating system, one bad certificate rejects them all: these were
/// passed on purpose.
///
/// # Errors
/// [`RootsError`] if there is no certificate or one is damaged.
pub fn roots_from_pem(pem: &[u8]) -> Result<RootCertStore, RootsError> {
    let mut roots = RootCertStore::empty();
    // Some editors put a byte order mark first.
    let pem = pem.strip_prefix("\u{feff}".as_bytes()).unwrap_or(pem);
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(RootsError::DamagedPem)?;
        roots.add(certificate).map_err(RootsError::DamagedCertificate)?;
    }
    if roots.is_empty() { Err(RootsError::NoCertificate) } else { Ok(roots) }
}

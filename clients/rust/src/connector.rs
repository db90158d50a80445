//! Connecting: from a URL and a token to a client in its session.

use std::{sync::Arc, time::Duration};

use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, pem::PemObject};

use crate::{
    client::{Client, Events},
    dial::Dialer,
    error::ConnectError,
    link::{Answer, quic},
    opening::Opening,
    options::ConnectOptions,
    session,
};

/// How long connecting may take, to the welcome.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Connects clients. One connector serves any number of them over the same UDP socket.
#[derive(Debug, Clone)]
pub struct Connector {
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) endpoints: Arc<quic::Endpoints>,
}

impl Connector {
    /// Trusts the certificates that the system trusts.
    ///
    /// # Errors
    /// [`ConnectError::Roots`] if the system has none.
    pub fn new() -> Result<Self, ConnectError> {
        let mut roots = RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(native.certs);
        if roots.is_empty() {
            let detail = native.errors.iter().map(ToString::to_string).collect::<Vec<_>>();
            return Err(ConnectError::Roots(format!("the system has none {}", detail.join("; "))));
        }
        Ok(Self::with(roots))
    }

    /// Trusts only the certificates in `pem`, as a gateway's development authority.
    ///
    /// # Errors
    /// [`ConnectError::Roots`] if there is none in it.
    pub fn trusting(pem: &[u8]) -> Result<Self, ConnectError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate =
                certificate.map_err(|error| ConnectError::Roots(error.to_string()))?;
            roots.add(certificate).map_err(|error| ConnectError::Roots(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(ConnectError::Roots("there is no PEM certificate".into()));
        }
        Ok(Self::with(roots))
    }

    fn with(roots: RootCertStore) -> Self {
        Self { roots: Arc::new(roots), endpoints: Arc::default() }
    }

    /// Joins a session. Must be called inside a tokio runtime, which then carries the link.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        &self,
        options: &ConnectOptions,
    ) -> Result<(Client, Events), ConnectError> {
        let mut dialer = Dialer::new(self.clone(), options.clone())?;
        match dialer.open(Opening::Hello(options), TIMEOUT).await? {
            (Answer::Welcome(welcome), link) => Ok(session::start(dialer, &welcome, link)),
            (Answer::Resumed { .. }, _) => {
                Err(ConnectError::Protocol("the answer to the hello is no welcome".into()))
            }
        }
    }
}

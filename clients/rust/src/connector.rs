//! Connecting: from a URL and a token to a client in its session.

use std::{error::Error as _, sync::Arc, time::Duration};

use rustls::RootCertStore;
use signalbox_certs::NativeRoots;

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
        let NativeRoots { store, errors } = signalbox_certs::native_roots();
        if store.is_empty() {
            let detail = errors.join("; ");
            return Err(ConnectError::Roots(format!("the system has none {detail}")));
        }
        Ok(Self::with(store))
    }

    /// Trusts only the certificates in `pem`, as a gateway's development authority.
    ///
    /// # Errors
    /// [`ConnectError::Roots`] if there is none in it.
    pub fn with_roots_pem(pem: &[u8]) -> Result<Self, ConnectError> {
        let roots = signalbox_certs::roots_from_pem(pem);
        roots.map(Self::with).map_err(|error| {
            let source = error.source().map(|source| format!(" ({source})")).unwrap_or_default();
            ConnectError::Roots(format!("{error}{source}"))
        })
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

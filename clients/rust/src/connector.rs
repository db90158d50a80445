//! Connecting: from a URL and a token to a client in its session.

use std::{error::Error as _, net::IpAddr, sync::Arc, time::Duration};

use rustls::RootCertStore;
use signalbox_certs::NativeRoots;

use crate::{
    client::Client,
    dial::{Dialer, Patience},
    endpoints::Endpoints,
    error::ConnectError,
    events::Events,
    gateway_list::GatewayUrls,
    link::HandshakeReply,
    opening::Opening,
    options::ConnectOptions,
    reconnect,
};

/// Timeout of connecting, up to the welcome.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects clients. It holds the trusted root certificates and the UDP sockets, so any number of
/// clients can share one.
#[derive(Debug, Clone)]
pub struct Connector {
    roots: Arc<RootCertStore>,
    endpoints: Arc<Endpoints>,
}

impl Connector {
    /// A connector that trusts the root certificates of the operating system.
    ///
    /// ```
    /// use signalbox_client::Connector;
    ///
    /// # if false {
    /// let connector = Connector::new()?;
    /// # }
    /// # Ok::<(), signalbox_client::ConnectError>(())
    /// ```
    ///
    /// # Errors
    /// [`ConnectError::Roots`] if the system has none.
    pub fn new() -> Result<Self, ConnectError> {
        let NativeRoots { store, errors } = signalbox_certs::native_roots();
        if store.is_empty() {
            let detail = errors.join("; ");
            return Err(ConnectError::Roots(format!("the system has none {detail}")));
        }
        Ok(Self::with_roots(store))
    }

    /// A connector that trusts only the certificates in `pem`, for gateways with a certificate
    /// authority of their own. `signalbox serve --dev` prints the path of such a file.
    ///
    /// ```
    /// use signalbox_client::{ConnectError, Connector};
    ///
    /// let error = Connector::with_roots_pem(b"not a certificate").unwrap_err();
    /// assert!(matches!(error, ConnectError::Roots(_)));
    /// ```
    ///
    /// # Errors
    /// [`ConnectError::Roots`] if there is no certificate in it, or one is damaged.
    pub fn with_roots_pem(pem: &[u8]) -> Result<Self, ConnectError> {
        let roots = signalbox_certs::roots_from_pem(pem);
        roots.map(Self::with_roots).map_err(|error| {
            let source = error.source().map(|source| format!(" ({source})")).unwrap_or_default();
            ConnectError::Roots(format!("{error}{source}"))
        })
    }

    fn with_roots(roots: RootCertStore) -> Self {
        Self { roots: Arc::new(roots), endpoints: Arc::default() }
    }

    /// A connector with the same root certificates and sockets of its own, which connects from this
    /// address of the host. Gateways of the other address family are reached from any address. Without
    /// it, the system chooses.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), signalbox_client::ConnectError> {
    /// use signalbox_client::Connector;
    ///
    /// let connector = Connector::new()?.with_local_address([192, 0, 2, 7].into());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_local_address(&self, local: IpAddr) -> Self {
        Self {
            roots: self.roots.clone(),
            endpoints: Arc::new(Endpoints::with_local_address(local)),
        }
    }

    /// Joins a session. Must be called inside a tokio runtime, which then runs the client's task.
    ///
    /// ```no_run
    /// # async fn example(token: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use signalbox_client::{ConnectOptions, Connector};
    ///
    /// let connector = Connector::with_roots_pem(&std::fs::read("ca.pem")?)?;
    /// let urls = ["quic://localhost:4433", "wss://localhost:4433"];
    /// let options = ConnectOptions::new(urls, token);
    /// let (client, mut events) = connector.connect(&options).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        &self,
        options: &ConnectOptions,
    ) -> Result<(Client, Events), ConnectError> {
        let mut dialer = Dialer::new(self.roots.clone(), self.endpoints.clone(), options.clone())?;
        match dialer.open(Opening::Hello(options), Patience::in_all(CONNECT_TIMEOUT)).await? {
            (HandshakeReply::Welcome(welcome), link) => {
                Ok(reconnect::start(dialer, &welcome, link))
            }
            (HandshakeReply::Resumed { .. }, _) => {
                Err(ConnectError::Protocol("the gateway answered hello with resumed".into()))
            }
        }
    }
}

impl Client {
    /// Joins the session that `token` names, trusting the root certificates of the operating
    /// system. [`Connector`] and [`ConnectOptions`] give more control, and
    /// [`ConnectOptions::new`] says what several URLs mean.
    ///
    /// ```no_run
    /// # async fn example(token: &str) -> Result<(), signalbox_client::ConnectError> {
    /// use signalbox_client::Client;
    ///
    /// let (client, mut events) = Client::connect("quic://signal.example.com", token).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        urls: impl Into<GatewayUrls>,
        token: &str,
    ) -> Result<(Self, Events), ConnectError> {
        Connector::new()?.connect(&ConnectOptions::new(urls, token)).await
    }
}

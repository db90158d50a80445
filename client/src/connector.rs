//! Connecting: from a URL and a token to a client in its session.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use rustls::{RootCertStore, crypto::CryptoProvider};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use signalbox_protocol::{
    ClientMessage, Streams,
    message::{Hello, Welcome},
};
use tokio::sync::{mpsc, watch};

use crate::{
    client::{Client, EVENT_QUEUE, Events, Presence, SEND_QUEUE},
    error::ConnectError,
    link::{Driver, quic, websocket},
    order::Order,
    target::{Scheme, Target},
};

/// How long connecting may take, to the welcome.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Head start of each address over the next one of the same host (RFC 8305 recommends it).
const STAGGER: Duration = Duration::from_millis(250);

/// How often a QUIC client shows that it is there, unless the options say otherwise: a third of
/// the gateway's default idle timeout, and often enough to keep a NAT's mapping alive.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What one connection is to be like.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    pub(crate) url: String,
    pub(crate) token: String,
    pub(crate) presence: bool,
    pub(crate) streams: Streams,
    pub(crate) postcard: bool,
    pub(crate) keep_alive: Duration,
    pub(crate) agent: String,
}

impl ConnectOptions {
    /// Connects to the gateway at `url` (`quic://`, `wss://` or `ws://`) with a token from the
    /// project's server.
    pub fn new(url: impl Into<String>, token: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            token: token.into(),
            presence: true,
            streams: Streams::PerSender,
            postcard: true,
            keep_alive: KEEP_ALIVE,
            agent: concat!("signalbox-rust/", env!("CARGO_PKG_VERSION")).into(),
        }
    }

    /// Whether to be told of others coming and going (default: yes). Large sessions do without.
    #[must_use]
    pub fn presence(mut self, presence: bool) -> Self {
        self.presence = presence;
        self
    }

    /// How a QUIC client gets its signals (default: a stream per sender).
    #[must_use]
    pub fn streams(mut self, streams: Streams) -> Self {
        self.streams = streams;
        self
    }

    /// Speak JSON instead of postcard on a WebSocket.
    #[must_use]
    pub fn json(mut self) -> Self {
        self.postcard = false;
        self
    }

    /// How often a QUIC client shows that it is there (default: 10 s). Must be below the
    /// gateway's idle timeout.
    #[must_use]
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.keep_alive = interval;
        self
    }

    /// The application's name and version, for the gateway's log; at most 64 bytes.
    #[must_use]
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = agent.into();
        self
    }

    pub(crate) fn hello(&self) -> ClientMessage<'_> {
        ClientMessage::Hello(Hello {
            token: self.token.as_str().into(),
            presence: self.presence,
            streams: self.streams,
            agent: Some(self.agent.as_str().into()),
        })
    }
}

/// Connects clients. One connector serves any number of them over the same UDP socket.
#[derive(Debug, Clone)]
pub struct Connector {
    roots: Arc<RootCertStore>,
    endpoints: Arc<quic::Endpoints>,
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
        match tokio::time::timeout(TIMEOUT, self.try_connect(options)).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Timeout),
        }
    }

    async fn try_connect(
        &self,
        options: &ConnectOptions,
    ) -> Result<(Client, Events), ConnectError> {
        let target = Target::parse(&options.url)?;
        let addresses = target.resolve().await?;
        match target.scheme {
            Scheme::Quic => {
                let connect = |address| {
                    quic::connect(&self.endpoints, self.roots.clone(), &target, address, options)
                };
                let (welcome, link) = race(addresses, connect).await?;
                Ok(start(welcome, options, |driver| quic::run(link, driver)))
            }
            Scheme::Wss | Scheme::Ws => {
                let connect =
                    |address| websocket::connect(self.roots.clone(), &target, address, options);
                let (welcome, link) = race(addresses, connect).await?;
                Ok(start(welcome, options, |driver| websocket::run(link, driver)))
            }
        }
    }
}

/// Starts the link's task and makes the application's two ends.
fn start<F>(
    welcome: Welcome,
    options: &ConnectOptions,
    run: impl FnOnce(Driver) -> F,
) -> (Client, Events)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (command_sender, commands) = mpsc::channel(SEND_QUEUE);
    let (events, event_receiver) = mpsc::channel(EVENT_QUEUE);
    let (ended_sender, ended) = watch::channel(false);
    let presence = Presence::default();
    let driver = Driver {
        order: Order::new(&welcome, options.presence),
        commands,
        events,
        presence: presence.clone(),
    };
    let link = run(driver);
    tokio::spawn(async move {
        link.await;
        let _ = ended_sender.send(true);
    });
    (Client::new(welcome, command_sender, presence, ended), Events::new(event_receiver))
}

/// Tries the addresses, each with a head start over the next; the first to succeed wins.
async fn race<T, F: Future<Output = Result<T, ConnectError>>>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<T, ConnectError> {
    let mut attempts: FuturesUnordered<_> = (0u32..)
        .zip(addresses)
        .map(|(index, address)| {
            let attempt = connect(address);
            async move {
                tokio::time::sleep(STAGGER * index).await;
                attempt.await
            }
        })
        .collect();
    let mut failure = ConnectError::Timeout;
    while let Some(result) = attempts.next().await {
        match result {
            Ok(connected) => return Ok(connected),
            // A refusal is an answer: the other addresses are the same gateway.
            Err(refused @ ConnectError::Refused { .. }) => return Err(refused),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// TLS for one attempt. QUIC takes 1.3 whatever this says; over TCP a proxy may know only 1.2.
pub(crate) fn tls_config(roots: Arc<RootCertStore>, alpn: &[u8]) -> rustls::ClientConfig {
    static PROVIDER: std::sync::LazyLock<Arc<CryptoProvider>> =
        std::sync::LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[expect(clippy::expect_used, reason = "fails only for versions that the provider lacks")]
    let mut config = rustls::ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("aws-lc-rs has suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

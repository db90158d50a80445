//! Fixtures of the end-to-end tests: gateways on real ports with real TLS, clients of the SDK, and raw
//! links for invalid input.
//!
//! Tests wait for events, for at most [`TIMEOUT`].
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's panic is its answer"
)]

pub mod background;
pub mod endpoint;
pub mod ops;
pub mod proxy;
pub mod raw;
pub mod rest;

use std::{future::Future, path::Path, sync::LazyLock, time::Duration};

use signalbox_certs::DevAuthority;
use signalbox_client::{
    Client, ConnectError, ConnectOptions, ConnectionId, Connector, DisconnectReason, Event, Events,
    Role, Streams,
};
use signalbox_gateway::{
    Config, Gateway, Problem, ProjectConfig, ReloadHandle, RunError, StatsHandle,
};
use signalbox_protocol::{MediaMode, ProjectKey, SessionId};
use signalbox_token::{NewServerToken, NewToken, Signer};
use tokio::{sync::oneshot, task::JoinHandle};

/// The longest wait of a test for an event that must happen.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// The project of the tests: key and secret.
pub const PROJECT: (&str, &str) = ("12345678", "0123456789abcdef0123456789abcdef01234567");
/// Another project of the same gateways.
pub const OTHER_PROJECT: (&str, &str) = ("87654321", "fedcba9876543210fedcba9876543210fedcba98");

/// One authority for all gateways, kept from run to run beside the test binary.
static AUTHORITY: LazyLock<DevAuthority> = LazyLock::new(|| {
    signalbox_certs::install_provider();
    let dir = std::env::current_exe().unwrap().with_file_name("signalbox-tests-authority");
    DevAuthority::open(&dir, std::time::SystemTime::now()).unwrap()
});

/// The development authority's files.
pub fn authority() -> &'static DevAuthority {
    &AUTHORITY
}

/// A new certificate with a new key, issued in this directory by the same authority.
pub fn renewed_certificate(dir: &Path) -> DevAuthority {
    std::fs::create_dir_all(dir).unwrap();
    for file in ["ca.pem", "ca.key"] {
        std::fs::copy(authority().ca_pem_path().with_file_name(file), dir.join(file)).unwrap();
    }
    for file in ["leaf.pem", "leaf.key"] {
        let _ = std::fs::remove_file(dir.join(file));
    }
    DevAuthority::open(dir, std::time::SystemTime::now()).unwrap()
}

/// Runs a test on a runtime of its own, with two threads.
pub fn on_runtime(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().unwrap().block_on(test);
}

/// Fails the test if `future` takes longer than [`TIMEOUT`].
pub async fn within_timeout<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(TIMEOUT, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: timed out"),
    }
}

/// A gateway in this process, on ports of its own.
pub struct World {
    addresses: signalbox_gateway::Addresses,
    stats: StatsHandle,
    reload: ReloadHandle,
    config: Config,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<Result<(), RunError>>>,
    session: SessionId,
}

impl World {
    /// A gateway with the usual settings.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A gateway with settings changed by `change`.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::try_with(change).await.expect("the gateway starts")
    }

    /// The same; none if the gateway cannot start.
    pub async fn try_with(change: impl FnOnce(&mut Config)) -> Option<Self> {
        if std::env::var_os("SIGNALBOX_LOG").is_some() {
            let filter = tracing_subscriber::EnvFilter::from_env("SIGNALBOX_LOG");
            let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        }
        let mut config = Config::default();
        config.listen.quic = "127.0.0.1:0".parse().unwrap();
        config.listen.tcp = "127.0.0.1:0".parse().unwrap();
        config.tls.certificate = Some(authority().certificate_path().to_owned());
        config.tls.key = Some(authority().key_path().to_owned());
        config.projects = [PROJECT, OTHER_PROJECT]
            .map(|(key, secret)| ProjectConfig::with_secret(key.parse().unwrap(), secret))
            .to_vec();
        config.drain.spread_ms = 200;
        // Tests send more than applications. Those of the limits set them.
        config.limits.signals_per_second_per_connection = 0;
        config.limits.bytes_per_second_per_connection = 0;
        config.limits.deliveries_per_second_per_session = 0;
        change(&mut config);
        let mut gateway = Gateway::bind(config.clone()).ok()?;
        gateway.join_cluster().await.ok()?;
        let (addresses, stats) = (gateway.addresses(), gateway.stats());
        let reload = gateway.reload();
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            let _ = stopped.await;
        };
        let running = tokio::spawn(gateway.run(stopped, std::future::pending()));
        let session = new_session(PROJECT.0);
        Some(Self {
            addresses,
            stats,
            reload,
            config,
            stop: Some(stop),
            running: Some(running),
            session,
        })
    }

    /// Stops the gateway and waits until it has stopped.
    pub async fn stop(&mut self) {
        self.tell_to_stop();
        self.is_done().await;
    }

    /// Changes the projects of the running gateway. Returns whether they differ.
    pub fn change_projects(
        &mut self,
        change: impl FnOnce(&mut Vec<ProjectConfig>),
    ) -> Result<bool, Vec<Problem>> {
        change(&mut self.config.projects);
        self.reload.replace_projects(&self.config)
    }

    /// Changes the configuration of the running gateway, if the new one is valid.
    pub fn reload(&mut self, change: impl FnOnce(&mut Config)) -> Result<(), Vec<Problem>> {
        let mut config = self.config.clone();
        change(&mut config);
        self.reload.apply(&config)?;
        self.config = config;
        Ok(())
    }

    /// Waits until the gateway has ended by itself.
    pub async fn is_done(&mut self) {
        if let Some(running) = self.running.take() {
            within_timeout("the gateway ends", running).await.unwrap().unwrap();
        }
    }

    /// Asks the gateway to stop.
    pub fn tell_to_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    /// The addresses of the gateway.
    pub fn addresses(&self) -> signalbox_gateway::Addresses {
        self.addresses
    }

    /// Its counters.
    pub fn stats(&self) -> &StatsHandle {
        &self.stats
    }

    /// Takes the session of another gateway of the same cluster.
    pub fn share_session(&mut self, other: &Self) {
        self.session = other.session.clone();
    }

    /// The session of this test.
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// A token for this test's session.
    pub fn token(&self, role: Role) -> String {
        token(PROJECT, &self.session, role, Duration::from_secs(3600))
    }

    /// The gateway's URL for a transport.
    pub fn url(&self, transport: TransportMode) -> String {
        match transport {
            _ if !transport.is_udp() => format!("wss://{}", self.addresses.tcp),
            TransportMode::WebTransport => format!("https://{}", self.addresses.quic),
            _ => format!("quic://{}", self.addresses.quic),
        }
    }

    /// Options to join this test's session.
    pub fn options(&self, transport: TransportMode, role: Role) -> ConnectOptions {
        // A client that rejoins would be a new connection to the others.
        let options = ConnectOptions::new(self.url(transport), self.token(role)).rejoin(false);
        transport.options(options)
    }

    /// Joins this test's session.
    pub async fn join(&self, transport: TransportMode, role: Role) -> Member {
        self.try_join(&self.options(transport, role)).await.unwrap()
    }

    /// Joins with these options.
    pub async fn try_join(&self, options: &ConnectOptions) -> Result<Member, ConnectError> {
        let connector = Connector::with_roots_pem(authority().ca_pem().as_bytes()).unwrap();
        let (client, mut events) = within_timeout("connecting", connector.connect(options)).await?;
        let first = within_timeout("connected", events.next()).await.unwrap();
        assert!(matches!(first, Event::SessionConnected { .. }));
        Ok(Member { client, events })
    }

    /// Waits until the gateway holds no connection, so that none has leaked.
    pub async fn is_empty(&self) {
        let empty = async {
            while self.stats.current().connections > 0 || self.stats.current().sessions > 0 {
                tokio::task::yield_now().await;
            }
        };
        within_timeout("the gateway is empty", empty).await;
    }
}

/// A session id of a project.
pub fn new_session(key: &str) -> SessionId {
    let key: ProjectKey = key.parse().unwrap();
    let mut random = [0; 24];
    random[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    SessionId::mint(&key, MediaMode::Relayed, None, unix_time().as_millis() as u64, random)
}

/// A token signed with a project's secret.
pub fn token(project: (&str, &str), session: &SessionId, role: Role, lifetime: Duration) -> String {
    token_for(project, session, role, "", lifetime)
}

/// The same with connection data.
pub fn token_for(
    (key, secret): (&str, &str),
    session: &SessionId,
    role: Role,
    connection_data: &str,
    lifetime: Duration,
) -> String {
    let key = key.parse().unwrap();
    let new = NewToken {
        key: &key,
        signer: Signer::Secret(secret),
        session,
        role,
        connection_data,
        now: unix_time(),
        lifetime,
    };
    new.mint().unwrap()
}

/// A server's credential signed with a project's secret, valid for an hour.
pub fn credential((key, secret): (&str, &str)) -> String {
    let key = key.parse().unwrap();
    let signer = Signer::Secret(secret);
    let lifetime = Duration::from_secs(3600);
    NewServerToken { key: &key, signer, now: unix_time(), lifetime }.mint().unwrap()
}

/// Time since 1970.
pub fn unix_time() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap()
}

/// A transport with the codec and the stream layout that a client chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportMode {
    /// QUIC with a stream per sender.
    Quic,
    /// QUIC with all senders on one stream.
    QuicSingleStream,
    /// WebTransport with a stream per sender.
    WebTransport,
    /// WebSocket with postcard.
    WebSocketPostcard,
    /// WebSocket with JSON.
    WebSocketJson,
}

impl TransportMode {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Quic,
        Self::QuicSingleStream,
        Self::WebTransport,
        Self::WebSocketPostcard,
        Self::WebSocketJson,
    ];

    /// Whether it is carried by UDP.
    pub fn is_udp(self) -> bool {
        matches!(self, Self::Quic | Self::QuicSingleStream | Self::WebTransport)
    }

    /// Options for this transport.
    pub fn options(self, options: ConnectOptions) -> ConnectOptions {
        match self {
            Self::Quic | Self::WebTransport | Self::WebSocketPostcard => options,
            Self::QuicSingleStream => options.streams(Streams::Single),
            Self::WebSocketJson => options.json(),
        }
    }
}

/// A client of the SDK in a session, with its events.
pub struct Member {
    /// The client.
    pub client: Client,
    /// Its events.
    pub events: Events,
}

/// A received signal: sender, type, data.
pub type Heard = (Option<ConnectionId>, Option<String>, Option<String>);

impl Member {
    /// Its connection.
    pub fn id(&self) -> ConnectionId {
        self.client.connection().id
    }

    /// Sends data to all; returns the signal's number.
    pub async fn say(&self, data: impl Into<String>) -> u64 {
        self.client.signal().data(data).enqueue().await.unwrap()
    }

    /// The next event.
    pub async fn next(&mut self) -> Event {
        within_timeout("an event", self.events.next()).await.expect("the session is not over")
    }

    /// The next event, which must be a signal.
    pub async fn hear(&mut self) -> Heard {
        match self.next().await {
            Event::Signal { from, signal_type, data, .. } => (from.connection(), signal_type, data),
            other => panic!("not a signal: {other:?}"),
        }
    }

    /// The data of the next event, which must be a signal with data.
    pub async fn hear_data(&mut self) -> String {
        self.hear().await.2.expect("data")
    }

    /// The next event, which must be `ConnectionCreated`.
    pub async fn sees_created(&mut self) -> ConnectionId {
        match self.next().await {
            Event::ConnectionCreated(info) => info.id,
            other => panic!("no connection was created: {other:?}"),
        }
    }

    /// The connections that were in the session when it joined: its first events.
    pub async fn sees_present(&mut self) -> Vec<ConnectionId> {
        let mut present = Vec::new();
        for _ in 0..self.client.present_on_joining() {
            present.push(self.sees_created().await);
        }
        present
    }

    /// The next event, which must be `ConnectionDestroyed`.
    pub async fn sees_destroyed(&mut self) -> (ConnectionId, DisconnectReason) {
        match self.next().await {
            Event::ConnectionDestroyed { id, reason } => (id, reason),
            other => panic!("no connection was destroyed: {other:?}"),
        }
    }

    /// Waits for the end of the link and skips other events. The client may reconnect.
    pub async fn loses_link(&mut self) -> signalbox_client::CloseReason {
        loop {
            if let Event::SessionReconnecting { reason, .. }
            | Event::SessionDisconnected { reason, .. } = self.next().await
            {
                return reason;
            }
        }
    }

    /// Waits for the end of the session and skips other events.
    pub async fn ends(&mut self) -> signalbox_client::CloseReason {
        loop {
            if let Event::SessionDisconnected { reason, .. } = self.next().await {
                return reason;
            }
        }
    }
}

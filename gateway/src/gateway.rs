//! The gateway's life: bind, run, drain.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use signalbox_certs::Certificates;
use signalbox_protocol::ProjectKey;
use signalbox_relay::{Relay, Stats};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    config::{Config, Limits, Links, Problem, ProjectEntry},
    drain::{self, Departures},
    expiry,
    keys::Keys,
    listen::{quic, tcp},
    project::{Project, Projects},
    secret::{self, SecretError},
    state_file::StateFile,
    supervise::{self, Failure, RunError, keep_running},
    webhook::Webhooks,
};

/// How often certificate files are looked at for a change.
const CERTIFICATE_POLL: Duration = Duration::from_secs(10);

/// What all listeners and links of a gateway share.
pub(crate) struct Shared {
    pub(crate) relay: Relay,
    pub(crate) projects: Arc<ArcSwap<Projects>>,
    pub(crate) webhooks: Webhooks,
    pub(crate) limits: Limits,
    pub(crate) links: Links,
    /// For HTTP connections of servers that have shown a credential.
    pub(crate) server_places: Arc<Semaphore>,
    /// Cancelled when somebody has told the gateway to go down: it is not ready for more.
    pub(crate) leaving: CancellationToken,
    /// Cancelled when the gateway stops accepting, and its clients are to go.
    pub(crate) closing: CancellationToken,
    /// When each of them must be gone.
    pub(crate) departures: Departures,
    /// Cancelled when it is over for everybody, those who are away included.
    pub(crate) over: CancellationToken,
    /// Every task that serves a client.
    pub(crate) tasks: TaskTracker,
    /// Those that wait for connections whose link is lost.
    pub(crate) away: TaskTracker,
    /// What the gateway cannot do without, and has failed.
    pub(crate) failure: Failure,
    started: Instant,
}

impl Shared {
    pub(crate) fn new(config: &Config, projects: Projects) -> Self {
        let limits = projects.limits();
        let projects = Arc::new(ArcSwap::from_pointee(projects));
        let webhooks = Webhooks::new(projects.clone(), config.limits.webhook_bytes);
        let relay = Relay::new(config.relay_settings(), Arc::new(webhooks.clone()));
        relay.set_limits(limits);
        Self {
            relay,
            projects,
            webhooks,
            limits: config.limits.clone(),
            links: config.links.clone(),
            server_places: Arc::new(Semaphore::new(config.limits.server_connections)),
            leaving: CancellationToken::new(),
            closing: CancellationToken::new(),
            departures: Departures::new(&config.links),
            over: CancellationToken::new(),
            tasks: TaskTracker::new(),
            away: TaskTracker::new(),
            failure: Failure::default(),
            started: Instant::now(),
        }
    }

    /// Serves a client in a task of its own. If that panics, the client is the only one to notice.
    pub(crate) fn spawn(
        &self,
        client: SocketAddr,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.tasks.spawn(supervise::isolated(client, task));
    }

    /// How long connections of a project are kept when their link is lost; zero if not at all, or
    /// if there is no such project any more.
    pub(crate) fn resume_window(&self, project: &ProjectKey) -> Duration {
        let projects = self.projects.load();
        let window_ms = projects.get(project.as_str()).map_or(0, Project::resume_window_ms);
        Duration::from_millis(window_ms.into())
    }

    /// Time since the gateway started: the relay's clock.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Time since 1970, by the system's clock.
pub(crate) fn unix_time() -> Duration {
    // A clock before 1970 makes every token one of the future, which is said to its bearer.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Where a gateway listens, with the ports that the system chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// UDP, for QUIC.
    pub quic: SocketAddr,
    /// TCP, for WebSocket and HTTP.
    pub tcp: SocketAddr,
}

/// Why a gateway could not start. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The configuration does not make sense; all that is wrong with it.
    #[error("the configuration cannot be used:\n  {}", lines(.0))]
    Config(Vec<Problem>),
    /// The certificate or its key is not usable.
    #[error("the certificate cannot be used")]
    Certificate(#[source] signalbox_certs::LoadError),
    /// The private key could not be read again.
    #[error("cannot read the private key")]
    Key(#[source] io::Error),
    /// The secret that belongs to the state file is not usable.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The TLS configuration does not suit QUIC.
    #[error("the TLS configuration does not suit QUIC")]
    Tls(#[source] quinn::crypto::rustls::NoInitialCipherSuite),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({protocol}): is another program using it?")]
    Listen {
        /// `udp` or `tcp`.
        protocol: &'static str,
        /// Which.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
}

/// A gateway that has its ports and serves as soon as it is [run](Gateway::run).
pub struct Gateway {
    shared: Arc<Shared>,
    projects: LiveProjects,
    certificates: Certificates,
    quic: quic::Listener,
    tcp: tcp::Listener,
    addresses: Addresses,
    state_file: Option<Arc<StateFile>>,
}

impl Gateway {
    /// Loads the certificate and binds both ports. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`], which says what to mend.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        let problems = config.problems();
        let (Some(certificate), Some(key), true) =
            (&config.tls.certificate, &config.tls.key, problems.is_empty())
        else {
            return Err(BindError::Config(problems));
        };
        let entries = config.read_projects().map_err(BindError::Config)?;
        let projects = Projects::new(&entries, &config).map_err(BindError::Config)?;
        if projects.is_empty() {
            warn!("no project is configured: nobody can join");
        }
        let certificates =
            Certificates::load(certificate.clone(), key.clone()).map_err(BindError::Certificate)?;
        let shared = Arc::new(Shared::new(&config, projects));
        let projects = LiveProjects(Arc::new(Live {
            shared: shared.clone(),
            config: config.clone(),
            current: Mutex::new(entries),
        }));
        let secret = match &config.resume.state_file {
            Some(path) => secret::beside(path)?,
            None => std::fs::read(key).map_err(BindError::Key)?,
        };
        let keys = Keys::of(&secret);
        let quic = quic::Listener::bind(config.listen.quic, &certificates, &keys, &shared)?;
        let tcp_tls = (!config.tls.plaintext_tcp).then_some(&certificates);
        let tcp = tcp::Listener::bind(config.listen.tcp, tcp_tls, &shared)?;
        let addresses = Addresses { quic: quic.address(), tcp: tcp.address() };
        let state_file = config.resume.state_file.map(|path| {
            Arc::new(StateFile::new(path, config.resume.state_bytes, keys.state_file()))
        });
        Ok(Self { shared, projects, certificates, quic, tcp, addresses, state_file })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Its certificates, to be reloaded by whoever is told to (a signal, say).
    pub fn certificates(&self) -> Certificates {
        self.certificates.clone()
    }

    /// Its projects, to be replaced by whoever sees that the configuration has changed.
    pub fn projects(&self) -> LiveProjects {
        self.projects.clone()
    }

    /// Something that tells how much the gateway holds, while it runs.
    pub fn monitor(&self) -> Monitor {
        Monitor(self.shared.relay.clone())
    }

    /// Takes up what the gateway before has left in the state file, if one is configured, and
    /// serves until `shutdown` is done, then drains: is not ready for a while, then accepts nobody,
    /// asks every client to go, ends those who have not gone in time, and waits for them, for the
    /// configured times. When `at_once` is done, too, everybody is ended at once.
    ///
    /// # Errors
    /// [`RunError`], if it drained without being told to, because it could not serve any more.
    pub async fn run(
        self,
        shutdown: impl Future<Output = ()>,
        at_once: impl Future<Output = ()>,
    ) -> Result<(), RunError> {
        let Self { shared, certificates, quic, tcp, state_file, .. } = self;
        if let Some(file) = &state_file {
            file.take_up(&shared);
        }
        let endpoint = quic.endpoint();
        let listeners = TaskTracker::new();
        listeners.spawn(quic.run(shared.clone()));
        listeners.spawn(tcp.run(shared.clone()));
        let watching = keep_running("certificate watch", move || watch(certificates.clone()));
        listeners.spawn(shared.closing.clone().run_until_cancelled_owned(watching));
        listeners.close();
        tokio::select! {
            () = shutdown => {}
            () = shared.failure.reported() => {}
        }

        let hurry = CancellationToken::new();
        let mut drained = pin!(drain::drain(&shared, state_file.as_ref(), &hurry));
        tokio::select! {
            () = &mut drained => {}
            () = at_once => {
                hurry.cancel();
                drained.await;
            }
        }
        let failed = shared.failure.take();
        if matches!(failed, Some(RunError::Quic)) {
            // If it has panicked, so would this, and its end.
            std::mem::forget(endpoint);
        } else {
            endpoint.close(
                signalbox_protocol::CloseReason::ShuttingDown.quic_code().into(),
                signalbox_protocol::CloseReason::ShuttingDown.name().as_bytes(),
            );
            // The last CONNECTION_CLOSE frames leave here. A silent peer would hold this for three
            // probe timeouts.
            let _ = tokio::time::timeout(Duration::from_secs(1), endpoint.wait_idle()).await;
            listeners.wait().await;
        }
        info!("stopped");
        failed.map_or(Ok(()), Err)
    }
}

/// The projects of a running gateway. Its clones are one.
#[derive(Clone)]
pub struct LiveProjects(Arc<Live>);

struct Live {
    shared: Arc<Shared>,
    /// What the gateway was started with.
    config: Config,
    /// As they were configured, with the text of public keys.
    current: Mutex<Vec<ProjectEntry>>,
}

impl LiveProjects {
    /// Takes the projects, and nothing else, from a configuration; tells whether that changed
    /// anything. New tokens and requests are judged by the new ones; who is connected stays,
    /// even if his project is there no more.
    ///
    /// # Errors
    /// Everything that is wrong with them; then those of before stay.
    pub fn replace(&self, config: &Config) -> Result<bool, Vec<Problem>> {
        let entries = config.read_projects()?;
        let mut current = self.0.current.lock();
        if *current == entries {
            return Ok(false);
        }
        let projects = Projects::new(&entries, &self.0.config)?;
        self.0.shared.relay.set_limits(projects.limits());
        self.0.shared.projects.store(Arc::new(projects));
        *current = entries;
        Ok(true)
    }
}

/// Tells how much a gateway holds.
#[derive(Clone)]
pub struct Monitor(Relay);

impl Monitor {
    /// Sessions and connections now.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }
}

/// Reloads the certificate when its files change, and warns before it expires. A failure is logged
/// by the resolver, which then goes on with the old certificate.
async fn watch(certificates: Certificates) {
    let mut poll = tokio::time::interval(CERTIFICATE_POLL);
    let mut expiry = expiry::Watch::default();
    loop {
        poll.tick().await;
        let reloaded = certificates.clone();
        let reload = move || {
            if reloaded.changed_on_disk() {
                let _ = reloaded.reload();
            }
        };
        supervise::blocking("certificate watch", reload).await;
        expiry.look(&certificates, SystemTime::now());
    }
}

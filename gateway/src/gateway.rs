//! [`Gateway`]: bind, run, drain.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use signalbox_certs::Certificates;
use signalbox_nats::{Bus, NatsError};
use signalbox_protocol::CloseReason;
use signalbox_relay::Relay;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use crate::{
    acme::{Acme, AcmeStorage},
    config::{Config, Problem},
    context::ServerContext,
    drain,
    error::BindError,
    expiry,
    failure::RunError,
    handles::StatsHandle,
    keys::Keys,
    lifecycle::Lifecycle,
    listen::{
        http,
        ops::{Operations, OpsAccess, OpsState},
        page, quic,
        tcp::{self, SharedRouter},
    },
    log_filter::LogFilter,
    metrics::MetricSources,
    ops_token::SharedToken,
    page::PageSession,
    project::{self, Projects},
    reload::{ReloadHandle, Reloadable},
    reload_requests::{ReloadRequester, ReloadRequests, reload_requests},
    state_file::{RevocationFile, StateFile},
    supervise::{catch, keep_running},
    tls_identity,
    trace::Tracer,
    webhook::Webhooks,
};

/// Timeout for sending the last CONNECTION_CLOSE frames. A silent peer would hold the endpoint for
/// three probe timeouts.
const ENDPOINT_CLOSE: Duration = Duration::from_secs(1);

/// The addresses on which a gateway listens, with the ports that the system chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// UDP, for QUIC.
    pub quic: SocketAddr,
    /// TCP, for WebSocket and HTTP.
    pub tcp: SocketAddr,
    /// TCP, for the page in a browser and its WebSocket, if it is served.
    pub page: Option<SocketAddr>,
    /// TCP, for operations, if it is configured.
    pub ops: Option<SocketAddr>,
}

/// A gateway that has bound its ports. It serves when it is [run](Gateway::run).
pub struct Gateway {
    context: ServerContext,
    webhooks: Webhooks,
    reload: ReloadHandle,
    reload_requester: Option<ReloadRequester>,
    certificates: Certificates,
    quic: quic::QuicListener,
    tcp: tcp::HttpListener,
    router: SharedRouter,
    page: Option<tcp::HttpListener>,
    page_session: Option<PageSession>,
    ops: Option<tcp::HttpListener>,
    ops_access: OpsAccess,
    log_filter: Option<LogFilter>,
    addresses: Addresses,
    state_file: Option<StateFile>,
    revocation_file: Option<RevocationFile>,
    bus: Option<Bus>,
}

impl Gateway {
    /// Every fault for which a gateway would not start with this configuration, the files that it
    /// names included.
    pub fn check(config: &Config) -> Vec<Problem> {
        project::check(config)
    }

    /// Loads the certificate and binds all ports. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`], which says what to fix.
    pub fn bind(mut config: Config) -> Result<Self, BindError> {
        let problems = Self::check(&config);
        if !problems.is_empty() {
            return Err(BindError::Config(problems));
        }
        let entries = project::read_keys(&config).map_err(BindError::Config)?;
        let projects = Projects::new(&entries, &config).map_err(BindError::Config)?;
        if projects.is_empty() {
            warn!("no project is configured: no client can join");
        }
        let storage = AcmeStorage::of(&config.tls.acme);
        let certificates = tls_identity::certificates(&config, storage.as_ref())?;
        let plain = |serves, address: Option<SocketAddr>| {
            address.map(|address| tcp::HttpListener::bind(serves, address, None)).transpose()
        };
        let page = plain("the page", config.listen.page)?;
        let ops = plain("operations", config.ops.listen)?;
        let ops_token = config.ops.token().map_err(|it| vec![it.within("ops")]);
        let ops_token = ops_token.map_err(BindError::Config)?;
        let ops_token = SharedToken::new(ops_token);
        let ops_access = OpsAccess { token: ops_token.clone(), hosts: config.ops.hosts.clone() };
        let configured = config.clone();
        let page_origins: Vec<_> =
            page.iter().flat_map(|page| page::origins(page.address())).collect();
        config.auth.allowed_origins.extend(page_origins.iter().cloned());
        let projects = Arc::new(ArcSwap::from_pointee(projects));
        let tracer = Tracer::new(&config.tracing);
        let webhooks =
            Webhooks::new(projects.clone(), config.limits.webhook_queue_bytes, tracer.clone());
        let nats = config.cluster.nats_options().map_err(BindError::Config)?;
        let context =
            ServerContext::new(&config, nats, projects, Arc::new(webhooks.clone()), tracer);
        let keys = Keys::of(&tls_identity::secret(&config, storage.as_ref())?);
        let acme = storage.map(|it| Acme::new(&config.tls.acme, it, certificates.clone()));
        let context = ServerContext { acme, ..context };
        let quic = quic::QuicListener::bind(config.listen.quic, &certificates, &keys, &context)?;
        let tcp_tls = (!config.tls.plaintext_tcp).then_some(&certificates);
        let tcp = tcp::HttpListener::bind("WebSocket and HTTP", config.listen.tcp, tcp_tls)?;
        let router = SharedRouter::new(http::router(&context));
        let parts = Reloadable {
            context: context.clone(),
            webhooks: webhooks.clone(),
            certificates: certificates.clone(),
            quic: quic.settings(),
            router: router.clone(),
            ops_token: ops_token.clone(),
            page_origins,
        };
        let reload = ReloadHandle::new(parts, configured, entries);
        let addresses = Addresses {
            quic: quic.address(),
            tcp: tcp.address(),
            page: page.as_ref().map(tcp::HttpListener::address),
            ops: ops.as_ref().map(tcp::HttpListener::address),
        };
        let state_path = config.resume.state_file;
        let revocation_file =
            state_path.as_ref().map(|path| RevocationFile::beside(path, keys.state_file()));
        let state_file = state_path.map(|path| {
            StateFile::new(path, config.resume.state_file_max_bytes, keys.state_file())
        });
        Ok(Self {
            context,
            webhooks,
            reload,
            reload_requester: None,
            certificates,
            quic,
            tcp,
            router,
            page,
            page_session: None,
            ops,
            ops_access,
            log_filter: None,
            addresses,
            state_file,
            revocation_file,
            bus: None,
        })
    }

    /// Connects to NATS and joins the cluster, if one is configured. [`Gateway::run`] does it
    /// otherwise; here its errors come before the gateway is announced.
    ///
    /// # Errors
    /// [`NatsError`], which says what to fix.
    pub async fn join_cluster(&mut self) -> Result<(), NatsError> {
        if let (None, Some(cluster)) = (&self.bus, self.context.services.cluster()) {
            self.bus = Some(cluster.connect().await?);
        }
        Ok(())
    }

    /// The addresses on which it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Lets the page join this session by itself. Its tokens are given to browsers that have its key.
    pub fn set_page_session(&mut self, session: PageSession) {
        self.page_session = Some(session);
    }

    /// Lets the operations listener and reloads change the filter of the log.
    pub fn set_log_filter(&mut self, filter: LogFilter) {
        self.reload.set_log_filter(filter.clone());
        self.log_filter = Some(filter);
    }

    /// A handle by which the caller applies a changed configuration.
    pub fn reload(&self) -> ReloadHandle {
        self.reload.clone()
    }

    /// Lets the operations listener ask the caller to reload the configuration.
    pub fn reload_requests(&mut self) -> ReloadRequests {
        let (requester, requests) = reload_requests();
        self.reload_requester = Some(requester);
        requests
    }

    /// A handle by which the caller reads counters while the gateway runs.
    pub fn stats(&self) -> StatsHandle {
        StatsHandle::new(&self.context)
    }

    /// Completes when an operator asks the gateway to drain, by its operations listener. The gateway
    /// drains by itself then; a caller may have others to tell.
    pub fn drain_requested(&self) -> impl Future<Output = ()> + Send + use<> {
        self.context.lifecycle.drain_requested().clone().cancelled_owned()
    }

    /// Restores connections from the state file, if one is configured, and serves until `shutdown`
    /// completes. Then drains: fails its readiness check, stops accepting, asks every client to
    /// leave, ends the links that are left, and waits for all of them, each for at most the
    /// configured time. When `at_once` completes, all remaining links end immediately.
    ///
    /// # Errors
    /// [`RunError`] if the gateway could not join its cluster, or drained because it could not serve
    /// any more.
    pub async fn run(
        mut self,
        shutdown: impl Future<Output = ()>,
        at_once: impl Future<Output = ()>,
    ) -> Result<(), RunError> {
        self.join_cluster().await?;
        let Self {
            context,
            webhooks,
            reload,
            reload_requester,
            certificates,
            quic,
            tcp,
            router,
            page,
            page_session,
            ops,
            ops_access,
            log_filter,
            state_file,
            revocation_file,
            bus,
            ..
        } = self;
        if let Some(file) = &state_file {
            file.restore(&context.services, &context.lifecycle);
        }
        // After the connections, which end if their tokens were revoked.
        if let Some(file) = &revocation_file {
            file.restore(&context.services);
        }
        let leave_cluster = CancellationToken::new();
        let bus = tokio::spawn(carry_bus(bus, leave_cluster.clone(), context.lifecycle.clone()));
        let endpoint = quic.endpoint();
        let listeners = TaskTracker::new();
        listeners.spawn(quic.run(context.clone()));
        listeners.spawn(tcp.run(context.clone(), router));
        if let Some(page) = page {
            let router = SharedRouter::new(page::router(&context, page_session, &certificates));
            listeners.spawn(page.run(context.clone(), router));
        }
        let operations = ops.map(|listener| {
            let sources = MetricSources {
                gateway: context.clone(),
                webhooks: webhooks.clone(),
                certificates: certificates.clone(),
            };
            let state = OpsState {
                sources,
                configuration: reload,
                reload_requester,
                scraper: Arc::default(),
                history: Arc::default(),
                overviews: Arc::default(),
                log: log_filter,
            };
            Operations::serve(listener, ops_access, state)
        });
        let lifecycle = context.lifecycle.clone();
        listeners.spawn(async move {
            let watching =
                keep_running("certificate watch", || expiry::watch(certificates.clone()));
            lifecycle.until_drain(watching).await;
        });
        if let Some(acme) = context.acme.clone() {
            let lifecycle = context.lifecycle.clone();
            listeners.spawn(async move {
                lifecycle.until_drain(keep_running("ACME", || acme.run())).await;
            });
        }
        let services = context.services.clone();
        let lifecycle = context.lifecycle.clone();
        listeners.spawn(async move {
            let watching = keep_running("memory watch", || services.overload().watch());
            lifecycle.until_drain(watching).await;
        });
        listeners.close();
        let turns = {
            let relay = context.services.relay().clone();
            tokio::spawn(keep_running("turns", move || give_turns(relay.clone())))
        };
        let (stop_writing, writers) = (CancellationToken::new(), TaskTracker::new());
        if let Some(file) = revocation_file {
            let (services, stop) = (context.services.clone(), stop_writing.clone());
            writers.spawn(async move {
                keep_running("revocation file", || file.keep(&services, &stop)).await;
            });
        }
        writers.close();
        let failure = context.lifecycle.failure();
        tokio::select! {
            () = shutdown => {}
            () = failure.reported() => {}
            () = context.lifecycle.drain_requested().cancelled() => {}
        }

        let hurry = CancellationToken::new();
        let drained = drain::drain(
            &context.services,
            &context.lifecycle,
            &webhooks,
            state_file.as_ref(),
            &hurry,
        );
        let mut drained = pin!(drained);
        tokio::select! {
            () = &mut drained => {}
            () = at_once => {
                hurry.cancel();
                drained.await;
            }
        }
        stop_writing.cancel();
        writers.wait().await;
        turns.abort();
        // The others take over what this gateway has left to them.
        leave_cluster.cancel();
        let _ = bus.await;
        let failed = failure.take();
        if matches!(failed, Some(RunError::Quic)) {
            // Its driver has panicked, and closing or dropping the endpoint would panic as well.
            std::mem::forget(endpoint);
        } else {
            let reason = CloseReason::ShuttingDown;
            endpoint.close(reason.quic_code().into(), reason.name().as_bytes());
            let _ = tokio::time::timeout(ENDPOINT_CLOSE, endpoint.wait_idle()).await;
            listeners.wait().await;
        }
        if let Some(operations) = operations {
            operations.stop().await;
        }
        context.services.tracer().finish().await;
        info!("gateway stopped");
        failed.map_or(Ok(()), Err)
    }
}

/// Carries the messages of the cluster until the gateway leaves it.
async fn carry_bus(bus: Option<Bus>, leave: CancellationToken, lifecycle: Arc<Lifecycle>) {
    let Some(bus) = bus else { return };
    match catch(bus.run(leave)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => lifecycle.failure().report(RunError::Cluster(error)),
        Err(cause) => {
            error!(cause, "bus task panicked");
            lifecycle.failure().report(RunError::Bus);
        }
    }
}

/// Wakes the links of large sessions, a few at a time, and lets all other tasks run in between.
async fn give_turns(relay: Relay) {
    loop {
        poll_fn(|cx| relay.poll_turn(cx)).await;
        tokio::task::yield_now().await;
    }
}

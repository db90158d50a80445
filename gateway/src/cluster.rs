//! The gateway's part in a cluster. Sessions are opened through here before a member joins, a client
//! resumes, or a server's request is answered, so that the members of other gateways are known.

use std::{
    future::poll_fn,
    sync::{Arc, OnceLock},
    time::Duration,
};

use signalbox_cluster::{BarrierTimeout, Cluster, ClusterStatus, Links, SharedState};
use signalbox_nats::{Bus, BusMonitor, NatsError, NatsOptions};
use signalbox_protocol::SessionId;
use signalbox_relay::{Hold, Instance, JoinError, Observer, Relay, Settings};
use tokio::{sync::Notify, time::timeout};
use tracing::warn;

use crate::{clock::Clock, cluster_report::ClusterReport};

/// Maximum time that a join waits for the members on other gateways. Those that are known later are
/// announced to the client as new connections.
const JOIN_WAIT: Duration = Duration::from_millis(500);

/// Time for which a session stays open after a server's request has opened it, for the next one.
const REQUEST_HOLD: Duration = Duration::from_secs(1);

/// One gateway of a cluster.
pub(crate) struct ClusterNode {
    cluster: Arc<Cluster>,
    clock: Clock,
    options: NatsOptions,
    /// Notified when there are packets for the bus.
    ready: Arc<Notify>,
    bus: OnceLock<BusMonitor>,
    ready_without_bus: bool,
}

impl ClusterNode {
    /// A gateway that has not joined the cluster yet, and its relay.
    pub(crate) fn new(
        options: NatsOptions,
        ready_without_bus: bool,
        settings: Settings,
        observer: Arc<dyn Observer>,
        instance: Instance,
        clock: Clock,
        shared: Arc<dyn SharedState>,
    ) -> (Self, Relay) {
        let ready = Arc::new(Notify::new());
        let wake = ready.clone();
        let links = Arc::new(Links::new(instance.clone(), move || wake.notify_one()));
        let relay = Relay::clustered(settings, observer, instance, links.clone());
        let cluster = Cluster::new(relay.clone(), links).with_shared_state(shared);
        let cluster = Arc::new(cluster);
        let bus = OnceLock::new();
        (Self { cluster, clock, options, ready, bus, ready_without_bus }, relay)
    }

    /// Sends a message of the shared state to all other gateways.
    pub(crate) fn announce(&self, message: &[u8]) {
        self.cluster.announce(message);
    }

    /// Connects to NATS, and checks that this gateway can be a part of the cluster.
    pub(crate) async fn connect(&self) -> Result<Bus, NatsError> {
        let clock = self.clock;
        let clock = Arc::new(move || clock.uptime());
        let bus =
            Bus::connect(&self.options, self.cluster.clone(), self.ready.clone(), clock).await?;
        self.bus.get_or_init(|| bus.monitor());
        Ok(bus)
    }

    /// Opens a session for a member that joins.
    pub(crate) async fn open_for_join(&self, session: &SessionId) -> Result<Hold, JoinError> {
        let hold = self.cluster.open(session, self.clock.uptime())?;
        // Members that are known later are announced.
        let _ = timeout(JOIN_WAIT, self.opened(session)).await;
        Ok(hold)
    }

    /// Opens a session for a client that resumes.
    pub(crate) async fn open_for_resume(&self, session: &SessionId) -> Result<Hold, JoinError> {
        let hold = self.cluster.open(session, self.clock.uptime())?;
        self.opened(session).await;
        Ok(hold)
    }

    /// Opens a session for a request of a server, and keeps it open for the next one.
    pub(crate) async fn open_for_request(&self, session: &SessionId) -> Result<Hold, JoinError> {
        let hold = self.open_for_resume(session).await?;
        if hold.is_first() {
            let further = self.cluster.open(session, self.clock.uptime())?;
            tokio::spawn(async move {
                tokio::time::sleep(REQUEST_HOLD).await;
                drop(further);
            });
        }
        Ok(hold)
    }

    /// Waits until the other gateways have answered to the opening of a session. The cluster bounds
    /// the time.
    async fn opened(&self, session: &SessionId) {
        poll_fn(|cx| self.cluster.poll_opened(session, cx)).await;
    }

    /// Waits until all updates have been applied that other gateways have sent until now. The cluster
    /// bounds the time.
    pub(crate) async fn barrier(&self) -> Result<(), BarrierTimeout> {
        let id = self.cluster.begin_barrier(self.clock.uptime())?;
        poll_fn(|cx| self.cluster.poll_barrier(id, cx, self.clock.uptime())).await
    }

    /// Has other gateways open the sessions that only this one has, and waits until they have, for at
    /// most this time.
    pub(crate) async fn hand_over(&self, within: Duration) {
        self.cluster.hand_over();
        if timeout(within, poll_fn(|cx| self.cluster.poll_handed_over(cx))).await.is_err() {
            warn!("handover timed out; the clients of some sessions join again");
        }
    }

    /// Whether this gateway knows of every session that the others have open.
    pub(crate) fn is_settled(&self) -> bool {
        self.cluster.is_settled(self.clock.uptime())
    }

    /// The state of the cluster; none before the gateway has joined.
    pub(crate) fn status(&self) -> Option<ClusterStatus> {
        self.bus.get()?;
        Some(self.cluster.status(self.clock.uptime()))
    }

    /// The state of the cluster and of the bus, for operators; none before the gateway has joined.
    pub(crate) fn report(&self) -> Option<ClusterReport> {
        let (bus, now) = (self.bus.get()?.status(), self.clock.uptime());
        Some(ClusterReport::new(self.cluster.status(now), bus, now))
    }

    /// Whether load balancers should send clients to this gateway, as far as the bus is concerned:
    /// clients of shared sessions would not reach the members on other gateways.
    pub(crate) fn is_ready(&self, relay: &Relay) -> bool {
        let connected = self.bus.get().is_some_and(|bus| bus.status().connected);
        connected || self.ready_without_bus || relay.cluster_summary().shared == 0
    }
}

//! The gateway's lifecycle: its phases from ready to ended, and the tasks that each phase waits
//! for.
//!
//! ```text
//! ready ── mark_unready ──▶ unready ── begin_drain ──▶ draining ──────────── end ──▶ ended
//!                           /readyz fails              no new clients;               detached
//!                                                      links ask clients to leave    connections expire
//! ```

mod schedule;

use std::{future::Future, time::Duration};

use signalbox_relay::Detached;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument as _, Span};

use self::schedule::DrainSchedule;
use crate::{config::DrainConfig, failure::Failure, supervise};

/// Phases and tasks of one gateway.
pub(crate) struct Lifecycle {
    requested: CancellationToken,
    unready: CancellationToken,
    draining: CancellationToken,
    ended: CancellationToken,
    schedule: DrainSchedule,
    /// The tasks that serve clients.
    clients: TaskTracker,
    /// The timers of detached connections.
    detached: TaskTracker,
    failure: Failure,
}

impl Lifecycle {
    pub(crate) fn new(drain: &DrainConfig) -> Self {
        Self {
            requested: CancellationToken::new(),
            unready: CancellationToken::new(),
            draining: CancellationToken::new(),
            ended: CancellationToken::new(),
            schedule: DrainSchedule::new(drain),
            clients: TaskTracker::new(),
            detached: TaskTracker::new(),
            failure: Failure::default(),
        }
    }

    /// The lifecycle of the operations listener, which outlives the drain of the clients. Failures
    /// are those of the gateway.
    pub(crate) fn for_operations(&self) -> Self {
        let failure = self.failure.clone();
        Self { failure, ..Self::new(&DrainConfig::default()) }
    }

    /// Serves a client in a task of its own, whose log lines are in `span`. A panic is logged and
    /// ends that client alone.
    pub(crate) fn spawn(&self, span: Span, task: impl Future<Output = ()> + Send + 'static) {
        self.clients.spawn(supervise::isolated("client", task).instrument(span));
    }

    /// Expires a detached connection after its window, or when the gateway ends. `now` is the
    /// relay's clock.
    pub(crate) fn expire_after(&self, window: Duration, connection: Detached, now: Duration) {
        let ended = self.ended.clone();
        let expiry = async move {
            // At the end of the gateway the relay ends detached connections with all others.
            ended.run_until_cancelled(tokio::time::sleep(window)).await;
            connection.expire(now + window);
        };
        self.detached.spawn(supervise::isolated("resume window", expiry));
    }

    /// Asks the gateway to drain and end, as a signal to the process does.
    pub(crate) fn request_drain(&self) {
        self.requested.cancel();
    }

    /// The token that is cancelled by [`Lifecycle::request_drain`].
    pub(crate) fn drain_requested(&self) -> &CancellationToken {
        &self.requested
    }

    /// Failures for which the gateway must end.
    pub(crate) fn failure(&self) -> &Failure {
        &self.failure
    }

    /// Whether load balancers should send new clients here.
    pub(crate) fn is_ready(&self) -> bool {
        !self.unready.is_cancelled()
    }

    pub(crate) fn mark_unready(&self) {
        self.unready.cancel();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits until the drain begins.
    pub(crate) async fn drain_begun(&self) {
        self.draining.cancelled().await;
    }

    /// Runs a task until it is done or the drain begins.
    pub(crate) async fn until_drain(&self, task: impl Future<Output = ()>) {
        self.draining.run_until_cancelled(task).await;
    }

    /// Stops accepting clients and has every link ask its client to leave.
    pub(crate) fn begin_drain(&self) {
        self.draining.cancel();
        self.clients.close();
        self.detached.close();
    }

    /// The deadlines of the links during the drain.
    pub(crate) fn schedule(&self) -> &DrainSchedule {
        &self.schedule
    }

    /// Ends the timers of detached connections, which then expire.
    pub(crate) fn end(&self) {
        self.ended.cancel();
    }

    /// Waits for the tasks of all clients. The drain must have begun.
    pub(crate) async fn clients_done(&self) {
        self.clients.wait().await;
    }

    /// Waits until no detached connection is left. The drain must have begun.
    pub(crate) async fn detached_done(&self) {
        self.detached.wait().await;
    }

    /// Number of client tasks.
    pub(crate) fn clients(&self) -> usize {
        self.clients.len()
    }
}

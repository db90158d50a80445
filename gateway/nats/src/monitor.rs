//! The monitor of the bus: its state, and the events of the NATS client.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_nats::{Event, ServerError};
use parking_lot::Mutex;
use signalbox_cluster::{BusMessageError, LEASE};
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::{status::BusStatus, throttle::LogThrottle};

/// The clock of the gateway: the time since its start.
pub type BusClock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// A handle to the state of the bus. It stays valid after the bus has ended.
#[derive(Clone)]
pub struct BusMonitor(Arc<BusCounters>);

struct BusCounters {
    clock: BusClock,
    /// Wakes the publisher.
    ready: Arc<Notify>,
    state: Mutex<MonitorState>,
    /// A permission violation has been reported.
    denied: Notify,
    /// Time of the last message, in nanoseconds.
    heard: AtomicU64,
    published: AtomicU64,
    received: AtomicU64,
    dropped: AtomicU64,
    malformed: AtomicU64,
    slow: AtomicU64,
    throttles: Throttles,
}

#[derive(Default)]
struct MonitorState {
    connected: bool,
    since: Duration,
    last_error: Option<String>,
    violation: Option<String>,
    rtt: Option<Duration>,
    /// Number of the last probe, and when it was sent.
    probe: Option<(u64, Duration)>,
}

#[derive(Default)]
struct Throttles {
    version: LogThrottle,
    malformed: LogThrottle,
    slow: LogThrottle,
    dropped: LogThrottle,
    server: LogThrottle,
}

impl BusMonitor {
    pub(crate) fn new(clock: BusClock, ready: Arc<Notify>) -> Self {
        Self(Arc::new(BusCounters {
            clock,
            ready,
            state: Mutex::default(),
            denied: Notify::new(),
            heard: AtomicU64::new(0),
            published: AtomicU64::new(0),
            received: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            slow: AtomicU64::new(0),
            throttles: Throttles::default(),
        }))
    }

    /// The state of the bus.
    pub fn status(&self) -> BusStatus {
        let state = self.0.state.lock();
        BusStatus {
            connected: state.connected,
            since: state.since,
            last_error: state.last_error.clone(),
            rtt: state.rtt,
            published: self.0.published.load(Relaxed),
            received: self.0.received.load(Relaxed),
            dropped: self.0.dropped.load(Relaxed),
            malformed: self.0.malformed.load(Relaxed),
            slow: self.0.slow.load(Relaxed),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        (self.0.clock)()
    }

    /// Updates the state, and returns whether the bus is usable: the client has a connection, and
    /// some message has arrived within the lease. A gateway that publishes receives its own
    /// heartbeats.
    pub(crate) fn update(&self, has_connection: bool) -> bool {
        let now = self.now();
        let heard = Duration::from_nanos(self.0.heard.load(Relaxed));
        let is_stalled = now.saturating_sub(heard) > LEASE;
        let connected = has_connection && !is_stalled;
        let mut state = self.0.state.lock();
        if state.connected == connected {
            return connected;
        }
        state.connected = connected;
        state.since = now;
        if has_connection && is_stalled {
            state.last_error = Some("the server delivers no messages".to_owned());
        }
        let error = state.last_error.clone().unwrap_or_default();
        drop(state);
        if connected {
            info!("bus connected");
        } else {
            warn!(error, "bus disconnected");
        }
        connected
    }

    /// A message has arrived.
    pub(crate) fn heard(&self, now: Duration) {
        self.0.heard.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn probe_sent(&self, number: u64) {
        self.0.state.lock().probe = Some((number, self.now()));
    }

    /// A probe of this gateway has come back.
    pub(crate) fn probe_returned(&self, number: u64, now: Duration) {
        let mut state = self.0.state.lock();
        if let Some((_, sent)) = state.probe.take_if(|(last, _)| *last == number) {
            state.rtt = Some(now.saturating_sub(sent));
        }
        if !state.connected {
            self.0.ready.notify_one();
        }
    }

    pub(crate) fn count_published(&self) {
        self.0.published.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_received(&self) {
        self.0.received.fetch_add(1, Relaxed);
    }

    /// A message could not be published.
    pub(crate) fn dropped(&self, error: String) {
        self.0.dropped.fetch_add(1, Relaxed);
        if let Some(suppressed) = self.0.throttles.dropped.allow(self.now()) {
            warn!(error, suppressed, "bus message dropped");
        }
        self.0.state.lock().last_error = Some(error);
    }

    /// A received message is unusable.
    pub(crate) fn malformed(&self, error: BusMessageError, now: Duration) {
        self.0.malformed.fetch_add(1, Relaxed);
        let throttle = match error {
            BusMessageError::Version(_) => &self.0.throttles.version,
            BusMessageError::Malformed => &self.0.throttles.malformed,
        };
        if let Some(suppressed) = throttle.allow(now) {
            warn!(%error, suppressed, "bus message ignored");
        }
    }

    /// An attempt to connect has failed, or the server has reported an error.
    pub(crate) fn failed(&self, error: String) {
        self.0.state.lock().last_error = Some(error);
    }

    /// Waits until the server has reported a permission violation.
    pub(crate) async fn violation(&self) -> String {
        loop {
            let denied = self.0.denied.notified();
            if let Some(violation) = self.0.state.lock().violation.clone() {
                return violation;
            }
            denied.await;
        }
    }

    /// An event of the NATS client. It may be lost if there are many.
    pub(crate) fn event(&self, event: &Event) {
        match event {
            Event::Connected | Event::Disconnected => self.0.ready.notify_one(),
            Event::SlowConsumer(_) => {
                self.0.slow.fetch_add(1, Relaxed);
                if let Some(suppressed) = self.0.throttles.slow.allow(self.now()) {
                    warn!(suppressed, "bus messages lost: this gateway receives too slowly");
                }
            }
            Event::ServerError(error) => self.server_error(error),
            Event::LameDuckMode => info!("NATS server shutdown announced"),
            Event::Draining | Event::Closed | Event::ClientError(_) => {}
        }
    }

    fn server_error(&self, error: &ServerError) {
        let error = error.to_string();
        if let Some(suppressed) = self.0.throttles.server.allow(self.now()) {
            warn!(error, suppressed, "NATS error");
        }
        let mut state = self.0.state.lock();
        if error.to_ascii_lowercase().contains("permissions violation") {
            state.violation = Some(error.clone());
            self.0.denied.notify_waiters();
        }
        state.last_error = Some(error);
    }
}

//! Connect webhooks: a project's server decides on each connection before it is created.
//!
//! A client with a valid token waits while the gateway asks. It holds no admission permit meanwhile
//! ([`Slot`] bounds the clients of each project that wait), so that a slow server takes no permit from
//! the clients of other projects. Without an answer there is no connection: a client is admitted by
//! its server's word alone.

mod answer;
mod counts;
mod request;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use signalbox_protocol::{CloseReason, ProjectKey};
use tokio::time::Instant;
use tracing::{info, warn};

use self::counts::ConnectCounters;
pub(crate) use self::{
    counts::{ConnectCounts, ConnectResult},
    request::Applicant,
};
use crate::{
    config::{ConnectWebhookConfig, Problem},
    https_client::HttpsClient,
    trace::Tracer,
    webhook::endpoint::Endpoint,
};

/// Time between two log lines about the same project's failures.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The connect webhook of a project.
pub(crate) struct ConnectEndpoint {
    endpoint: Endpoint,
    timeout: Duration,
    max_waiting: usize,
}

impl ConnectEndpoint {
    /// # Errors
    /// Every problem of the settings, for the operator.
    pub(crate) fn new(config: &ConnectWebhookConfig) -> Result<Self, Vec<Problem>> {
        let mut problems = config.check();
        let endpoint = Endpoint::new(&config.url, &config.secret);
        match endpoint {
            Ok(endpoint) if problems.is_empty() => Ok(Self {
                endpoint,
                timeout: Duration::from_millis(config.timeout_ms),
                max_waiting: config.max_waiting,
            }),
            endpoint => {
                problems.extend(endpoint.err().into_iter().flatten());
                Err(problems)
            }
        }
    }
}

/// The refusal of a client, with the text that it and the log receive.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConnectRefusal {
    /// The server has said no.
    #[error("the project's server has refused the connection{}", reason.as_ref().map(|it| format!(": {it}")).unwrap_or_default())]
    Denied {
        /// Its own words.
        reason: Option<String>,
    },
    /// The server has not answered, or not as it should: its fault and not the client's.
    #[error("the project's server, and not the client, is at fault: {0}; try again later")]
    Failed(String),
    /// Too many clients wait for the server.
    #[error(
        "too many clients wait for the project's server; try again later (setting \
         projects.connect_webhook.max_waiting)"
    )]
    Crowded,
}

impl ConnectRefusal {
    /// The close reason that the client receives. After a denial it does not come back by itself.
    pub(crate) fn close_reason(&self) -> CloseReason {
        match self {
            Self::Denied { .. } => CloseReason::ForceDisconnected,
            Self::Failed(_) => CloseReason::InternalError,
            Self::Crowded => CloseReason::ConnectionLimit,
        }
    }
}

/// The connect webhooks of a gateway.
pub(crate) struct ConnectWebhooks {
    /// Of each project that has asked.
    states: Mutex<HashMap<ProjectKey, Arc<ProjectState>>>,
    client: HttpsClient,
    tracer: Tracer,
}

/// What is known of one project's webhook.
#[derive(Default)]
struct ProjectState {
    waiting: AtomicUsize,
    counts: ConnectCounters,
    log: Mutex<FailureLog>,
}

/// Bounds the log lines about failures, also while successes come between them.
#[derive(Default)]
struct FailureLog {
    /// The time of the last line about a failure.
    logged: Option<Instant>,
    /// Whether no request has succeeded since that line.
    failing: bool,
}

impl FailureLog {
    /// Whether a failure is to be logged.
    fn failed(&mut self, now: Instant) -> bool {
        let due = self.logged.is_none_or(|at| at + LOG_INTERVAL <= now);
        if due {
            *self = Self { logged: Some(now), failing: true };
        }
        due
    }

    /// Whether a recovery is to be logged.
    fn succeeded(&mut self) -> bool {
        std::mem::take(&mut self.failing)
    }
}

/// The place of a client that waits for its project's server. It is returned when it is dropped.
pub(crate) struct Slot {
    endpoint: Arc<ConnectEndpoint>,
    project: ProjectKey,
    state: Arc<ProjectState>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.state.waiting.fetch_sub(1, Relaxed);
    }
}

impl ConnectWebhooks {
    pub(crate) fn new(tracer: Tracer) -> Self {
        let client = HttpsClient::new("connect webhooks");
        Self { states: Mutex::default(), client, tracer }
    }

    /// A place among the clients of a project that wait.
    ///
    /// # Errors
    /// [`ConnectRefusal::Crowded`].
    pub(crate) fn enter(
        &self,
        project: &ProjectKey,
        endpoint: Arc<ConnectEndpoint>,
    ) -> Result<Slot, ConnectRefusal> {
        let state = self.state(project);
        let slot = Slot { endpoint, project: project.clone(), state };
        let before = slot.state.waiting.fetch_add(1, Relaxed);
        if before < slot.endpoint.max_waiting {
            return Ok(slot);
        }
        slot.state.counts.count(ConnectResult::Crowded, Duration::ZERO);
        slot.note_failure("too many clients wait");
        Err(ConnectRefusal::Crowded)
    }

    /// Asks the project's server. Takes as long as the webhook's timeout at most.
    ///
    /// # Errors
    /// [`ConnectRefusal`].
    pub(crate) async fn ask(
        &self,
        slot: &Slot,
        applicant: &Applicant<'_>,
    ) -> Result<(), ConnectRefusal> {
        let Slot { endpoint, project, state } = slot;
        let began = Instant::now();
        let asked = request::ask(&self.client, &self.tracer, endpoint, applicant).await;
        state.counts.count(ConnectResult::of(&asked), began.elapsed());
        match asked {
            Ok(answer) => {
                if state.log.lock().succeeded() {
                    info!(%project, "connect webhook recovered");
                }
                answer.into_result()
            }
            Err(error) => {
                slot.note_failure(&error.to_string());
                Err(ConnectRefusal::Failed(error.for_client()))
            }
        }
    }

    /// The counts of a project with a connect webhook.
    pub(crate) fn counts(&self, project: &ProjectKey) -> ConnectCounts {
        let state = self.state(project);
        state.counts.read(state.waiting.load(Relaxed) as u64)
    }

    fn state(&self, project: &ProjectKey) -> Arc<ProjectState> {
        self.states.lock().entry(project.clone()).or_default().clone()
    }
}

impl Slot {
    /// Logs the first failure in some time.
    fn note_failure(&self, error: &str) {
        let Self { endpoint, project, state } = self;
        if state.log.lock().failed(Instant::now()) {
            let host = endpoint.endpoint.host();
            warn!(%project, host, error, "connect webhook failed; clients refused");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_fails_now_and_then_fills_no_log() {
        let mut log = FailureLog::default();
        let began = Instant::now();
        assert!(!log.succeeded());
        assert!(log.failed(began) && !log.failed(began));
        assert!(log.succeeded());
        assert!(!log.failed(began + LOG_INTERVAL / 2) && !log.succeeded());
        assert!(log.failed(began + LOG_INTERVAL) && log.succeeded());
    }
}

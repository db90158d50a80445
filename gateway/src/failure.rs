//! Failures that end the gateway.

use std::{io, sync::Arc};

use parking_lot::Mutex;
use signalbox_nats::NatsError;
use signalbox_quic::{Supervise, Task};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    error_chain::with_causes,
    supervise::{catch, isolated},
};

/// The failure that made a running gateway drain without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The QUIC endpoint receives nothing any more. The log has the system's error, or the panic.
    #[error("the QUIC endpoint has failed; see the log for the cause, and restart the gateway")]
    Quic,
    /// The TCP listener accepts no connection any more.
    #[error("the TCP listener has failed; restart the gateway")]
    Tcp(#[source] io::Error),
    /// The gateway cannot be a part of its cluster.
    #[error("the gateway cannot be a part of its cluster")]
    Cluster(#[from] NatsError),
    /// The task of the bus has panicked. The log has the panic.
    #[error(
        "the bus of the cluster has failed; see the log for the cause, and restart the gateway"
    )]
    Bus,
}

/// Reports failures of parts without which the gateway cannot serve. Clones report to the same
/// gateway.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failure(Arc<FailureState>);

#[derive(Debug, Default)]
struct FailureState {
    error: Mutex<Option<RunError>>,
    reported: CancellationToken,
}

impl Failure {
    /// Reports a failure. Only the first report counts.
    pub(crate) fn report(&self, failed: RunError) {
        error!(error = %with_causes(&failed), "gateway failed; draining");
        self.0.error.lock().get_or_insert(failed);
        self.0.reported.cancel();
    }

    /// Waits for the first report.
    pub(crate) async fn reported(&self) {
        self.0.reported.cancelled().await;
    }

    /// Takes the first report.
    pub(crate) fn take(&self) -> Option<RunError> {
        self.0.error.lock().take()
    }
}

impl Supervise for Failure {
    /// Reports a panic: without this task the QUIC endpoint does not work.
    fn endpoint_task(&self, task: Task) -> Task {
        let failure = self.clone();
        Box::pin(async move {
            let mut task = std::pin::pin!(catch(task));
            // The rest of the task is dropped later, as that may panic again.
            if task.as_mut().await.is_err() {
                failure.report(RunError::Quic);
            }
        })
    }

    fn connection_task(&self, task: Task) -> Task {
        Box::pin(isolated("QUIC connection after its link", task))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_failure_ends_the_gateway() {
        let failure = Failure::default();
        failure.endpoint_task(Box::pin(async {})).await;
        assert!(failure.take().is_none(), "a normal end is no failure");
        failure.endpoint_task(Box::pin(async { panic!("a fault") })).await;
        failure.report(RunError::Tcp(io::Error::other("another")));
        failure.reported().await;
        assert!(matches!(failure.take(), Some(RunError::Quic)));
    }
}

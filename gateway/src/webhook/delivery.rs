//! Delivery: posts the events of a shard until the endpoint accepts them.

use std::{sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::StatusCode;
use hyper_util::client::legacy;
use parking_lot::Mutex;
use signalbox_protocol::ProjectKey;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{
    endpoint::Endpoint,
    queue::{EventQueue, NextEvent},
};
use crate::{
    backoff::RetryDelays,
    clock::unix_time,
    error_chain::with_causes,
    https_client::HttpsClient,
    services::SharedProjects,
    supervise::catch,
    trace::{SpanSide, TRACEPARENT, TraceSpan, Tracer},
};

/// Time for one attempt, from connecting to the head of the response.
const ATTEMPT: Duration = Duration::from_secs(10);

/// The first and the longest delay before another attempt.
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// Age at which an event is dropped (the vendor's figure).
const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes of a response body that are read so that the connection can be reused.
const RESPONSE_BYTES: usize = 64 * 1024;

/// Time for the response body. It does not change whether the event was accepted.
const RESPONSE_BODY: Duration = Duration::from_secs(2);

/// The error of a failed attempt: a fault of the endpoint or the network.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("the endpoint responded with {0}")]
    Status(StatusCode),
    #[error("the endpoint did not respond within {} s", ATTEMPT.as_secs())]
    Timeout,
    // Its own text names only the phase that failed.
    #[error("{}", with_causes(.0))]
    Failed(#[source] legacy::Error),
    #[error("the gateway panicked: {0}")]
    Panicked(String),
    #[error("the request cannot be made")]
    Request(#[from] hyper::http::Error),
}

/// The delivery of one shard of a project's queue.
pub(super) struct Delivery {
    pub(super) client: HttpsClient,
    pub(super) tracer: Tracer,
    pub(super) projects: SharedProjects,
    pub(super) project: ProjectKey,
    pub(super) queue: Arc<Mutex<EventQueue>>,
    pub(super) shard: usize,
}

impl Delivery {
    /// Posts the shard's events until it is empty.
    pub(super) async fn post_all(&self) {
        let Self { project, queue, shard, .. } = self;
        let mut delays = RetryDelays::new(FIRST_DELAY, LONGEST_DELAY);
        loop {
            let Some(next) = queue.lock().next(*shard) else { return };
            let NextEvent { event, dropped } = &next;
            // Looked up for every attempt: the operator may have changed or removed the webhook.
            let Some(endpoint) = self.endpoint() else {
                queue.lock().give_up(*shard, *dropped);
                continue;
            };
            // A panic must not delay the events behind this one for longer than a failure would.
            let mut span = self.tracer.span("POST webhook", SpanSide::Client, event.cause);
            let attempt = catch(self.attempt(&endpoint, &next, &mut span)).await;
            let Err(error) = attempt.unwrap_or_else(|cause| Err(AttemptError::Panicked(cause)))
            else {
                drop(span);
                if queue.lock().accepted(*shard) {
                    info!(%project, "webhook recovered");
                }
                delays.reset();
                continue;
            };
            span.fail(&error);
            drop(span);
            if event.at + GIVE_UP_AFTER <= unix_time() {
                warn!(%project, "webhook event dropped: not accepted within a day");
                queue.lock().give_up(*shard, *dropped);
                continue;
            }
            if queue.lock().failed(*dropped) {
                warn!(%project, host = endpoint.host(), %error, "webhook failed; retrying");
            }
            sleep(delays.advance()).await;
        }
    }

    fn endpoint(&self) -> Option<Arc<Endpoint>> {
        self.projects.load().get(self.project.as_str())?.webhook().cloned()
    }

    async fn attempt(
        &self,
        endpoint: &Endpoint,
        next: &NextEvent,
        span: &mut TraceSpan,
    ) -> Result<(), AttemptError> {
        span.set("server.address", endpoint.host());
        let NextEvent { event, dropped } = next;
        let timestamp = unix_time().as_secs();
        let mut request = endpoint.request(&event.id, timestamp, &event.body);
        if *dropped > 0 {
            request = request.header("signalbox-dropped", *dropped);
        }
        if let Some(cause) = span.context() {
            request = request.header(TRACEPARENT, cause.to_string());
        }
        let request = request.body(Full::new(event.body.clone()))?;
        let exchange =
            async { self.client.get().await.request(request).await.map_err(AttemptError::Failed) };
        let response = timeout(ATTEMPT, exchange).await.unwrap_or(Err(AttemptError::Timeout))?;
        let status = response.status();
        span.set("http.response.status_code", status.as_u16());
        if !status.is_success() {
            return Err(AttemptError::Status(status));
        }
        // Read only so that the connection can be reused.
        let body = Limited::new(response.into_body(), RESPONSE_BYTES).collect();
        let _ = timeout(RESPONSE_BODY, body).await;
        Ok(())
    }
}

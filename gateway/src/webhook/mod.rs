//! Webhooks: a project's server is notified of connections that are created and destroyed, as by the
//! vendor's session monitoring.
//!
//! The relay calls its observer under the session's lock, so the events of a session are in order.
//! [`Webhooks`] only puts an event into the project's bounded [queue](queue). Tasks
//! ([`delivery`]) post the queued events, one at a time per session, until the endpoint accepts them.
//! A slow or dead endpoint fills its own project's queue and affects nothing else.

mod delivery;
pub(crate) mod endpoint;
mod queue;

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use serde::Serialize;
use signalbox_protocol::{ConnectionInfo, DisconnectReason, ProjectKey, SessionId};
use signalbox_relay::Observer;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

pub(crate) use self::queue::QueueCounts;
use self::{
    delivery::Delivery,
    queue::{EventQueue, QueuedEvent},
};
use crate::{
    clock::{millis, unix_time},
    https_client::HttpsClient,
    services::SharedProjects,
    supervise::keep_running,
    trace::{self, Tracer},
};

/// All queued events of a gateway. Clones share the queues.
#[derive(Clone)]
pub(crate) struct Webhooks(Arc<WebhookState>);

struct WebhookState {
    projects: SharedProjects,
    /// The queue of each project that has had an event since it has a webhook.
    queues: Mutex<HashMap<ProjectKey, Arc<Mutex<EventQueue>>>>,
    /// Bound of the bytes queued for one project.
    max_bytes: AtomicUsize,
    hasher: RandomState,
    client: HttpsClient,
    tracer: Tracer,
    runtime: Handle,
    /// The tasks that post.
    deliveries: TaskTracker,
}

impl Webhooks {
    /// Must be called inside a tokio runtime, in which the events are posted.
    pub(crate) fn new(projects: SharedProjects, max_bytes: usize, tracer: Tracer) -> Self {
        Self(Arc::new(WebhookState {
            projects,
            queues: Mutex::default(),
            max_bytes: max_bytes.into(),
            hasher: RandomState::new(),
            client: HttpsClient::new("webhooks"),
            tracer,
            runtime: Handle::current(),
            deliveries: TaskTracker::new(),
        }))
    }

    /// Replaces the bound of the bytes queued for one project. Queues beyond it lose their oldest events
    /// with the next one.
    pub(crate) fn set_max_bytes(&self, max_bytes: usize) {
        self.0.max_bytes.store(max_bytes, Ordering::Relaxed);
        let queues = self.0.queues.lock();
        queues.values().for_each(|queue| queue.lock().set_max_bytes(max_bytes));
    }

    /// Waits until all events have been posted. No event may be added any more.
    pub(crate) async fn drained(&self) {
        self.0.deliveries.close();
        self.0.deliveries.wait().await;
    }

    /// The counts of each configured project with a webhook.
    pub(crate) fn counts(&self) -> Vec<(String, QueueCounts)> {
        let (projects, queues) = (self.0.projects.load(), self.0.queues.lock());
        let with_webhook = projects.iter().filter(|project| project.webhook().is_some());
        let counts = with_webhook.map(|project| {
            let queue = queues.get(project.key());
            let counts = queue.map(|queue| queue.lock().counts()).unwrap_or_default();
            (project.key().as_str().to_owned(), counts)
        });
        counts.collect()
    }

    /// The number of queued events.
    pub(crate) fn queued(&self) -> usize {
        self.0.queues.lock().values().map(|queue| queue.lock().len()).sum()
    }

    fn push(
        &self,
        session: &SessionId,
        event: &str,
        reason: Option<DisconnectReason>,
        connection: &ConnectionInfo,
    ) {
        let project = session.project();
        if self.0.projects.load().get(project.as_str()).is_none_or(|it| it.webhook().is_none()) {
            return;
        }
        let now = unix_time();
        let body = EventBody {
            session_id: session,
            project_id: project,
            event,
            reason,
            timestamp: millis(now),
            connection: EventConnection {
                id: connection.id.to_string(),
                created_at: connection.created_at,
                data: &connection.data,
            },
        };
        // Strings and numbers always serialise.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut event = QueuedEvent::new(event, connection.id, body.into(), now);
        event.cause = trace::current();
        let queue = self
            .0
            .queues
            .lock()
            .entry(project.clone())
            .or_insert_with(|| {
                let max_bytes = self.0.max_bytes.load(Ordering::Relaxed);
                Arc::new(Mutex::new(EventQueue::new(max_bytes)))
            })
            .clone();
        let idle_shard = queue.lock().push(self.0.hasher.hash_one(session), event);
        if let Some(shard) = idle_shard {
            let delivery = Delivery {
                client: self.0.client.clone(),
                tracer: self.0.tracer.clone(),
                projects: self.0.projects.clone(),
                project: project.clone(),
                queue,
                shard,
            };
            let posting = async move {
                keep_running("webhook delivery", || delivery.post_all()).await;
            };
            self.0.deliveries.spawn_on(posting, &self.0.runtime);
        }
    }
}

impl Observer for Webhooks {
    fn created(&self, session: &SessionId, connection: &ConnectionInfo) {
        self.push(session, "connectionCreated", None, connection);
    }

    fn destroyed(
        &self,
        session: &SessionId,
        connection: &ConnectionInfo,
        reason: DisconnectReason,
    ) {
        self.push(session, "connectionDestroyed", Some(reason), connection);
    }
}

/// The vendor's JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventBody<'a> {
    session_id: &'a SessionId,
    project_id: &'a ProjectKey,
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<DisconnectReason>,
    timestamp: u64,
    connection: EventConnection<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventConnection<'a> {
    id: String,
    created_at: u64,
    data: &'a str,
}

#[cfg(test)]
mod tests;

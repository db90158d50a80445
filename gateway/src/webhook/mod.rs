//! Webhooks: a project's server hears which connections come and go, as with the vendor's session
//! monitoring.
//!
//! The relay tells of each connection while it holds its session's lock, so that the order is the
//! session's own; an event is then only put in a [queue](queue) here. Tasks of their own post what
//! waits ([`delivery`]), one event of a session after the other, until the endpoint has taken it.
//! An endpoint that is slow or dead fills its own project's queue and touches nothing else.

mod delivery;
mod queue;

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hyper::Uri;
use parking_lot::Mutex;
use serde::Serialize;
use signalbox_protocol::{ConnectionInfo, DisconnectReason, ProjectKey, SessionId};
use signalbox_relay::Observer;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use self::{
    delivery::Client,
    queue::{Queue, Waiting},
};
use crate::{
    clock::{millis, unix_time},
    config::{Problem, WebhookConfig},
    services::SharedProjects,
    supervise::keep_running,
};

/// Where a project's events go, and what signs them.
pub(crate) struct Endpoint {
    url: Uri,
    key: hmac::Key,
}

impl Endpoint {
    /// # Errors
    /// What is wrong with the setting, for the operator.
    pub(crate) fn new(setting: &WebhookConfig) -> Result<Self, Vec<Problem>> {
        let url = url_of(setting).map_err(|why| Problem::invalid("url", why));
        // Standard Webhooks: "between 24 bytes and 64 bytes, serialized as base64, prefixed".
        let secret = setting
            .secret
            .strip_prefix("whsec_")
            .and_then(|encoded| BASE64.decode(encoded).ok())
            .filter(|secret| (24..=64).contains(&secret.len()))
            .ok_or_else(|| {
                let problem = "must be whsec_ and 24 to 64 bytes in base64; \
                    signalbox project new --webhook URL makes one";
                Problem::invalid("secret", problem)
            });
        match (url, secret) {
            (Ok(url), Ok(secret)) => {
                Ok(Self { url, key: hmac::Key::new(hmac::HMAC_SHA256, &secret) })
            }
            (url, secret) => Err(url.err().into_iter().chain(secret.err()).collect()),
        }
    }
}

fn url_of(setting: &WebhookConfig) -> Result<Uri, &'static str> {
    let url: Uri = setting.url.parse().map_err(|_| "is no URL; it must begin with https://")?;
    if url.host().is_none_or(str::is_empty) || !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err("must begin with https:// or http:// and name a host");
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("must not hold a user's name or password; the signature proves who posts");
    }
    Ok(url)
}

/// All that waits to be posted. Its clones are one.
#[derive(Clone)]
pub(crate) struct Webhooks(Arc<Shared>);

struct Shared {
    projects: SharedProjects,
    /// A queue for each project that has had an event since it has a webhook.
    queues: Mutex<HashMap<ProjectKey, Arc<Mutex<Queue>>>>,
    /// Bytes that may wait for one project.
    max_bytes: usize,
    hasher: RandomState,
    client: Client,
    runtime: Handle,
    /// The tasks that post.
    tasks: TaskTracker,
}

impl Webhooks {
    /// Must be called inside a tokio runtime, in which it will post.
    pub(crate) fn new(projects: SharedProjects, max_bytes: usize) -> Self {
        Self(Arc::new(Shared {
            projects,
            queues: Mutex::default(),
            max_bytes,
            hasher: RandomState::new(),
            client: Client::default(),
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Waits until everything has been posted; nothing may be put in any more.
    pub(crate) async fn drained(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// How many events wait.
    pub(crate) fn waiting(&self) -> usize {
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
        let body = Body {
            session_id: session,
            project_id: project,
            event,
            reason,
            timestamp: millis(now),
            connection: Connection {
                id: connection.id.to_string(),
                created_at: connection.created_at,
                data: &connection.data,
            },
        };
        // Strings and numbers always serialise.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let waiting = Waiting::new(body.into(), now);
        let queue = self
            .0
            .queues
            .lock()
            .entry(project.clone())
            .or_insert_with(|| Arc::new(Mutex::new(Queue::new(self.0.max_bytes))))
            .clone();
        let idle_lane = queue.lock().push(self.0.hasher.hash_one(session), waiting);
        if let Some(lane) = idle_lane {
            let (shared, project) = (self.0.clone(), project.clone());
            let post = keep_running("webhook delivery", move || {
                delivery::post_all(shared.clone(), project.clone(), queue.clone(), lane)
            });
            self.0.tasks.spawn_on(post, &self.0.runtime);
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

/// What is posted: the vendor's JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    session_id: &'a SessionId,
    project_id: &'a ProjectKey,
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<DisconnectReason>,
    timestamp: u64,
    connection: Connection<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Connection<'a> {
    id: String,
    created_at: u64,
    data: &'a str,
}

#[cfg(test)]
mod tests;

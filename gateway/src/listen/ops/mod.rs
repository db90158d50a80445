//! The operations listener: health checks, metrics, the state of the cluster, the configuration, the log
//! filter and the admin page, for programs and people that run the gateway.
//!
//! It speaks plain HTTP, to this machine unless there is a token ([`guard`]). Nothing of it depends on
//! clients: its connections have permits of their own, so it answers while clients use up all others,
//! and it is served until the gateway has drained.

mod admin;
mod guard;
mod log;
mod metrics;
mod tail;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{FromRef, State},
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde::Serialize;
use tokio::{task::JoinHandle, time::timeout};

pub(crate) use self::guard::OpsAccess;
use self::{admin::Overviews, guard::Guard};
use super::{
    http,
    tcp::{HttpListener, SharedRouter},
};
use crate::{
    admission::AdmissionControl,
    context::ServerContext,
    lifecycle::Lifecycle,
    log_filter::LogFilter,
    metrics::{MetricSources, Scraper, TrafficHistory},
    page::ADMIN_PAGE,
    reload::ReloadHandle,
    reload_requests::ReloadRequester,
    services::Services,
    supervise::keep_running,
};

/// Connections that are served at the same time. More wait.
const CONNECTIONS: usize = 64;

/// Time for answers that have begun when the gateway has drained.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// What the handlers answer from.
#[derive(Clone)]
pub(crate) struct OpsState {
    pub(crate) sources: MetricSources,
    pub(crate) scraper: Arc<Scraper>,
    pub(crate) history: Arc<TrafficHistory>,
    pub(crate) overviews: Arc<Overviews>,
    pub(crate) log: Option<LogFilter>,
    pub(crate) configuration: ReloadHandle,
    /// None if the program around the gateway takes no requests.
    pub(crate) reload_requester: Option<ReloadRequester>,
}

impl FromRef<OpsState> for Arc<Services> {
    fn from_ref(state: &OpsState) -> Self {
        state.sources.gateway.services.clone()
    }
}

/// The gateway, not the listener: `/readyz` is about the gateway.
impl FromRef<OpsState> for ServerContext {
    fn from_ref(state: &OpsState) -> Self {
        state.sources.gateway.clone()
    }
}

/// A running operations listener.
pub(crate) struct Operations {
    services: Arc<Services>,
    lifecycle: Arc<Lifecycle>,
    /// Keeps the recent past for the admin page.
    history: JoinHandle<()>,
}

impl Operations {
    /// Serves a bound listener.
    pub(crate) fn serve(listener: HttpListener, access: OpsAccess, state: OpsState) -> Self {
        let context = own_context(&state.sources.gateway);
        let (services, lifecycle) = (context.services.clone(), context.lifecycle.clone());
        let history = {
            let (history, services) = (state.history.clone(), context.services.clone());
            tokio::spawn(async move {
                keep_running("traffic history", || history.keep(&services)).await;
            })
        };
        let router = SharedRouter::new(router(&context, state, listener.address(), access));
        tokio::spawn(listener.run(context, router));
        Self { services, lifecycle, history }
    }

    /// Stops accepting, and waits a moment for the last answers.
    pub(crate) async fn stop(self) {
        self.history.abort();
        self.services.tail().close();
        self.lifecycle.begin_drain();
        // A reader that is slower loses its answer.
        let _ = timeout(LAST_ANSWERS, self.lifecycle.clients_done()).await;
    }
}

/// The context of the listener's connections: with permits and a lifecycle of their own, they take
/// nothing from clients, and the drain of the clients does not end them.
fn own_context(gateway: &ServerContext) -> ServerContext {
    let hello = gateway.services.policy().timeouts.hello();
    ServerContext {
        services: gateway.services.clone(),
        lifecycle: Arc::new(gateway.lifecycle.for_operations()),
        admission: Arc::new(AdmissionControl::for_operations(CONNECTIONS, hello)),
        acme: None,
    }
}

/// All routes of the listener.
fn router(
    context: &ServerContext,
    state: OpsState,
    address: SocketAddr,
    access: OpsAccess,
) -> Router {
    let is_loopback = address.ip().to_canonical().is_loopback();
    let guard = Arc::new(Guard { is_loopback, access });
    let mut router = Router::new();
    for file in ADMIN_PAGE {
        router = router.route(file.path, get(|| async { file.into_response() }));
    }
    router
        .route("/healthz", get(http::healthy))
        .route("/readyz", get(http::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/cluster", get(cluster))
        .route("/config", get(configuration))
        .route("/tail", get(tail::follow))
        .route("/log", get(log::show).put(log::change))
        .merge(admin::router())
        .fallback(|| async {
            let hint = "there are /healthz, /readyz, /metrics, /cluster, /config, /reload, /log, /tail and /admin/… here\n";
            (StatusCode::NOT_FOUND, hint)
        })
        .layer(middleware::from_fn_with_state(guard, guard::protect))
        .layer(middleware::from_fn_with_state(context.clone(), http::keep_or_close))
        .layer(middleware::from_fn(guard::complete))
        .with_state(state)
}

/// `GET /cluster`: the cluster as this gateway sees it.
async fn cluster(State(services): State<Arc<Services>>) -> Response {
    let Some(node) = services.cluster() else {
        let hint = "this gateway is not in a cluster: cluster.servers is not set\n";
        return (StatusCode::NOT_FOUND, hint).into_response();
    };
    let Some(report) = node.report() else {
        let hint = "this gateway has not joined its cluster yet\n";
        return (StatusCode::SERVICE_UNAVAILABLE, hint).into_response();
    };
    json_answer(&report)
}

/// `GET /config`: the configuration in effect, without its secrets.
async fn configuration(State(state): State<OpsState>) -> Response {
    json_answer(&state.configuration.report())
}

/// Answers with JSON on one line.
fn json_answer(report: &impl Serialize) -> Response {
    // Serialization into memory cannot fail for these types.
    let mut body = serde_json::to_string(report).unwrap_or_default();
    body.push('\n');
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

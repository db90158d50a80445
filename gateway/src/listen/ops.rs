//! Routes of the operations listener: health checks, and the state of the cluster.
//!
//! The listener has neither TLS nor credentials, so it listens on this machine alone. Its
//! connections have permits of their own: it answers while clients use up all others.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};

use super::{host::own_host, http};
use crate::{
    admission::AdmissionControl, config::LimitsConfig, context::ServerContext, services::Services,
};

/// Connections that are served at the same time. More wait.
const CONNECTIONS: usize = 16;

/// The context of the listener, with its own permits.
pub(crate) fn context(context: &ServerContext) -> ServerContext {
    let limits = LimitsConfig {
        pending_handshakes: CONNECTIONS,
        http_keep_alive_connections: 0,
        ..LimitsConfig::default()
    };
    ServerContext { admission: Arc::new(AdmissionControl::new(&limits)), ..context.clone() }
}

/// All routes of the listener.
pub(crate) fn router(context: &ServerContext) -> Router {
    Router::new()
        .route("/healthz", get(http::healthy))
        .route("/readyz", get(http::ready))
        .route("/cluster", get(cluster))
        .fallback(|| async {
            (StatusCode::NOT_FOUND, "there are /healthz, /readyz and /cluster here\n")
        })
        .layer(middleware::from_fn_with_state(context.clone(), http::keep_or_close))
        .layer(middleware::from_fn(protect))
        .with_state(context.clone())
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
    // Serialization into memory cannot fail for this type.
    let mut body = serde_json::to_string(&report).unwrap_or_default();
    body.push('\n');
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Rejects foreign names of this machine, so that no web site can read the answers.
async fn protect(request: Request, next: Next) -> Response {
    if own_host(request.headers()).is_none() {
        let hint = "use localhost or an IP address as the host\n";
        return http::closing((StatusCode::MISDIRECTED_REQUEST, hint).into_response());
    }
    let mut response = http::closing(next.run(request).await);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

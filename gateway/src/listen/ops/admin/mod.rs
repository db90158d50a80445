//! `/admin/…` and `/reload`: what the admin page shows, and what it does, in JSON. `docs/openapi-operations.yaml`
//! specifies it.
//!
//! Nothing here takes a lock for longer than a bounded part of a list needs, and lists pause after
//! each part, so that an operator who looks does not delay a client.

mod actions;
mod error;
mod overview;
mod query;
mod search;
mod sessions;
mod settings;

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, Method, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde::Serialize;

use self::error::Error;
pub(crate) use self::overview::Overviews;
use super::OpsState;

/// The header of requests that change something. A page of another site cannot send it without asking
/// first, in a request that is rejected because of its origin.
const CHANGES: HeaderName = HeaderName::from_static("x-signalbox-admin");

/// All routes.
pub(super) fn router() -> Router<OpsState> {
    const SESSION: &str = "/admin/sessions/{session}";
    const PROJECT: &str = "/admin/projects/{project}";
    Router::new()
        .route("/admin/overview", get(overview::show))
        .route("/admin/settings", get(settings::show))
        .route("/admin/sessions", get(sessions::list))
        .route(SESSION, get(sessions::show).delete(actions::end_session))
        .route(&format!("{SESSION}/connections/{{connection}}"), delete(actions::disconnect))
        .route(
            &format!("{PROJECT}/revocations"),
            get(actions::list_revocations).post(actions::revoke),
        )
        .route(&format!("{PROJECT}/revocations/{{revocation}}"), delete(actions::delete_revocation))
        .route("/admin/drain", post(actions::drain))
        .route("/reload", post(actions::reload))
        .layer(middleware::from_fn(require_header))
}

/// Rejects changes that lack the header.
async fn require_header(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if reads || request.headers().contains_key(CHANGES) {
        next.run(request).await
    } else {
        Error::NoHeader.into_response()
    }
}

/// A body in JSON.
fn json(body: &impl Serialize) -> Response {
    // Serialization into memory cannot fail for the types of this module.
    let mut body = serde_json::to_string(body).unwrap_or_default();
    body.push('\n');
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

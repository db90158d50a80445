//! The REST API: what a project's servers can do, in the vendor's paths, bodies and statuses, so
//! that the vendor's unmodified server SDKs work. `docs/openapi.yaml` specifies it; the gateway
//! serves that document, and the foreign tests hold the two together.
//!
//! A handler extracts, calls the relay once, and answers. Who asks is settled in [`auth`], what
//! is answered to a fault in [`error`].

mod auth;
mod body;
mod connections;
mod create;
mod disconnect;
mod error;
mod matching;
mod open;
mod request_id;
mod revocations;
mod signal;

use std::sync::Arc;

use axum::{
    Router,
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};

pub(crate) use self::{
    connections::disconnect_connection,
    error::Error,
    revocations::{list_of as list_revocations, revoke},
};
use crate::services::Services;

/// The specification, as it is served.
const OPENAPI: &str = include_str!("../../../docs/openapi.yaml");

/// The API at the root, where the vendor's SDKs expect it.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(services: Arc<Services>) -> Router<S> {
    const SESSION: &str = "/v2/project/{project}/session/{session}";
    const PROJECT: &str = "/v2/project/{project}";
    let session = |rest: &str| format!("{SESSION}{rest}");
    let project = |rest: &str| format!("{PROJECT}{rest}");
    Router::new()
        .route("/openapi.yaml", get(openapi))
        .route("/session/create", post(create::create))
        .route(&session("/signal"), post(signal::to_session))
        .route(&session("/connection"), get(connections::list))
        // One SDK asks with a slash.
        .route(&session("/connection/"), get(connections::list))
        .route(&session("/connection/{connection}"), delete(connections::disconnect))
        .route(&session("/connection/{connection}/signal"), post(signal::to_connection))
        .route(&project("/disconnect"), post(disconnect::disconnect))
        .route(&project("/revocations"), post(revocations::create).get(revocations::list))
        .route(&project("/revocations/{revocation}"), delete(revocations::remove))
        .layer(middleware::from_fn_with_state(services.clone(), request_id::in_span))
        .with_state(services)
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/yaml")], OPENAPI).into_response()
}

/// The vendor's status for an answer without a body.
const DONE: StatusCode = StatusCode::NO_CONTENT;

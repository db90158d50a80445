//! What an operator can do: disconnect a connection, end a session, revoke tokens, reload the
//! configuration, drain the gateway.
//! The log has a line for each.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use signalbox_protocol::{ConnectionId, ProjectKey};
use tracing::{info, warn};

use super::{error::Error, json, sessions::session_id};
use crate::{
    context::ServerContext,
    listen::ops::OpsState,
    rest,
    revocation::{self, Matcher, RevocationId},
    services::Services,
};

/// `DELETE /admin/sessions/{session}/connections/{connection}`: disconnects one client, on whichever
/// gateway it is.
pub(super) async fn disconnect(
    State(services): State<Arc<Services>>,
    Path((session, connection)): Path<(String, String)>,
) -> Result<StatusCode, Error> {
    let session = session_id(&session)?;
    let connection: ConnectionId =
        connection.parse().map_err(|_| Error::invalid("the path has no valid connection id"))?;
    rest::disconnect_connection(&services, &session, connection).await?;
    info!(%session, %connection, "connection disconnected by an operator");
    Ok(StatusCode::NO_CONTENT)
}

/// The answer to the end of a session.
#[derive(Serialize)]
struct EndedSession {
    /// Connections that were on this gateway.
    disconnected: usize,
}

/// `DELETE /admin/sessions/{session}`: disconnects all clients of a session, on all gateways. Their
/// tokens stay valid.
pub(super) async fn end_session(
    State(services): State<Arc<Services>>,
    Path(session): Path<String>,
) -> Result<Response, Error> {
    let session = session_id(&session)?;
    if services.relay().listed_session(&session).is_none() {
        return Err(Error::NoSession);
    }
    let project = session.project().clone();
    let matcher = Matcher { token_id: None, connection_data: None, session: Some(session.clone()) };
    let disconnected = revocation::disconnect(&services, &project, &matcher);
    info!(%session, disconnected, "session ended by an operator");
    Ok(json(&EndedSession { disconnected }))
}

/// `GET /admin/projects/{project}/revocations`: the revocations of a project, as in the REST API.
pub(super) async fn list_revocations(
    State(services): State<Arc<Services>>,
    Path(project): Path<String>,
) -> Result<Response, Error> {
    let project = project_key(&services, &project)?;
    Ok(rest::list_revocations(&services, &project))
}

/// `POST /admin/projects/{project}/revocations`: revokes tokens, as in the REST API.
pub(super) async fn revoke(
    State(services): State<Arc<Services>>,
    Path(project): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let project = project_key(&services, &project)?;
    let response = rest::revoke(&services, project.clone(), &headers, body).await?;
    info!(%project, "tokens revoked by an operator");
    Ok(response)
}

/// `DELETE /admin/projects/{project}/revocations/{revocation}`: ends a revocation.
pub(super) async fn delete_revocation(
    State(services): State<Arc<Services>>,
    Path((project, revocation)): Path<(String, String)>,
) -> Result<StatusCode, Error> {
    let project = project_key(&services, &project)?;
    let id: RevocationId =
        revocation.parse().map_err(|_| Error::invalid("the path has no valid revocation id"))?;
    if !revocation::delete(&services, &project, id) {
        return Err(rest::Error::RevocationNotFound.into());
    }
    info!(%project, revocation = %id, "revocation deleted by an operator");
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /reload`: reloads the configuration as SIGHUP does, and answers when that is done.
pub(super) async fn reload(State(state): State<OpsState>) -> Result<Response, Error> {
    let requester = state.reload_requester.ok_or(Error::NoReload)?;
    info!("reload requested by an operator");
    Ok(json(&requester.reload().await?))
}

/// `POST /admin/drain`: drains the gateway, whose process then ends.
pub(super) async fn drain(State(context): State<ServerContext>) -> Response {
    warn!("drain requested by an operator");
    context.lifecycle.request_drain();
    (StatusCode::ACCEPTED, json(&serde_json::json!({ "draining": true }))).into_response()
}

/// A configured project.
fn project_key(services: &Services, text: &str) -> Result<ProjectKey, Error> {
    let projects = services.projects();
    projects.get(text).map(|project| project.key().clone()).ok_or(Error::NoProject)
}

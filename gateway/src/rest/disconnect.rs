//! `POST …/disconnect`: disconnects the connections that a matcher selects, without revoking their
//! tokens.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{
    auth::InProject,
    body,
    error::Error,
    matching::{self, matcher, not_null},
};
use crate::{revocation, services::Services};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PostedMatcher {
    #[serde(default, deserialize_with = "not_null")]
    token_id: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    connection_data: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    session_id: Option<String>,
}

pub(super) async fn disconnect(
    State(services): State<Arc<Services>>,
    InProject(project): InProject,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let body = body::read(body, services.policy().timeouts.hello()).await?;
    let PostedMatcher { token_id, connection_data, session_id } =
        matching::read(&body, body::is_json(&headers))?;
    let matcher = matcher(&project, token_id, connection_data, session_id.as_deref())?;
    let disconnected = revocation::disconnect(&services, &project, &matcher);
    let body = serde_json::json!({ "disconnected": disconnected }).to_string();
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

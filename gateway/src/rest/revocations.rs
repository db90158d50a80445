//! `POST …/revocations` revokes client tokens. `GET` lists the revocations, and `DELETE` with the id
//! of one ends it.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use signalbox_protocol::{ProjectKey, SessionId};
use signalbox_token::{LEEWAY, MAX_LIFETIME};

use super::{
    DONE,
    auth::{InProject, InRevocation},
    body,
    error::Error,
    matching::{self, matcher, not_null},
};
use crate::{
    clock::unix_time,
    revocation::{self, Matcher, NewRevocation, Revocation, Revoked},
    services::Services,
};

/// Revocations that are written at a time; all of them with their connection data may be tens of
/// megabytes.
const CHUNK: usize = 64;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PostedRevocation {
    #[serde(default, deserialize_with = "not_null")]
    token_id: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    connection_data: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    session_id: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    issued_before: Option<u64>,
    #[serde(default, deserialize_with = "not_null")]
    expires: Option<u64>,
}

/// A revocation in a response.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedRevocation<'a> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_before: Option<u64>,
    created: u64,
    expires: u64,
    /// In the response to its creation only.
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnected: Option<usize>,
}

pub(super) async fn create(
    State(services): State<Arc<Services>>,
    InProject(project): InProject,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    revoke(&services, project, &headers, body).await
}

/// Revokes tokens of a project.
pub(crate) async fn revoke(
    services: &Services,
    project: ProjectKey,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let body = body::read(body, services.policy().timeouts.hello()).await?;
    let posted: PostedRevocation = matching::read(&body, body::is_json(headers))?;
    let new = posted.check(project, unix_time().as_secs())?;
    let Revoked { revocation, changes, disconnected } =
        revocation::revoke(services, new).map_err(Error::RevocationsFull)?;
    let status = if changes.is_empty() { StatusCode::OK } else { StatusCode::CREATED };
    let body = json(&ListedRevocation { disconnected: Some(disconnected), ..item(&revocation) });
    Ok((status, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}

impl PostedRevocation {
    fn check(self, project: ProjectKey, now: u64) -> Result<NewRevocation, Error> {
        let Self { token_id, connection_data, session_id, issued_before, expires } = self;
        let matcher = matcher(&project, token_id, connection_data, session_id.as_deref())?;
        let issued_before = match (&matcher.token_id, issued_before) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid(
                    "Leave out 'issuedBefore' if there is a 'tokenId', which names one token",
                ));
            }
            (Some(_), None) => None,
            (None, issued_before) => Some(issued_before.unwrap_or(now)),
        };
        // No valid token says that it was issued later.
        let latest_issue = now + LEEWAY.as_secs();
        if issued_before.is_some_and(|issued_before| issued_before > latest_issue) {
            return Err(Error::invalid("'issuedBefore' is in the future"));
        }
        let lifetime = MAX_LIFETIME + 2 * LEEWAY;
        let tokens_end = issued_before.unwrap_or(latest_issue).saturating_add(lifetime.as_secs());
        if tokens_end <= now {
            return Err(Error::invalid("All tokens that were issued before then have expired"));
        }
        let expires = expires.unwrap_or(tokens_end);
        if expires <= now {
            return Err(Error::invalid("'expires' is in the past"));
        }
        if expires > tokens_end {
            return Err(Error::invalid(format!(
                "'expires' may be {tokens_end} at most: no such token is valid for longer"
            )));
        }
        Ok(NewRevocation { project, matcher, issued_before, expires })
    }
}

fn item(revocation: &Revocation) -> ListedRevocation<'_> {
    let Revocation { id, matcher, issued_before, created, expires, .. } = revocation;
    let Matcher { token_id, connection_data, session } = matcher;
    ListedRevocation {
        id: id.to_string(),
        token_id: token_id.as_deref(),
        connection_data: connection_data.as_deref(),
        session_id: session.as_ref(),
        issued_before: *issued_before,
        created: *created,
        expires: *expires,
        disconnected: None,
    }
}

fn json(item: &ListedRevocation<'_>) -> String {
    // Strings and numbers always serialise.
    serde_json::to_string(item).unwrap_or_default()
}

pub(super) async fn list(
    State(services): State<Arc<Services>>,
    InProject(project): InProject,
) -> Response {
    list_of(&services, &project)
}

/// The revocations of a project.
pub(crate) fn list_of(services: &Services, project: &ProjectKey) -> Response {
    let revocations = services.revocations().of_project(project);
    let body = Body::from_stream(stream::iter(chunks(project, revocations)));
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// The reply in pieces, each made when the one before is on its way.
fn chunks(
    project: &ProjectKey,
    revocations: Vec<Arc<Revocation>>,
) -> impl Iterator<Item = Result<Bytes, Infallible>> + use<> {
    let head =
        format!("{{\"count\":{},\"projectId\":\"{project}\",\"items\":[", revocations.len(),);
    let pieces = revocations.len().div_ceil(CHUNK);
    let items = (0..pieces).map(move |index| {
        let rest = revocations.get(index * CHUNK..).unwrap_or_default();
        let items: Vec<_> = rest.iter().take(CHUNK).map(|it| json(&item(it))).collect();
        let separator = if index > 0 { "," } else { "" };
        format!("{separator}{}", items.join(","))
    });
    [head].into_iter().chain(items).chain(["]}".to_owned()]).map(|piece| Ok(piece.into()))
}

pub(super) async fn remove(
    State(services): State<Arc<Services>>,
    InRevocation(project, id): InRevocation,
) -> Result<StatusCode, Error> {
    let deleted = revocation::delete(&services, &project, id);
    deleted.then_some(DONE).ok_or(Error::RevocationNotFound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, context::ServerContext};

    #[tokio::test]
    async fn a_full_list_is_an_error_that_says_what_to_do() {
        let services = ServerContext::of(&Config::default()).services;
        let project: ProjectKey = "1".parse().unwrap();
        let revoke = |user: String| {
            let body = Body::from(serde_json::json!({ "connectionData": user }).to_string());
            let project = InProject(project.clone());
            create(State(services.clone()), project, HeaderMap::new(), body)
        };
        for number in 0..10_000 {
            assert_eq!(revoke(number.to_string()).await.unwrap().status(), StatusCode::CREATED);
        }
        let error = revoke("one more".into()).await.unwrap_err();
        assert_eq!(error.clone().into_response().status(), StatusCode::CONFLICT);
        let Error::RevocationsFull(full) = error else { panic!("{error:?}") };
        assert!(full.to_string().contains("delete some"), "{full}");
        let oldest = services.revocations().of_project(&project)[0].id;
        remove(State(services.clone()), InRevocation(project.clone(), oldest)).await.unwrap();
        assert_eq!(revoke("one more".into()).await.unwrap().status(), StatusCode::CREATED);
    }
}

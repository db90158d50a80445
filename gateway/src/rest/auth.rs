//! Extractors: the credential of a request, and the session and connection in its path.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::{HeaderMap, request::Parts},
};
use signalbox_protocol::{ConnectionId, ProjectKey, SessionId};
use signalbox_token::{CredentialError, verify_credential};

use super::error::Error;
use crate::{
    admission::AddressRate,
    clock::unix_time,
    headers::bearer_tokens,
    http_connection::{HttpConnection, RequestClient},
    metrics::TokenKind,
    project::Project,
    revocation::RevocationId,
    services::Services,
};

/// The vendor's own header for credentials.
const OPENTOK_AUTH: &str = "x-opentok-auth";

/// The project whose server sent the request.
pub(super) struct Caller {
    pub(super) key: ProjectKey,
    /// Whether it has public keys, like the vendor's newer projects.
    pub(super) is_application: bool,
}

impl FromRequestParts<Arc<Services>> for Caller {
    type Rejection = Error;

    async fn from_request_parts(
        parts: &mut Parts,
        services: &Arc<Services>,
    ) -> Result<Self, Error> {
        let rejected = |cause, error| {
            services.metrics().token_rejected(TokenKind::Credential, cause);
            error
        };
        let credential =
            credential(&parts.headers).ok_or_else(|| rejected("missing", Error::NoCredential))?;
        let connection = parts.extensions.get::<HttpConnection>();
        let asking = connection.zip(parts.extensions.get::<RequestClient>());
        let stranger = asking
            .filter(|(connection, client)| client.is_stranger(connection))
            .map(|(_, client)| &client.account);
        if stranger.is_some_and(|it| !it.check(AddressRate::InvalidTokens)) {
            return Err(Error::TooMany(AddressRate::InvalidTokens));
        }
        let projects = services.projects();
        let key = verify_credential(&**projects, credential, unix_time()).map_err(|error| {
            if let Some(stranger) = stranger {
                stranger.charge(AddressRate::InvalidTokens);
            }
            match error {
                CredentialError::UnknownProject => rejected("unknownProject", Error::UnknownIssuer),
                CredentialError::Unauthorized(why) => rejected("invalid", Error::Unauthorized(why)),
            }
        })?;
        let is_application = projects.get(key.as_str()).is_some_and(Project::is_application);
        if let Some((connection, client)) = asking {
            connection.promote_to_server(client);
        }
        Ok(Self { key: key.clone(), is_application })
    }
}

/// The credential from either of the two headers; `None` if there are two that differ, because it
/// is unknown which one is meant.
fn credential(headers: &HeaderMap) -> Option<&str> {
    let own = headers.get_all(OPENTOK_AUTH).iter().map(|value| value.to_str().ok());
    let mut found = own.chain(bearer_tokens(headers).map(Some));
    let first = found.next()??;
    found.all(|other| other == Some(first)).then_some(first)
}

/// A session of the caller's project, from the path.
pub(super) struct InSession(pub(super) SessionId);

/// A connection in a session of the caller's project, from the path.
pub(super) struct InConnection(pub(super) SessionId, pub(super) ConnectionId);

impl FromRequestParts<Arc<Services>> for InSession {
    type Rejection = Error;

    async fn from_request_parts(
        parts: &mut Parts,
        services: &Arc<Services>,
    ) -> Result<Self, Error> {
        let Target { session, .. } = Target::of(parts, services).await?;
        Ok(Self(session))
    }
}

impl FromRequestParts<Arc<Services>> for InConnection {
    type Rejection = Error;

    async fn from_request_parts(
        parts: &mut Parts,
        services: &Arc<Services>,
    ) -> Result<Self, Error> {
        let Target { session, connection } = Target::of(parts, services).await?;
        let connection = connection.and_then(|id| id.parse().ok());
        Ok(Self(session, connection.ok_or(Error::invalid("Invalid connection ID"))?))
    }
}

/// The caller's project, from the path.
pub(super) struct InProject(pub(super) ProjectKey);

/// A revocation of the caller's project, from the path.
pub(super) struct InRevocation(pub(super) ProjectKey, pub(super) RevocationId);

impl FromRequestParts<Arc<Services>> for InProject {
    type Rejection = Error;

    async fn from_request_parts(
        parts: &mut Parts,
        services: &Arc<Services>,
    ) -> Result<Self, Error> {
        let caller = Caller::from_request_parts(parts, services).await?;
        if param(parts, services, "project").await.as_deref() != Some(caller.key.as_str()) {
            return Err(Error::WrongProject);
        }
        Ok(Self(caller.key))
    }
}

impl FromRequestParts<Arc<Services>> for InRevocation {
    type Rejection = Error;

    async fn from_request_parts(
        parts: &mut Parts,
        services: &Arc<Services>,
    ) -> Result<Self, Error> {
        let InProject(project) = InProject::from_request_parts(parts, services).await?;
        let id = param(parts, services, "revocation").await.and_then(|id| id.parse().ok());
        Ok(Self(project, id.ok_or(Error::invalid("Invalid revocation ID"))?))
    }
}

/// A parameter of the path. None if the unescaped path is not UTF-8.
async fn param(parts: &mut Parts, services: &Arc<Services>, name: &str) -> Option<String> {
    let params = RawPathParams::from_request_parts(parts, services).await.ok()?;
    params.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

struct Target {
    session: SessionId,
    connection: Option<String>,
}

impl Target {
    async fn of(parts: &mut Parts, services: &Arc<Services>) -> Result<Self, Error> {
        let caller = Caller::from_request_parts(parts, services).await?;
        let invalid = || Error::invalid("Invalid session ID");
        // Fails if the unescaped text is not UTF-8.
        let params =
            RawPathParams::from_request_parts(parts, services).await.map_err(|_| invalid())?;
        let param = |name| params.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
        if param("project") != Some(caller.key.as_str()) {
            return Err(Error::WrongProject);
        }
        let session: SessionId =
            param("session").and_then(|id| id.parse().ok()).ok_or_else(invalid)?;
        if *session.project() != caller.key {
            return Err(Error::WrongProject);
        }
        Ok(Self { session, connection: param("connection").map(str::to_owned) })
    }
}

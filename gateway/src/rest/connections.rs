//! `GET …/connection` lists a session's connections. `DELETE …/connection/{id}` disconnects one.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::Body,
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use signalbox_protocol::{Codec, ConnectionId, Role, SessionId, Transport};
use signalbox_relay::ConnectionSummary;

use super::{
    DONE,
    auth::{InConnection, InSession},
    error::Error,
    open::OpenSession,
};
use crate::services::Services;

/// Connections that are written at a time; all of a large session with its data would be tens of
/// megabytes.
const CHUNK: usize = 64;

/// One connection. SDKs refuse fields that they do not know, so ours are there on demand only.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    connection_id: ConnectionId,
    /// Milliseconds since 1970.
    created_at: u64,
    /// The vendor also has `Connecting`, which here is not in the session yet.
    connection_state: &'static str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    details: Option<Details<'a>>,
}

#[derive(Serialize)]
struct Details<'a> {
    data: &'a str,
    role: Role,
    transport: Transport,
    codec: Codec,
}

pub(super) async fn list(
    State(services): State<Arc<Services>>,
    InSession(session): InSession,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let details = wants_details(query.as_deref().unwrap_or_default())?;
    let open = OpenSession::new(&services, &session).await?;
    let connections = services.relay().connections(&session);
    if connections.is_empty() {
        return Err(open.not_found(Error::SessionNotFound));
    }
    let body = Body::from_stream(stream::iter(chunks(&session, connections, details)));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn wants_details(query: &str) -> Result<bool, Error> {
    let mut details =
        form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "details");
    let first = details.next();
    match (first.as_ref().map(|(_, value)| value.as_ref()), details.next()) {
        (None | Some("false"), None) => Ok(false),
        (Some("true"), None) => Ok(true),
        _ => Err(Error::invalid("'details' must be true or false, and there once")),
    }
}

/// The reply in pieces, each made when the one before is on its way.
fn chunks(
    session: &SessionId,
    connections: Vec<ConnectionSummary>,
    details: bool,
) -> impl Iterator<Item = Result<Bytes, Infallible>> + use<> {
    let head = format!(
        "{{\"count\":{},\"projectId\":\"{}\",\"sessionId\":\"{session}\",\"items\":[",
        connections.len(),
        session.project(),
    );
    let pieces = connections.len().div_ceil(CHUNK);
    let items = (0..pieces).map(move |index| {
        let rest = connections.get(index * CHUNK..).unwrap_or_default();
        let mut piece = String::new();
        for listed in rest.iter().take(CHUNK) {
            if index > 0 || !piece.is_empty() {
                piece.push(',');
            }
            // Strings and numbers always serialise.
            piece += &serde_json::to_string(&item(listed, details)).unwrap_or_default();
        }
        piece
    });
    [head].into_iter().chain(items).chain(["]}".to_owned()]).map(|piece| Ok(piece.into()))
}

fn item(listed: &ConnectionSummary, details: bool) -> Item<'_> {
    Item {
        connection_id: listed.info.id,
        created_at: listed.info.created_at,
        connection_state: "Connected",
        details: details.then(|| Details {
            data: &listed.info.data,
            role: listed.role,
            transport: listed.transport,
            codec: listed.codec,
        }),
    }
}

pub(super) async fn disconnect(
    State(services): State<Arc<Services>>,
    InConnection(session, connection): InConnection,
) -> Result<StatusCode, Error> {
    disconnect_connection(&services, &session, connection).await?;
    Ok(DONE)
}

/// Disconnects a client, on whichever gateway it is.
pub(crate) async fn disconnect_connection(
    services: &Services,
    session: &SessionId,
    connection: ConnectionId,
) -> Result<(), Error> {
    let open = OpenSession::new(services, session).await?;
    let disconnected = services.relay().force_disconnect(session, connection, services.uptime());
    disconnected.map_err(|reason| open.rejected(reason))
}

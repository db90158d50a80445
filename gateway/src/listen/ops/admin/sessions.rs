//! `GET /admin/sessions` lists and searches sessions, `GET /admin/sessions/{session}` shows the
//! connections of one.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{Path, RawQuery, State},
    response::Response,
};
use serde::Serialize;
use signalbox_protocol::{Codec, ConnectionId, ProjectKey, Role, SessionId, Transport};
use signalbox_relay::{ListedConnection, ListedSession, SessionSize};
use tokio::task::yield_now;

use super::{
    error::Error,
    json,
    query::ListQuery,
    search::{EXAMINED, Needle, find_connections},
};
use crate::services::Services;

/// Connections of one session that are shown with a result of a search.
const SHOWN_MATCHES: usize = 3;

/// Characters of their data.
const SHOWN_DATA: usize = 200;

/// A page of sessions.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionPage {
    sessions: Vec<SessionItem>,
    /// `after` of the next page; none if there is nothing more.
    next: Option<SessionId>,
    /// Sessions and connections that were looked at.
    examined: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionItem {
    id: SessionId,
    project: ProjectKey,
    /// On this gateway.
    connections: usize,
    /// On other gateways.
    elsewhere: usize,
    /// Some of the connections for which the session was found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    matches: Vec<MatchItem>,
}

#[derive(Serialize)]
struct MatchItem {
    id: ConnectionId,
    /// The beginning.
    data: String,
}

pub(super) async fn list(
    State(services): State<Arc<Services>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let ListQuery { search, from, limit } = ListQuery::read(query.as_deref(), "after")?;
    let needle = Needle::new(&search);
    let mut page = SessionPage { sessions: Vec::new(), next: from, examined: 0 };
    loop {
        let part = services.relay().sessions_after(page.next.as_ref());
        if part.is_empty() {
            page.next = None;
            return Ok(json(&page));
        }
        for session in part {
            if page.sessions.len() >= limit || page.examined >= EXAMINED {
                return Ok(json(&page));
            }
            page.examined += 1;
            page.next = Some(session.id().clone());
            let item = match &needle {
                Some(needle) => find(&session, needle, &mut page.examined).await,
                None => Some(item(&session, Vec::new())),
            };
            // One that has just ended has no connections.
            page.sessions.extend(item.filter(|it| it.connections + it.elsewhere > 0));
        }
        yield_now().await;
    }
}

/// The session, if it is what is searched for.
async fn find(
    session: &ListedSession,
    needle: &Needle<'_>,
    examined: &mut usize,
) -> Option<SessionItem> {
    if needle.names(session) {
        return Some(item(session, Vec::new()));
    }
    let found = find_connections(session, Some(needle), None, SHOWN_MATCHES).await;
    *examined += found.examined;
    (!found.connections.is_empty()).then(|| item(session, found.connections))
}

fn item(session: &ListedSession, matches: Vec<ListedConnection>) -> SessionItem {
    let SessionSize { here, elsewhere } = session.size();
    let matches = matches.into_iter().map(|connection| MatchItem {
        id: connection.info.id,
        data: connection.info.data.chars().take(SHOWN_DATA).collect(),
    });
    SessionItem {
        id: session.id().clone(),
        project: session.id().project().clone(),
        connections: here,
        elsewhere,
        matches: matches.collect(),
    }
}

/// One session, and a page of its connections.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionDetails {
    id: SessionId,
    project: ProjectKey,
    /// Number of its connections on this gateway.
    connections: usize,
    /// Number of its connections on other gateways.
    elsewhere: usize,
    /// Connections on this gateway, the latest first.
    items: Vec<ConnectionItem>,
    /// `before` of the next page; none if there is nothing more.
    next: Option<usize>,
}

/// A connection on this gateway.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConnectionItem {
    id: ConnectionId,
    data: String,
    role: Role,
    /// Of its latest link.
    transport: Transport,
    /// Of its latest link.
    codec: Codec,
    /// When it joined, in milliseconds since 1970.
    created_at: u64,
    /// Whether it can be resumed when its link is lost.
    resumable: bool,
    /// Signals that it has sent, over all of its links.
    sent: u64,
    /// Its link; none while it is detached.
    link: Option<LinkItem>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LinkItem {
    /// Its number in the log.
    id: Option<u64>,
    /// The client's address when the link began.
    address: Option<SocketAddr>,
    /// When the link began, in milliseconds since 1970.
    since: Option<u64>,
    /// Its round-trip time in milliseconds; none if it has not been measured yet.
    rtt_ms: Option<f64>,
    /// Signals and events that the link has written.
    written: u64,
    /// Messages that wait in the outbox.
    queued: usize,
    /// Their bytes.
    queued_bytes: usize,
}

pub(super) async fn show(
    State(services): State<Arc<Services>>,
    Path(session): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let session = session_id(&session)?;
    let ListQuery { search, from, limit } = ListQuery::read(query.as_deref(), "before")?;
    let session = services.relay().listed_session(&session).ok_or(Error::NoSession)?;
    let found = find_connections(&session, Needle::new(&search).as_ref(), from, limit).await;
    let SessionSize { here, elsewhere } = session.size();
    let items = found.connections.iter().map(|it| connection_item(&services, it)).collect();
    Ok(json(&SessionDetails {
        id: session.id().clone(),
        project: session.id().project().clone(),
        connections: here,
        elsewhere,
        items,
        next: found.next,
    }))
}

fn connection_item(services: &Services, connection: &ListedConnection) -> ConnectionItem {
    let info = &connection.info;
    let link = services.links().of(info.id);
    ConnectionItem {
        id: info.id,
        data: info.data.clone(),
        role: connection.role,
        transport: connection.transport,
        codec: connection.codec,
        created_at: info.created_at,
        resumable: connection.resumable,
        sent: connection.sent,
        link: connection.outbox.map(|outbox| LinkItem {
            id: link.map(|link| link.source.id.number()),
            address: link.map(|link| link.source.remote),
            since: link.map(|link| link.since),
            rtt_ms: link.and_then(|link| link.rtt).map(|rtt| rtt.as_micros() as f64 / 1000.0),
            written: outbox.written,
            queued: outbox.frames,
            queued_bytes: outbox.bytes,
        }),
    }
}

/// The session in a path.
pub(super) fn session_id(text: &str) -> Result<SessionId, Error> {
    text.parse().map_err(|_| Error::invalid("the path has no valid session id"))
}

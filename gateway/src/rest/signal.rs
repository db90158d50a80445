//! `POST …/signal`: a signal from a server, to a session or to one connection.

use std::{collections::HashSet, sync::Arc};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::error::Category;
use signalbox_protocol::{ConnectionId, SessionId, Signal, Text, json};
use signalbox_relay::Recipients;

use super::{
    DONE,
    auth::{InConnection, InSession},
    body,
    error::Error,
    open::OpenSession,
};
use crate::{services::Services, tail::TailEvent, trace};

/// Maximum number of connections in `to` or `except`.
const MAX_NAMED: usize = 1000;

/// The body. The first two members are the vendor's; the others are our extensions, for a whole
/// session only.
#[derive(Deserialize)]
struct Posted<'a> {
    /// SDKs write null or an empty text, or omit it, if there is none.
    #[serde(rename = "type", borrow)]
    signal_type: Option<Text<'a>>,
    #[serde(borrow)]
    data: Option<Text<'a>>,
    /// The only receivers.
    to: Option<HashSet<ConnectionId>>,
    /// Connections that do not receive it.
    except: Option<HashSet<ConnectionId>>,
}

pub(super) async fn to_session(
    State(services): State<Arc<Services>>,
    InSession(session): InSession,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    post(&services, &session, None, &headers, body).await
}

pub(super) async fn to_connection(
    State(services): State<Arc<Services>>,
    InConnection(session, connection): InConnection,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    post(&services, &session, Some(connection), &headers, body).await
}

async fn post(
    services: &Services,
    session: &SessionId,
    connection: Option<ConnectionId>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let body = body::read(body, services.policy().timeouts.hello()).await?;
    if !body::is_json(headers) {
        return Err(body::not_json());
    }
    let posted: Posted<'_> = json::from_str(&body).map_err(|error| explain(&error))?;
    let to = match (connection, &posted.to, &posted.except) {
        (Some(connection), None, None) => Recipients::One(connection),
        (None, None, None) => Recipients::All,
        (None, Some(to), None) => Recipients::Only(named("to", to)?),
        (None, None, Some(except)) => Recipients::Except(named("except", except)?),
        (None, Some(_), Some(_)) => return Err(Error::invalid("Give 'to' or 'except', not both")),
        (Some(_), ..) => {
            return Err(Error::invalid("'to' and 'except' are for signals to a whole session"));
        }
    };
    let data = posted.data.ok_or(Error::DataMissing)?;
    let signal_type = posted.signal_type.filter(|signal_type| !signal_type.is_empty());
    let signal = Signal::new(signal_type, Some(data));
    let open = OpenSession::new(services, session).await?;
    let tailed = services.tail().signal(&signal, connection);
    let (relay, now) = (services.relay(), services.uptime());
    let sent = if services.tracer().expect_deliveries(now, trace::current()) {
        relay.measured_signal_from_server(session, to, signal, now)
    } else {
        relay.signal_from_server(session, to, signal, now)
    };
    let missing = sent.map_err(|reason| {
        services.metrics().rejected(reason.code());
        open.rejected(reason)
    })?;
    services.metrics().server_signal();
    if let Some(signal) = tailed {
        let event = TailEvent::Signal { seq: None, wait_ms: None, signal };
        services.tail().publish(session, None, event);
    }
    if missing.is_empty() {
        return Ok(DONE.into_response());
    }
    // A loss is never silent: the response names the connections that were not reached.
    let body = serde_json::json!({ "notReached": missing }).to_string();
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn named<'a>(
    name: &str,
    ids: &'a HashSet<ConnectionId>,
) -> Result<&'a HashSet<ConnectionId>, Error> {
    if (1..=MAX_NAMED).contains(&ids.len()) {
        Ok(ids)
    } else {
        Err(Error::invalid(format!("'{name}' must name 1 to {MAX_NAMED} connections")))
    }
}

/// Explains a parse error without quoting the body.
fn explain(error: &serde_json::Error) -> Error {
    match error.classify() {
        Category::Data => Error::invalid(
            "The body must be a JSON object whose 'type' and 'data' are strings and whose 'to' \
             and 'except', if given, are lists of connection IDs. No member may be repeated",
        ),
        Category::Syntax | Category::Eof | Category::Io => body::malformed(error),
    }
}

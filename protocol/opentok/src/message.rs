//! Frames to a client.

use serde::Serialize;
use signalbox_protocol::{
    ConnectionId, ConnectionInfo, DisconnectReason, Role, Sender, SessionId, Signal,
};

use crate::{
    client::{FROM, STATUS, TRANSACTION},
    frame::{FrameBuilder, FrameKind},
    receipt::Receipt,
};

/// A message in the body of a frame.
#[derive(Serialize)]
struct MessageBody<'a, C> {
    method: &'a str,
    uri: &'a str,
    content: C,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// An object without members.
#[derive(Serialize)]
struct Empty {}

/// A connection, as a client reads it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConnectionContent<'a> {
    id: ConnectionId,
    creation_time: u64,
    data: &'a str,
    permissions: &'a [&'a str],
}

#[derive(Serialize)]
struct SignalContent<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    signal_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
}

/// The state of a session in the answer to a client that joins. The lists of streams and archives
/// must be there.
#[derive(Serialize)]
struct JoinedContent {
    connection: [Empty; 0],
    stream: [Empty; 0],
    archive: [Empty; 0],
}

#[derive(Serialize)]
struct Refused<'a> {
    reason: &'a str,
}

/// Length of the JSON around the contents of a message, in bytes, and some of the session's id.
const AROUND: usize = 256;

/// A signal, the same for each receiver.
pub fn signal(session: &SessionId, from: &Sender, seq: u64, signal: &Signal<'_>) -> Vec<u8> {
    let transaction = Receipt::Signal { from: from.clone(), seq }.to_string();
    // Empty for servers: without the header the SDK discards the signal.
    let sender = from.connection().map(|id| id.to_string()).unwrap_or_default();
    let (signal_type, data) = (signal.signal_type.as_deref(), signal.data.as_deref());
    // The SDK treats an empty type like one with a name.
    let signal_type = signal_type.filter(|it| !it.is_empty());
    let content = SignalContent { signal_type, data };
    let uri = format!("{}/signal/{seq}", uri_of(session));
    let length = data.map_or(0, str::len);
    let message = MessageBody { method: "signal", uri: &uri, content, reason: None };
    let headers = [(TRANSACTION, transaction.as_str()), (FROM, sender.as_str())];
    frame(FrameKind::Message, &headers, length, &message)
}

/// A connection was created. `event` is the receipt that the client is to give; without one it
/// confirms nothing.
pub fn created(
    session: &SessionId,
    event: Option<&Receipt>,
    info: &ConnectionInfo,
    permissions: &[&str],
) -> Vec<u8> {
    let content = ConnectionContent {
        id: info.id,
        creation_time: info.created_at,
        data: &info.data,
        permissions,
    };
    let length = info.data.len();
    presence(session, event, "created", info.id, content, None, length)
}

/// A connection was destroyed. A client that is told so about itself ends.
pub fn deleted(
    session: &SessionId,
    event: Option<&Receipt>,
    id: ConnectionId,
    reason: DisconnectReason,
) -> Vec<u8> {
    presence(session, event, "deleted", id, Empty {}, Some(reason.name()), 0)
}

fn presence(
    session: &SessionId,
    event: Option<&Receipt>,
    method: &str,
    id: ConnectionId,
    content: impl Serialize,
    reason: Option<&str>,
    length: usize,
) -> Vec<u8> {
    let uri = format!("{}/connection/{id}", uri_of(session));
    let transaction = event.map(ToString::to_string);
    let address = event.and_then(Receipt::address);
    let headers = [(TRANSACTION, &transaction), (FROM, &address)];
    let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    let headers: Vec<_> = headers.collect();
    frame(FrameKind::Message, &headers, length, &MessageBody { method, uri: &uri, content, reason })
}

/// The answer to a request that was fulfilled.
pub fn accepted(transaction: &str) -> Vec<u8> {
    let headers = [(TRANSACTION, transaction), (STATUS, "200")];
    FrameBuilder::new(FrameKind::Status, &headers, 0).finish()
}

/// The answer to a client that has joined: nobody is there. It is told of each connection, itself
/// included, in messages of their own.
pub fn joined(transaction: &str) -> Vec<u8> {
    let state = JoinedContent { connection: [], stream: [], archive: [] };
    frame(FrameKind::Status, &[(TRANSACTION, transaction), (STATUS, "200")], 0, &state)
}

/// The answer to a request that was refused. `status` must not begin with a 2.
pub fn refused(transaction: &str, status: u16, reason: &str) -> Vec<u8> {
    let status = status.to_string();
    let headers = [(TRANSACTION, transaction), (STATUS, status.as_str())];
    frame(FrameKind::Status, &headers, reason.len(), &Refused { reason })
}

/// A pong: the answer to a ping, or sent unasked.
pub fn pong() -> Vec<u8> {
    FrameBuilder::new(FrameKind::Pong, &[], 0).finish()
}

/// What a role permits, by the SDK's names. It offers to disconnect others only to clients with
/// `forcedisconnect`.
pub fn permissions(role: Role) -> &'static [&'static str] {
    match role {
        Role::Subscriber => &["subscribe"],
        Role::Publisher => &["publish", "subscribe"],
        Role::PublisherOnly => &["publish"],
        Role::Moderator => {
            &["publish", "subscribe", "forceunpublish", "forcedisconnect", "forcemute"]
        }
    }
}

fn uri_of(session: &SessionId) -> String {
    format!("/v2/partner/{}/session/{session}", session.project())
}

fn frame(
    kind: FrameKind,
    headers: &[(&str, &str)],
    length: usize,
    body: &impl Serialize,
) -> Vec<u8> {
    let mut frame = FrameBuilder::new(kind, headers, AROUND + length);
    // Writing to memory cannot fail, and every message here has a JSON form.
    let _ = serde_json::to_writer(frame.body(), body);
    frame.finish()
}

//! What a client requests.

use std::borrow::Cow;

use serde::Deserialize;
use signalbox_protocol::{ConnectionId, Signal, Text, json, limits::AGENT_BYTES};

use crate::{client::Request, json_fields::Field, uri::Uri};

/// The body of a request.
#[derive(Deserialize)]
struct RequestBody<'a> {
    #[serde(borrow)]
    method: Text<'a>,
    #[serde(borrow)]
    uri: Text<'a>,
    #[serde(default, borrow)]
    content: RequestContent<'a>,
}

/// The members that any of the requests below has. Requests about media have others, which are not
/// read.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContent<'a> {
    #[serde(default, rename = "type", borrow)]
    signal_type: Field<'a>,
    #[serde(default, borrow)]
    data: Field<'a>,
    #[serde(default, borrow)]
    client_version: Field<'a>,
    #[serde(default, borrow)]
    connection_events_suppressed: Field<'a>,
}

/// What a client requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<'a> {
    /// To join a session.
    Create(CreateConnection),
    /// To send a signal.
    Signal {
        /// The receiver; all members of the session if it is `None`.
        to: Option<ConnectionId>,
        /// The signal, unchecked.
        signal: Signal<'a>,
    },
    /// To disconnect a connection.
    Disconnect {
        /// The connection.
        id: ConnectionId,
    },
}

/// A request to join a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateConnection {
    /// The session's id, unchecked.
    pub session: String,
    /// The connection id that the client has chosen.
    pub connection: ConnectionId,
    /// Whether the client wants to hear of other connections.
    pub presence: bool,
    /// The client's version, if it is no longer than an agent may be.
    pub agent: Option<String>,
}

/// The gateway does not do what is requested. The status and the reason are the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status}: {reason}")]
pub struct Refusal {
    /// The status, with the meaning that it has in HTTP.
    pub status: u16,
    /// A description for people.
    pub reason: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with this status.
    pub fn new(status: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { status, reason: reason.into() }
    }

    const fn fixed(status: u16, reason: &'static str) -> Self {
        Self { status, reason: Cow::Borrowed(reason) }
    }
}

const NOT_TEXT: Refusal =
    Refusal::fixed(400, "the data of a signal must be text: send objects with JSON.stringify");
const TYPE_NOT_TEXT: Refusal = Refusal::fixed(400, "the type of a signal must be text");
const NO_ADDRESS: Refusal = Refusal::fixed(400, "malformed request: its uri names nothing");
const NO_CONNECTION_ID: Refusal = Refusal::fixed(
    400,
    "a connection id must be a UUID in lower case, such as 0b2f6a7e-54c1-4d0a-9a39-1c4dca4d9f10",
);
const NOT_THERE: Refusal = Refusal::fixed(404, "the connection is not in the session");
const MEDIA: Refusal = Refusal::fixed(
    403,
    "this gateway has signaling only: it cannot publish, subscribe to or change streams",
);

impl<'a> Request<'a> {
    /// What is requested.
    ///
    /// # Errors
    /// The [`Refusal`] of a request that is malformed or that no gateway can fulfil.
    pub fn action(&self) -> Result<Action<'a>, Refusal> {
        let body: RequestBody<'a> = json::from_str(self.body).map_err(|error| {
            // The text is not quoted, as it may contain data.
            let column = error.column();
            Refusal::new(400, format!("malformed request: not the expected JSON at byte {column}"))
        })?;
        let RequestBody { method, uri, content } = body;
        let uri = Uri::parse(&uri).ok_or(NO_ADDRESS)?;
        match (&*method, uri.subject) {
            ("signal", Some("signal")) => {
                let to = match uri.connection {
                    None => None,
                    // The SDK documents that the session itself may be the recipient.
                    to if to == uri.session => None,
                    Some(to) => Some(to.parse().map_err(|_| NOT_THERE)?),
                };
                let text = |field, fault| match field {
                    Field::Absent => Ok(None),
                    Field::Text(text) => Ok(Some(text)),
                    Field::Flag(_) | Field::Other => Err(fault),
                };
                let signal_type = text(content.signal_type, TYPE_NOT_TEXT)?;
                let data = text(content.data, NOT_TEXT)?;
                Ok(Action::Signal { to, signal: Signal { signal_type, data } })
            }
            ("create", Some("connection")) => {
                let (session, id) = uri.session.zip(uri.connection).ok_or(NO_ADDRESS)?;
                // The client expects to be called by the very text that it has chosen.
                let connection: ConnectionId = id.parse().map_err(|_| NO_CONNECTION_ID)?;
                if connection.to_string() != id {
                    return Err(NO_CONNECTION_ID);
                }
                let agent = match content.client_version {
                    Field::Text(text) if text.len() <= AGENT_BYTES => Some(text.into_string()),
                    _ => None,
                };
                let presence = content.connection_events_suppressed != Field::Flag(true);
                let session = session.to_owned();
                Ok(Action::Create(CreateConnection { session, connection, presence, agent }))
            }
            ("delete", Some("connection")) => {
                let id = uri.connection.ok_or(NO_ADDRESS)?;
                Ok(Action::Disconnect { id: id.parse().map_err(|_| NOT_THERE)? })
            }
            _ => Err(MEDIA),
        }
    }
}

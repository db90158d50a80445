//! Messages from a gateway.

use serde::{Deserialize, Deserializer, Serialize, de};

use super::{ConnectionInfo, Message, Role};
use crate::{
    CloseReason, ConnectionId, DisconnectReason, ErrorCode, Features, Sender, SessionId, Text,
    limits::{GATEWAY_URL_BYTES, GATEWAYS},
};

/// A message from the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GatewayMessage<'a> {
    /// Tag 0. The answer to a valid hello: the connection exists.
    Welcome(Welcome),
    /// Tag 1. The connections that were in the session before, oldest first, in as many messages as
    /// needed for the number in `welcome`, before any other event.
    Present {
        /// The connections, at least one.
        connections: Vec<ConnectionInfo>,
    },
    /// Tag 2. A connection has joined. Sent before its first signal.
    ConnectionCreated(ConnectionInfo),
    /// Tag 3. A connection has ended. Sent after its last signal, where all senders share one
    /// stream.
    ConnectionDestroyed {
        /// The connection.
        id: ConnectionId,
        /// The reason that members receive.
        reason: DisconnectReason,
        /// Sequence number of the last signal of that connection that was sent to this client on a
        /// sender's stream; 0 if none. A client holds the event until it has surfaced that signal.
        #[serde(rename = "lastSeq")]
        last_seq: u64,
    },
    /// Tag 4. A signal, where all senders share one stream.
    #[serde(borrow)]
    Signal(ReceivedSignal<'a>),
    /// Tag 5. A message of the client was rejected. The link continues.
    Error {
        /// Sequence number of the rejected signal, if it was a signal.
        signal: Option<u64>,
        /// The error code.
        code: ErrorCode,
        /// A description for people.
        #[serde(borrow)]
        message: Text<'a>,
    },
    /// Tag 6. The link ends; nothing follows on this stream.
    Bye {
        /// The close reason.
        reason: CloseReason,
        /// A description for people.
        #[serde(borrow)]
        message: Text<'a>,
        /// Number of streams that the gateway has opened on this link. A client that has read that
        /// many to their end has received everything. 0 where all senders share one stream.
        #[serde(default)]
        streams: u64,
    },
    /// Tag 7. The connection can be resumed with this ticket if its link is lost. Sent once with
    /// the feature `resume`, after the last `present`.
    Ticket(Ticket<'a>),
    /// Tag 8. The connection continues on this link: the answer to a valid `resume`, after any
    /// `gap`s. The replay follows, in order, and then new messages.
    Resumed {
        /// Replaces the ticket that was used.
        #[serde(borrow)]
        ticket: Ticket<'a>,
        /// Number of the client's signals that the gateway has taken, over all links. Later ones
        /// were lost, and the client sends them again.
        signals: u64,
        /// Number of signals and presence events in the replay.
        missed: u64,
    },
    /// Tag 9. Signals for this client are lost, or may be. Before `resumed` it belongs to the answer
    /// to a `resume`. On an open link it reports signals that were lost between gateways.
    Gap {
        /// The lost signals, by sender.
        lost: Vec<Lost>,
        /// Whether presence events, and signals of connections that have ended, are or may be lost.
        /// Only before `resumed`.
        /// `present` messages with all other members follow, `present` connections in all.
        presence: bool,
        /// Number of connections in those messages.
        #[serde(default)]
        present: u32,
    },
    /// Tag 10. The gateway has taken this number of the client's signals, over all links: each is
    /// in the queue of every receiver, or was rejected with an `error`. Only with the feature
    /// `resume`.
    Accepted {
        /// Number of signals.
        signals: u64,
    },
    /// Tag 11. The gateway is shutting down and ends this link soon. Until then the link works as
    /// before. A client may leave earlier, at a time of its choice, without a goodbye.
    GoAway {
        /// Milliseconds until the gateway closes the link.
        #[serde(rename = "withinMs")]
        within_ms: u32,
    },
    /// Tag 12. The answer to every `heartbeat` that the gateway has read since the last one. It comes
    /// after everything that was queued for the client before.
    Heartbeat {},
}

impl<'a> Message<'a> for GatewayMessage<'a> {
    const NAMES: &'static [&'static str] = &[
        "welcome",
        "present",
        "connectionCreated",
        "connectionDestroyed",
        "signal",
        "error",
        "bye",
        "ticket",
        "resumed",
        "gap",
        "accepted",
        "goAway",
        "heartbeat",
    ];
}

/// The secret with which a client resumes its connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ticket<'a> {
    /// A secret, valid once and for this connection only. Opaque: at most 512 bytes of
    /// `A-Z a-z 0-9 - _`.
    #[serde(borrow)]
    pub ticket: Text<'a>,
    /// The resume window, in milliseconds from the loss of the link.
    pub window_ms: u32,
}

/// Signals of one sender that a client will never receive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lost {
    /// The sender.
    pub from: Sender,
    /// Number of the last signal that the client has received; 0 if none.
    pub after: u64,
    /// Number of the last lost signal. Some of the signals between the two were for this client.
    pub until: u64,
}

/// The answer to a valid `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// The client's own connection.
    pub connection: ConnectionInfo,
    /// The session that it joined.
    pub session: SessionId,
    /// Its role.
    pub role: Role,
    /// The gateway's limits for the client.
    pub limits: Limits,
    /// The features that the gateway grants, of those that the client requested.
    pub features: Features,
    /// Number of other members that `present` will name; 0 without the feature `presence`.
    pub present: u32,
    /// URLs of other gateways with which the client may resume or join, in the operator's order of
    /// preference: at most [`GATEWAYS`] of at most [`GATEWAY_URL_BYTES`] bytes.
    #[serde(default, deserialize_with = "gateways")]
    pub gateways: Vec<String>,
}

/// Reads the URLs of gateways. A list beyond its limits is malformed.
fn gateways<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let gateways = Vec::<String>::deserialize(deserializer)?;
    if gateways.len() > GATEWAYS || gateways.iter().any(|url| url.len() > GATEWAY_URL_BYTES) {
        let limits =
            format!("more than {GATEWAYS} gateways, or one of more than {GATEWAY_URL_BYTES} bytes");
        return Err(de::Error::custom(limits));
    }
    Ok(gateways)
}

/// The gateway's limits, with which a client can avoid errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Longest signal type, in bytes.
    pub type_bytes: u32,
    /// Longest signal data, in bytes.
    pub data_bytes: u32,
    /// Signals per second that this connection may send on average; 0 means no limit.
    pub signals_per_second: u32,
    /// Milliseconds of silence after which the gateway considers the link lost.
    pub idle_timeout_ms: u32,
}

/// A signal on its way to a client, where all senders share one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceivedSignal<'a> {
    /// The sender.
    pub from: Sender,
    /// The sender's sequence number. It increases, and skips signals that this client did not get.
    pub seq: u64,
    /// The signal's type.
    #[serde(rename = "type", borrow)]
    pub signal_type: Option<Text<'a>>,
    /// The signal's data.
    #[serde(borrow)]
    pub data: Option<Text<'a>>,
}

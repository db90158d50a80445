//! Updates of a shared session, which a gateway sends to the other gateways of the session.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use signalbox_protocol::{ConnectionId, DisconnectReason, GatewayId, Sender, Signal};

use crate::{
    instance::Instance,
    receipts::Confirmed,
    rejections::Rejection,
    session::{log_entry::Audience, roster::MemberState},
};

/// A change of a session on one gateway, for the session's other gateways. Its contents are known
/// to the relay alone; it is serialized as postcard.
#[derive(Debug, Serialize, Deserialize)]
pub struct SessionUpdate<'a>(#[serde(borrow)] pub(crate) Update<'a>);

impl SessionUpdate<'_> {
    /// Whether it is a gateway's whole part of the session.
    pub fn is_part(&self) -> bool {
        matches!(self.0, Update::Part(_))
    }
}

/// The contents of a [`SessionUpdate`]. New variants are appended, as gateways are upgraded one
/// after the other.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Update<'a> {
    /// The whole part of a gateway in the session.
    Part(Part),
    /// A connection was created.
    Created(MemberState),
    /// A signal was delivered.
    Signal {
        from: Sender,
        seq: u64,
        audience: Audience,
        #[serde(borrow)]
        signal: Signal<'a>,
    },
    /// A connection was resumed on the sending gateway, wherever it was before.
    Resumed(MemberState),
    /// The client of a connection has shown that it has its latest ticket.
    TicketConfirmed { id: ConnectionId },
    /// A signal of a resumable connection was rejected.
    Rejected { id: ConnectionId, rejection: Rejection },
    /// A connection of the sending gateway was destroyed.
    Destroyed { id: ConnectionId, reason: DisconnectReason, sent: u64 },
    /// A request: the receiver is asked to disconnect a connection, on behalf of a moderator or a
    /// server.
    Disconnect { id: ConnectionId },
    /// The receiver's connections with these ids have been reported as destroyed, and must end.
    Refused { ids: Vec<ConnectionId> },
    /// The sending gateway has left the session.
    Closed,
    /// A connection of the sending gateway has moved to another one, which reports it, too.
    Moved { id: ConnectionId, home: Instance, generation: u64 },
    /// A signal was delivered that the sender's client has sent as a request. The client repeats the
    /// request if it reads no answer, on any gateway.
    Requested {
        transaction: &'a str,
        from: ConnectionId,
        seq: u64,
        audience: Audience,
        #[serde(borrow)]
        signal: Signal<'a>,
    },
    /// Clients whose receipts the gateways keep have confirmed messages.
    Confirmed(Vec<(ConnectionId, Confirmed)>),
}

/// The part of one gateway in a session.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Whether the gateway's history reaches back to the beginning of the session.
    pub(crate) complete: bool,
    /// All connections of the gateway.
    pub(crate) members: Vec<MemberState>,
    /// Connections on other gateways, lost ones included, as the gateway knows them.
    pub(crate) others: Vec<Other>,
    /// Connections that were destroyed.
    pub(crate) destroyed: Vec<ConnectionId>,
    /// Those of them that ended because their gateways were lost.
    pub(crate) orphaned: Vec<ConnectionId>,
    /// The last signal of each gateway's servers, as the gateway knows it.
    pub(crate) servers: Vec<(GatewayId, u64)>,
}

/// A connection as seen from a gateway that it is not on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Other {
    pub(crate) state: MemberState,
    pub(crate) home: Instance,
    /// Time until it ends, if its gateway is lost.
    pub(crate) left: Option<Duration>,
}

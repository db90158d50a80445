//! A request to resume a connection, and its result.

use std::{collections::HashMap, sync::Arc, time::Duration};

use signalbox_protocol::{
    ConnectionId, ConnectionInfo, Sender, SessionId, Transport, message::Lost,
};

use crate::{encoding::Encoding, outbox::Outbox, rejections::Rejection};

/// The secret part of a ticket.
pub type TicketSecret = [u8; 32];

/// The connection to resume, and what its client has received.
#[derive(Debug)]
pub struct ResumeRequest<'a> {
    /// The session, from the ticket.
    pub session: &'a SessionId,
    /// The connection, from the ticket.
    pub connection: ConnectionId,
    /// The secret, from the ticket.
    pub secret: TicketSecret,
    /// Number of this attempt, among all attempts with this ticket.
    pub attempt: u32,
    /// Secret of the next ticket.
    pub next_secret: TicketSecret,
    /// Presence events that the client has received.
    pub events: u64,
    /// Signals of the client that a gateway has confirmed to it.
    pub accepted: u64,
    /// The last signal that the client has received from each sender.
    pub cursors: &'a HashMap<Sender, u64>,
    /// Encoding of the frames in the new outbox.
    pub encoding: Encoding,
    /// Transport of the new link.
    pub transport: Transport,
}

/// A resumed connection, apart from the [`Connection`](crate::Connection) itself.
pub struct Resumed {
    /// The replay, followed by new messages.
    pub outbox: Outbox,
    /// When the client's token expires, in time since 1970, as given in
    /// [`ResumeOptions`](crate::ResumeOptions).
    pub token_until: Duration,
    /// Signals of the client that the relay has processed.
    pub signals: u64,
    /// The rejected ones among them that the client may not know of.
    pub rejections: Vec<Rejection>,
    /// Number of signals and presence events in the replay.
    pub missed: u64,
    /// Signals that are lost.
    pub lost: Vec<Lost>,
    /// All other members, if presence events are lost, too.
    pub present: Option<Vec<Arc<ConnectionInfo>>>,
}

//! A request to join a session.

use std::time::Duration;

use signalbox_protocol::{ConnectionInfo, Role, SessionId, Transport};

use crate::{encoding::Encoding, resume::TicketSecret, token::TokenIdentity};

/// A new connection and the session that it joins.
#[derive(Debug, Clone)]
pub struct Join {
    /// The session.
    pub session: SessionId,
    /// The connection as other members see it. Its id must be new: a random UUID.
    pub info: ConnectionInfo,
    /// Its role, which decides what it may do.
    pub role: Role,
    /// The token with which it joins.
    pub token: TokenIdentity,
    /// Whether it receives presence events.
    pub presence: bool,
    /// Encoding of the frames in its outbox.
    pub encoding: Encoding,
    /// Transport of its link, for the list of connections.
    pub transport: Transport,
    /// Makes the connection resumable: it will outlive its link.
    pub resume: Option<ResumeOptions>,
}

/// The resumption of a new connection.
#[derive(Debug, Clone, Copy)]
pub struct ResumeOptions {
    /// Secret of the first ticket.
    pub secret: TicketSecret,
    /// When the client's token expires, in time since 1970. Returned at each resume.
    pub token_until: Duration,
    /// Time for which the connection is kept if its gateway is lost: that in which its client
    /// notices the loss, and then the resume window.
    pub orphan_window: Duration,
}

//! Errors of the relay, one type per operation.

use signalbox_protocol::{CloseReason, ConnectionId, ErrorCode, Role, signal::InvalidSignal};

/// Why a client could not join a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The session has reached its connection limit.
    #[error("the session has reached its connection limit")]
    SessionFull,
    /// The project has reached its connection limit.
    #[error("the project has reached its connection limit")]
    ProjectFull,
    /// The user has reached its connection limit.
    #[error(
        "this user (the connection data of the token) has too many connections open on the gateway: \
         close one first (setting limits.connections_per_user)"
    )]
    UserFull,
    /// The project has reached its session limit.
    #[error("the project has reached its session limit")]
    TooManySessions,
    /// The relay is shutting down.
    #[error("the gateway is shutting down")]
    ShuttingDown,
    /// The client has chosen the id of a connection of the session, or of one that has ended.
    #[error("the connection id is in use, or was: choose another one")]
    IdTaken,
}

impl JoinError {
    /// The close reason that the client receives.
    pub fn close_reason(self) -> CloseReason {
        match self {
            Self::SessionFull | Self::ProjectFull | Self::UserFull | Self::TooManySessions => {
                CloseReason::ConnectionLimit
            }
            Self::ShuttingDown => CloseReason::ShuttingDown,
            Self::IdTaken => CloseReason::Superseded,
        }
    }
}

/// Why a signal was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// The signal was rejected. The caller reports it to the client.
    #[error("signal {seq} rejected: {reason}")]
    Rejected {
        /// Sequence number of the signal.
        seq: u64,
        /// Why it was rejected.
        #[source]
        reason: RejectionReason,
    },
    /// The connection has been closed. Its outbox has the reason.
    #[error("the connection has been closed")]
    Closed,
}

/// Why a request of a client or a server was rejected. Its connection stays open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RejectionReason {
    /// The signal is invalid.
    #[error(transparent)]
    Invalid(#[from] InvalidSignal),
    /// The target connection is not in the session.
    #[error("connection {0} is not in the session")]
    NotFound(ConnectionId),
    /// The role of the target connection does not receive signals.
    #[error("connection {0} does not receive signals")]
    DoesNotReceive(ConnectionId),
    /// The role of the sender may not send signals.
    #[error("the role {} may not send signals", .0.name())]
    MayNotSend(Role),
    /// The role may not disconnect other connections.
    #[error("the role {} may not disconnect others", .0.name())]
    MayNotDisconnect(Role),
    /// The connection exceeds its rate limit.
    #[error("more than {0} signals per second")]
    RateLimited(u32),
    /// The project exceeds its rate limit.
    #[error("the project exceeds its limit of signals per second")]
    ProjectRateLimited,
    /// The session has no connections.
    #[error("the session has no connections")]
    EmptySession,
    /// None of the listed connections is in the session and receives signals.
    #[error("none of the connections is in the session and receives signals")]
    NoneReached,
}

impl RejectionReason {
    /// The error code that the client receives.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(invalid) => invalid.code(),
            Self::NotFound(_) | Self::EmptySession | Self::NoneReached => ErrorCode::NotFound,
            Self::DoesNotReceive(_) | Self::MayNotSend(_) | Self::MayNotDisconnect(_) => {
                ErrorCode::Forbidden
            }
            Self::RateLimited(_) | Self::ProjectRateLimited => ErrorCode::RateLimited,
        }
    }
}

/// Why a connection could not be resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// No resumable connection has this ticket: it is forged, used or expired.
    #[error("no resumable connection has this ticket")]
    InvalidTicket,
    /// The connection was disconnected by a moderator or a server, which its client may not know.
    #[error("the connection was disconnected by a moderator or a server")]
    Evicted,
    /// A later attempt with the same ticket has been accepted.
    #[error("a later attempt with this ticket has been accepted")]
    Superseded,
    /// The client claims to have received messages that were never sent.
    #[error("the client claims to have received messages that were never sent to it")]
    CursorAhead,
    /// The client has received signals that have not arrived here yet. It should try again.
    #[error("the client has received signals that have not arrived at this gateway yet")]
    Behind,
    /// The relay is shutting down.
    #[error("the gateway is shutting down")]
    ShuttingDown,
}

impl ResumeError {
    /// The close reason that the client receives.
    pub fn close_reason(self) -> CloseReason {
        match self {
            Self::InvalidTicket => CloseReason::InvalidTicket,
            Self::Evicted => CloseReason::ForceDisconnected,
            Self::Superseded => CloseReason::Superseded,
            Self::CursorAhead => CloseReason::ProtocolError,
            Self::Behind => CloseReason::NetworkDisconnected,
            Self::ShuttingDown => CloseReason::ShuttingDown,
        }
    }
}

/// Why a snapshot cannot be restored. Its connections are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The snapshot has another format.
    #[error("the snapshot has format {found}; this version reads format {supported}")]
    Format {
        /// Format of the snapshot.
        found: u16,
        /// The only format that this version reads.
        supported: u16,
    },
    /// The bytes are not a snapshot.
    #[error("the snapshot is damaged")]
    Damaged,
}

//! What an application is told.

use signalbox_protocol::{
    CloseReason, ConnectionId, ConnectionInfo, DisconnectReason, ErrorCode, SessionId,
};

/// Something that happened in the session, in an order that applications can rely on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The client is in the session. The first event; those who were there before follow, one
    /// [`Event::ConnectionCreated`] each.
    SessionConnected {
        /// The client's own connection.
        connection: ConnectionInfo,
        /// The session.
        session: SessionId,
    },
    /// Another connection is in the session. Comes before its first signal.
    ConnectionCreated(ConnectionInfo),
    /// Another connection has left. Comes after its last signal.
    ConnectionDestroyed {
        /// Which.
        id: ConnectionId,
        /// Why.
        reason: DisconnectReason,
    },
    /// A signal. With neither type nor data it is a ping.
    Signal {
        /// The connection that sent it (perhaps the client's own); none if a server did.
        from: Option<ConnectionId>,
        /// The sender's sequence number: rising, with holes where a signal was for another.
        seq: u64,
        /// The type.
        signal_type: Option<String>,
        /// The data.
        data: Option<String>,
    },
    /// The gateway refused something that the client sent. The session goes on.
    Refused {
        /// The number that [`SignalBuilder::send`](crate::SignalBuilder::send) returned, if it
        /// was a signal.
        signal: Option<u64>,
        /// Why.
        code: ErrorCode,
        /// The same for people.
        message: String,
    },
    /// The client is no longer in the session. The last event.
    SessionDisconnected {
        /// Why.
        reason: CloseReason,
        /// The same for people.
        message: String,
    },
}

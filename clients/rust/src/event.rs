//! Events of a session.

use signalbox_protocol::{
    CloseReason, ConnectionId, ConnectionInfo, DisconnectReason, ErrorCode, Sender, SessionId,
    message::Lost,
};

/// An event of the session. Events come in an order that applications can rely on: see the
/// [crate's documentation](crate).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The client has joined the session. The first event; one [`Event::ConnectionCreated`] for
    /// each connection that was there already follows.
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
        /// The connection.
        id: ConnectionId,
        /// The reason for its end.
        reason: DisconnectReason,
    },
    /// A signal. With neither type nor data it is a ping.
    Signal {
        /// The sender: a connection (perhaps the client's own) or a server.
        from: Sender,
        /// The sender's sequence number. It rises, and skips signals that were sent to others.
        seq: u64,
        /// The type.
        signal_type: Option<String>,
        /// The data.
        data: Option<String>,
    },
    /// Signals that will never arrive, because they were lost between gateways. The link and the
    /// connection are not affected. Earlier signals of the same sender may still follow.
    Gap {
        /// The lost signals, by sender.
        lost: Vec<Lost>,
    },
    /// The gateway rejected something that the client sent. The session goes on. If
    /// [`SignalBuilder::send`](crate::SignalBuilder::send) waits for the signal, it returns the
    /// error, and there is no event.
    Rejected {
        /// The number that [`SignalBuilder::enqueue`](crate::SignalBuilder::enqueue) returned, if
        /// it was a signal.
        signal: Option<u64>,
        /// The error code.
        code: ErrorCode,
        /// The reason for people.
        message: String,
    },
    /// The link is lost, and the client tries to reconnect by itself. Signals may still be sent;
    /// they are queued. The next event is [`Event::SessionReconnected`],
    /// [`Event::SessionRejoined`] or [`Event::SessionDisconnected`].
    SessionReconnecting {
        /// The close reason of the link.
        reason: CloseReason,
        /// The reason for people.
        message: String,
    },
    /// The client has resumed the same connection; the others were not told anything. Presence
    /// events and signals that it missed follow, in order.
    SessionReconnected {
        /// Number of signals and presence events in the replay that follows, without lost ones.
        missed: u64,
        /// Signals and events that the client will never receive. Usually there is no gap.
        gap: Option<Gap>,
    },
    /// The client has joined the session again as another connection; for the others the previous
    /// connection has left. Connections known before are void: one [`Event::ConnectionCreated`] for
    /// each connection in the session follows, as after [`Event::SessionConnected`]. Signals that
    /// others sent meanwhile are lost. The client's own signals that the gateway had not confirmed
    /// are sent again, so receivers may get them twice.
    SessionRejoined {
        /// The client's own connection from now on.
        connection: ConnectionInfo,
    },
    /// The client is no longer in the session. The last event.
    SessionDisconnected {
        /// The close reason.
        reason: CloseReason,
        /// The reason for people.
        message: String,
    },
}

/// Signals and events that a client missed while it had no link and will never receive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Gap {
    /// Lost signals, by sender.
    pub lost: Vec<Lost>,
    /// Whether presence events were lost, and signals of connections that have left. The gateway
    /// has then listed all connections again: [`Event::ConnectionCreated`] and
    /// [`Event::ConnectionDestroyed`] follow for all that changed. A connection that joined and
    /// left meanwhile is not reported.
    pub presence: bool,
}

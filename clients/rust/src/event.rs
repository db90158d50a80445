//! What an application is told.

use signalbox_protocol::{
    CloseReason, ConnectionId, ConnectionInfo, DisconnectReason, ErrorCode, Sender, SessionId,
    message::Lost,
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
        /// The sender: a connection (perhaps the client's own) or a server.
        from: Sender,
        /// The sender's sequence number: rising, with holes where a signal was for another.
        seq: u64,
        /// The type.
        signal_type: Option<String>,
        /// The data.
        data: Option<String>,
    },
    /// The gateway refused something that the client sent. The session goes on. A signal that
    /// [`SignalBuilder::send`](crate::SignalBuilder::send) waits for is not told here.
    Refused {
        /// The number that [`SignalBuilder::enqueue`](crate::SignalBuilder::enqueue) returned, if
        /// it was a signal.
        signal: Option<u64>,
        /// Why.
        code: ErrorCode,
        /// The same for people.
        message: String,
    },
    /// The link is lost, and the client tries to come back by itself. Signals may still be sent;
    /// they wait. Next comes one of [`Event::SessionReconnected`], [`Event::SessionRejoined`] and
    /// [`Event::SessionDisconnected`].
    SessionReconnecting {
        /// Why the link ended.
        reason: CloseReason,
        /// The same for people.
        message: String,
    },
    /// The client is back, as the same connection: the others have not noticed. Who came, who
    /// left and what they sent meanwhile follows, in order.
    SessionReconnected {
        /// How many signals and presence events that is, those not counted that are lost.
        missed: u64,
        /// What of it is lost. None is the usual case: nothing is.
        gap: Option<Gap>,
    },
    /// The client is in the session again, but as another connection; for the others the one
    /// before has left. Everyone it knew of is forgotten: who is there is told by an
    /// [`Event::ConnectionCreated`] each, as after [`Event::SessionConnected`]. Signals of others
    /// that were sent meanwhile are lost. Its own that the gateway had not confirmed are sent
    /// again, which may be for the second time.
    SessionRejoined {
        /// The client's own connection from now on.
        connection: ConnectionInfo,
    },
    /// The client is no longer in the session. The last event.
    SessionDisconnected {
        /// Why.
        reason: CloseReason,
        /// The same for people.
        message: String,
    },
}

/// What a client that was away will never be told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Gap {
    /// Signals, by who sent them.
    pub lost: Vec<Lost>,
    /// Whether comings and goings are lost, too, and signals of connections that are gone. Who is
    /// there was then named anew: [`Event::ConnectionCreated`] and [`Event::ConnectionDestroyed`]
    /// follow for all that changed. Who came and left meanwhile is not told.
    pub presence: bool,
}

//! Whoever wants to hear of every connection, from outside the sessions.

use signalbox_protocol::{ConnectionInfo, DisconnectReason, SessionId};

/// Hears of each connection's beginning and end, in the order in which its session saw them:
/// created once, destroyed once.
///
/// It is called while the session is locked. It must return at once, and must not call the relay.
pub trait Observer: Send + Sync {
    /// A connection has been created.
    fn created(&self, session: &SessionId, connection: &ConnectionInfo);

    /// A connection has been destroyed.
    fn destroyed(&self, session: &SessionId, connection: &ConnectionInfo, reason: DisconnectReason);
}

/// Nobody wants to hear.
impl Observer for () {
    fn created(&self, _: &SessionId, _: &ConnectionInfo) {}

    fn destroyed(&self, _: &SessionId, _: &ConnectionInfo, _: DisconnectReason) {}
}

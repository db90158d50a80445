//! Observer of connections outside their sessions.

use signalbox_protocol::{ConnectionInfo, DisconnectReason, SessionId};

/// Receives the creation and the end of each connection, once each, in the order of its session.
///
/// The session is locked during the call. An observer must return at once, and must not call the
/// relay.
pub trait Observer: Send + Sync {
    /// A connection has been created.
    fn created(&self, session: &SessionId, connection: &ConnectionInfo);

    /// A connection has been destroyed.
    fn destroyed(&self, session: &SessionId, connection: &ConnectionInfo, reason: DisconnectReason);
}

/// An observer that does nothing.
impl Observer for () {
    fn created(&self, _: &SessionId, _: &ConnectionInfo) {}

    fn destroyed(&self, _: &SessionId, _: &ConnectionInfo, _: DisconnectReason) {}
}

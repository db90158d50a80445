//! The end of connections, for followers.

use std::sync::Arc;

use signalbox_protocol::{ConnectionInfo, DisconnectReason, SessionId};
use signalbox_relay::Observer;

use super::{Tail, TailEvent};

/// An observer whose connections can be followed.
pub(crate) struct TailedObserver {
    pub(crate) inner: Arc<dyn Observer>,
    pub(crate) tail: Arc<Tail>,
}

impl Observer for TailedObserver {
    fn created(&self, session: &SessionId, connection: &ConnectionInfo) {
        // The link tells followers more of it.
        self.inner.created(session, connection);
    }

    fn destroyed(
        &self,
        session: &SessionId,
        connection: &ConnectionInfo,
        reason: DisconnectReason,
    ) {
        self.inner.destroyed(session, connection, reason);
        if self.tail.is_followed() {
            self.tail.publish(session, Some(connection.id), TailEvent::Left { reason });
        }
    }
}

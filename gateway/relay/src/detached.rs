//! A detached connection: a resumable connection whose link was lost.

use std::time::Duration;

use signalbox_protocol::{ConnectionId, SessionId};

use crate::{directory::SessionHandle, seat::Seat};

/// A lease on a detached connection. Dropping it ends the connection, unless the connection has
/// been resumed.
pub struct Detached {
    session: SessionHandle,
    seat: Seat,
    now: Duration,
}

impl Detached {
    pub(crate) fn new(session: SessionHandle, seat: Seat, now: Duration) -> Self {
        Self { session, seat, now }
    }

    /// Id of the connection.
    pub fn id(&self) -> ConnectionId {
        self.seat.id
    }

    /// Id of its session.
    pub fn session_id(&self) -> &SessionId {
        self.session.id()
    }

    /// Ends the connection, unless it has been resumed.
    pub fn expire(mut self, now: Duration) {
        self.now = now;
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        let (seat, now) = (self.seat, self.now);
        self.session.with(|state| state.expire(seat, now));
    }
}

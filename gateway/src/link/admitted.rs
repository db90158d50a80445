//! A connection that has been admitted, and its departure from its link.

use std::time::Duration;

use signalbox_protocol::CloseReason;
use signalbox_relay::{Connection, Outbox};

use crate::{lifecycle::Lifecycle, services::Services, tail::TailEvent};

/// A connection that its link carries from now on.
pub(super) struct Admitted {
    pub(super) connection: Connection,
    pub(super) outbox: Outbox,
    /// Remaining lifetime of its token.
    pub(super) expires_in: Duration,
}

/// Ends the connection's time on its link: the connection is detached if the link was lost or the
/// gateway drains, and if the client asked for resumption; otherwise it leaves its session.
pub(super) fn detach_or_leave(
    services: &Services,
    lifecycle: &Lifecycle,
    connection: Connection,
    reason: CloseReason,
) {
    let now = services.uptime();
    // After a drain the client may resume at the next process, so the others are not told.
    if !matches!(reason, CloseReason::NetworkDisconnected | CloseReason::ShuttingDown) {
        connection.leave(reason, now);
        return;
    }
    let tail = services.tail();
    let followed = tail.is_followed().then(|| (connection.session_id().clone(), connection.id()));
    let window = services.resume_window(connection.session_id().project());
    if let Some(detached) = connection.detach(now) {
        if let Some((session, id)) = followed {
            tail.publish(&session, Some(id), TailEvent::detached(reason));
        }
        lifecycle.expire_after(window, detached, services.uptime());
    }
}

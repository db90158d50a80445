//! Snapshots: the resumable connections of a relay, for the next process.
//!
//! A gateway that is replaced by a newer one need not end its resumable connections. A snapshot
//! turns their sessions into bytes, and the next process restores them with every connection
//! detached, as if all links had been lost at once. All other connections end.
//!
//! The bytes depend on the serialized types. [`FORMAT`] must be raised with every change of them
//! (a test notices), so that a process rejects snapshots that it cannot read.

use std::{sync::Arc, time::Duration};

use signalbox_protocol::{CloseReason, ConnectionInfo, SessionId};

use crate::{
    detached::Detached, error::RestoreError, relay::Relay, session::snapshot::SessionSnapshot,
};

/// Format of a snapshot.
const FORMAT: u16 = 8;

/// The resumable connections of a relay.
pub struct Snapshot {
    /// Input of [`Relay::restore`]. It contains the secrets of tickets.
    pub bytes: Vec<u8>,
    /// Number of connections in it.
    pub connections: usize,
    /// Number of resumable connections that it has no room for.
    pub left_out: usize,
    members: Vec<(SessionId, Vec<Arc<ConnectionInfo>>)>,
}

impl Relay {
    /// Closes every connection with [`CloseReason::ShuttingDown`], and rejects all joins from now
    /// on. Resumable connections go into the snapshot without a call to the observer; all others
    /// end, or are left to other gateways, as in [`Relay::shut_down`].
    ///
    /// The snapshot has at most `max_bytes` bytes. The connections of a session that does not fit
    /// end.
    pub fn snapshot(&self, max_bytes: usize, now: Duration) -> Snapshot {
        let bytes = postcard::to_stdvec(&FORMAT).unwrap_or_default();
        let mut snapshot = Snapshot { bytes, connections: 0, left_out: 0, members: Vec::new() };
        for session in self.directory().close() {
            session.with(|state| {
                if state.leave_to_peers() {
                    return;
                }
                let (taken, infos) = state.take_snapshot(now);
                if infos.is_empty() {
                    return;
                }
                // Serialization cannot fail for these types; a failure would count as too large.
                let bytes = postcard::to_stdvec(&taken).ok();
                let room = max_bytes.saturating_sub(snapshot.bytes.len());
                if let Some(bytes) = bytes.filter(|bytes| bytes.len() <= room) {
                    snapshot.bytes.extend(bytes);
                    snapshot.connections += infos.len();
                    snapshot.members.push((session.id().clone(), infos));
                } else {
                    snapshot.left_out += infos.len();
                    state.report_destroyed(&infos);
                }
            });
        }
        snapshot
    }

    /// Notifies the observer that all connections in a snapshot have ended, as it will not be
    /// restored.
    pub fn discard(&self, snapshot: &Snapshot) {
        let reason = CloseReason::ShuttingDown.disconnect_reason();
        for (session, infos) in &snapshot.members {
            for info in infos {
                self.directory().context().observer.destroyed(session, info, reason);
            }
        }
    }

    /// Restores the connections of a snapshot. To be called before the first join. All connections
    /// are detached; each ends when its lease is dropped, unless it has been resumed. The limits
    /// do not apply, as the connections were admitted before.
    ///
    /// # Errors
    /// [`RestoreError`]. Nothing has changed then.
    pub fn restore(&self, bytes: &[u8], now: Duration) -> Result<Vec<Detached>, RestoreError> {
        let damaged = |_| RestoreError::Damaged;
        let (format, mut rest) = postcard::take_from_bytes::<u16>(bytes).map_err(damaged)?;
        if format != FORMAT {
            return Err(RestoreError::Format { found: format, supported: FORMAT });
        }
        let mut sessions = Vec::new();
        while !rest.is_empty() {
            let (session, after) =
                postcard::take_from_bytes::<SessionSnapshot>(rest).map_err(damaged)?;
            let id: SessionId = session.id().parse().map_err(|_| RestoreError::Damaged)?;
            sessions.push((id, session));
            rest = after;
        }
        let mut restored = Vec::new();
        for (id, snapshot) in sessions {
            let Some(session) = self.directory().reopen(&id, snapshot.infos()) else { continue };
            let seats = session.with(|state| state.restore(snapshot, now));
            let detached = |seat| Detached::new(session.clone(), seat, now);
            restored.extend(seats.into_iter().map(detached));
        }
        Ok(restored)
    }
}

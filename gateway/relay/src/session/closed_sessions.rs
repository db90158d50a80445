//! Closed sessions of a gateway in a cluster: the part of their state that outlives them.
//!
//! A gateway that was cut off may still have the session, and connections that were destroyed here
//! before the session was closed. The numbers of the servers' signals continue when the session is
//! opened again, as clients on other gateways have received the earlier ones.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use signalbox_protocol::{ConnectionId, SessionId};

use super::tombstones::Tombstones;

/// Tombstones of all closed sessions together, and sessions. The oldest session is forgotten first.
const MAX_CLOSED: usize = 65_536;

/// The part of a session that outlives it.
#[derive(Default)]
pub(crate) struct ClosedSession {
    pub(crate) tombstones: Tombstones,
    /// The last signal of this gateway's servers.
    pub(crate) server_seq: u64,
}

/// The latest closed sessions. This lock is an inner one: nothing else is locked under it.
#[derive(Default)]
pub(crate) struct ClosedSessions(Mutex<ClosedState>);

#[derive(Default)]
struct ClosedState {
    /// With the number of the closing.
    by_id: HashMap<SessionId, (u64, ClosedSession)>,
    order: VecDeque<(u64, SessionId)>,
    closings: u64,
    tombstones: usize,
}

impl ClosedSessions {
    pub(crate) fn insert(&self, session: SessionId, closed: ClosedSession) {
        if closed.tombstones.len() == 0 && closed.server_seq == 0 {
            return;
        }
        let mut state = self.0.lock();
        state.remove(&session);
        state.closings += 1;
        let number = state.closings;
        state.order.push_back((number, session.clone()));
        state.tombstones += closed.tombstones.len();
        state.by_id.insert(session, (number, closed));
        while state.tombstones > MAX_CLOSED || state.order.len() > MAX_CLOSED {
            let Some((number, oldest)) = state.order.pop_front() else { return };
            // Otherwise it was opened again.
            if state.by_id.get(&oldest).is_some_and(|(latest, _)| *latest == number) {
                state.remove(&oldest);
            }
        }
    }

    /// The state of a session that is opened again.
    pub(crate) fn take(&self, session: &SessionId) -> ClosedSession {
        self.0.lock().remove(session)
    }

    /// The destroyed connections of a session, oldest first.
    pub(crate) fn destroyed(&self, session: &SessionId) -> Vec<ConnectionId> {
        let state = self.0.lock();
        state.by_id.get(session).map(|(_, it)| it.tombstones.iter().collect()).unwrap_or_default()
    }

    pub(crate) fn ids(&self) -> Vec<SessionId> {
        self.0.lock().by_id.keys().cloned().collect()
    }
}

impl ClosedState {
    fn remove(&mut self, session: &SessionId) -> ClosedSession {
        let (_, closed) = self.by_id.remove(session).unwrap_or_default();
        self.tombstones -= closed.tombstones.len();
        closed
    }
}

#[cfg(test)]
mod tests {
    use signalbox_protocol::MediaMode;

    use super::*;

    fn session(n: u32) -> SessionId {
        let mut nonce = [0; 24];
        nonce[..4].copy_from_slice(&n.to_be_bytes());
        SessionId::mint(&"1".parse().unwrap(), MediaMode::Relayed, None, 0, nonce)
    }

    fn closed(ids: impl Iterator<Item = u32>) -> ClosedSession {
        let mut tombstones = Tombstones::default();
        for n in ids {
            tombstones.insert(ConnectionId::from_bytes(u128::from(n).to_be_bytes()));
        }
        ClosedSession { tombstones, server_seq: 0 }
    }

    #[test]
    fn the_latest_sessions_are_remembered_until_they_are_opened() {
        let sessions = ClosedSessions::default();
        let each = 4096;
        let full = MAX_CLOSED as u32 / each;
        sessions.insert(session(0), closed(0..each));
        sessions.insert(session(1), ClosedSession::default());
        let opened = sessions.take(&session(0));
        assert_eq!(opened.tombstones.len(), each as usize);
        for n in 2..=full + 1 {
            sessions.insert(session(n), closed(0..each));
        }
        assert_eq!(sessions.ids().len(), full as usize, "none without tombstones");
        sessions.insert(session(0), opened);
        assert_eq!(sessions.destroyed(&session(2)), [], "the oldest");
        assert_eq!(sessions.destroyed(&session(3)).len(), each as usize);
        assert_eq!(sessions.destroyed(&session(0)).len(), each as usize);
    }

    #[test]
    fn a_session_that_is_opened_often_is_counted_once() {
        let sessions = ClosedSessions::default();
        for _ in 0..2 * MAX_CLOSED {
            sessions.insert(session(0), closed(0..1));
        }
        assert_eq!(sessions.destroyed(&session(0)).len(), 1);
        assert!(sessions.0.lock().order.len() <= MAX_CLOSED);
    }
}

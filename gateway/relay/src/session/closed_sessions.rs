//! Closed sessions of a gateway in a cluster, with the tombstones of their connections.
//!
//! A gateway that was cut off may still have the session, and connections that were destroyed here
//! before the session was closed.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use signalbox_protocol::{ConnectionId, SessionId};

use super::tombstones::Tombstones;

/// Tombstones of all closed sessions together, and sessions. The oldest session is forgotten first.
const MAX_CLOSED: usize = 65_536;

/// The latest closed sessions. This lock is an inner one: nothing else is locked under it.
#[derive(Default)]
pub(crate) struct ClosedSessions(Mutex<ClosedState>);

#[derive(Default)]
struct ClosedState {
    /// With the number of the closing.
    by_id: HashMap<SessionId, (u64, Tombstones)>,
    order: VecDeque<(u64, SessionId)>,
    closings: u64,
    tombstones: usize,
}

impl ClosedSessions {
    pub(crate) fn insert(&self, session: SessionId, tombstones: Tombstones) {
        if tombstones.len() == 0 {
            return;
        }
        let mut state = self.0.lock();
        state.remove(&session);
        state.closings += 1;
        let number = state.closings;
        state.order.push_back((number, session.clone()));
        state.tombstones += tombstones.len();
        state.by_id.insert(session, (number, tombstones));
        while state.tombstones > MAX_CLOSED || state.order.len() > MAX_CLOSED {
            let Some((number, oldest)) = state.order.pop_front() else { return };
            // Otherwise it was opened again.
            if state.by_id.get(&oldest).is_some_and(|(latest, _)| *latest == number) {
                state.remove(&oldest);
            }
        }
    }

    /// The tombstones of a session that is opened again.
    pub(crate) fn take(&self, session: &SessionId) -> Tombstones {
        self.0.lock().remove(session)
    }

    /// The destroyed connections of a session, oldest first.
    pub(crate) fn destroyed(&self, session: &SessionId) -> Vec<ConnectionId> {
        let state = self.0.lock();
        state.by_id.get(session).map(|(_, it)| it.iter().collect()).unwrap_or_default()
    }

    pub(crate) fn ids(&self) -> Vec<SessionId> {
        self.0.lock().by_id.keys().cloned().collect()
    }
}

impl ClosedState {
    fn remove(&mut self, session: &SessionId) -> Tombstones {
        let (_, tombstones) = self.by_id.remove(session).unwrap_or_default();
        self.tombstones -= tombstones.len();
        tombstones
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

    fn tombstones(ids: impl Iterator<Item = u32>) -> Tombstones {
        let mut tombstones = Tombstones::default();
        for n in ids {
            tombstones.insert(ConnectionId::from_bytes(u128::from(n).to_be_bytes()));
        }
        tombstones
    }

    #[test]
    fn the_latest_sessions_are_remembered_until_they_are_opened() {
        let closed = ClosedSessions::default();
        let each = 4096;
        let sessions = MAX_CLOSED as u32 / each;
        closed.insert(session(0), tombstones(0..each));
        closed.insert(session(1), Tombstones::default());
        let opened = closed.take(&session(0));
        assert_eq!(opened.len(), each as usize);
        for n in 2..=sessions + 1 {
            closed.insert(session(n), tombstones(0..each));
        }
        assert_eq!(closed.ids().len(), sessions as usize, "none without tombstones");
        closed.insert(session(0), opened);
        assert_eq!(closed.destroyed(&session(2)), [], "the oldest");
        assert_eq!(closed.destroyed(&session(3)).len(), each as usize);
        assert_eq!(closed.destroyed(&session(0)).len(), each as usize);
    }

    #[test]
    fn a_session_that_is_opened_often_is_counted_once() {
        let closed = ClosedSessions::default();
        for _ in 0..2 * MAX_CLOSED {
            closed.insert(session(0), tombstones(0..1));
        }
        assert_eq!(closed.destroyed(&session(0)).len(), 1);
        assert!(closed.0.lock().order.len() <= MAX_CLOSED);
    }
}

//! Ids of connections that were reported as destroyed.
//!
//! After a resume on another gateway of a cluster, the member list may still name a connection whose
//! end that gateway does not know yet. The application has been told of the end, so the connection
//! must not reappear.

use std::collections::{HashSet, VecDeque};

use signalbox_protocol::ConnectionId;

/// Destroyed connections that are remembered, in some 50 KiB. A list is out of date for a resume
/// window at most, so the latest ids suffice.
pub(super) const DESTROYED_IDS: usize = 1024;

/// The latest destroyed connections. The oldest is forgotten first.
#[derive(Debug, Default)]
pub(super) struct DestroyedIds {
    ids: HashSet<ConnectionId>,
    oldest_first: VecDeque<ConnectionId>,
}

impl DestroyedIds {
    pub(super) fn insert(&mut self, id: ConnectionId) {
        if !self.ids.insert(id) {
            return;
        }
        self.oldest_first.push_back(id);
        if self.oldest_first.len() > DESTROYED_IDS
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    pub(super) fn contains(&self, id: ConnectionId) -> bool {
        self.ids.contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_ids_are_remembered() {
        let id = |n: usize| ConnectionId::from_bytes((n as u128).to_be_bytes());
        let mut destroyed = DestroyedIds::default();
        for n in 0..=DESTROYED_IDS {
            destroyed.insert(id(n));
            destroyed.insert(id(n));
        }
        assert!(!destroyed.contains(id(0)));
        assert!(destroyed.contains(id(1)) && destroyed.contains(id(DESTROYED_IDS)));
        assert_eq!(destroyed.ids.len(), DESTROYED_IDS);
    }
}

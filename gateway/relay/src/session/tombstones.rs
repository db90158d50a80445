//! Tombstones: connections of a shared session that were destroyed.
//!
//! A gateway that was cut off may still have a connection that the others have reported as
//! destroyed. It must not reappear when the gateway returns.

use std::collections::{HashSet, VecDeque};

use signalbox_protocol::ConnectionId;

/// Destroyed connections that a shared session remembers. The oldest is forgotten first.
pub(crate) const MAX_TOMBSTONES: usize = 4096;

/// The latest destroyed connections of a shared session.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    ids: HashSet<ConnectionId>,
    order: VecDeque<ConnectionId>,
    /// Those that ended because their gateway was lost, which it has not reported itself.
    orphans: HashSet<ConnectionId>,
}

impl Tombstones {
    pub(crate) fn insert(&mut self, id: ConnectionId) {
        if !self.ids.insert(id) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > MAX_TOMBSTONES
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
            self.orphans.remove(&oldest);
        }
    }

    /// A connection has ended because its gateway was lost.
    pub(crate) fn insert_orphan(&mut self, id: ConnectionId) {
        self.insert(id);
        self.orphans.insert(id);
    }

    /// The connections that have ended because their gateways were lost.
    pub(crate) fn orphans(&self) -> impl Iterator<Item = ConnectionId> {
        self.orphans.iter().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The ids, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = ConnectionId> {
        self.order.iter().copied()
    }

    pub(crate) fn contains(&self, id: ConnectionId) -> bool {
        self.ids.contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_ids_are_remembered() {
        let id = |n: usize| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
            ConnectionId::from_bytes(bytes)
        };
        let mut tombstones = Tombstones::default();
        for n in 0..=MAX_TOMBSTONES {
            tombstones.insert(id(n));
            tombstones.insert(id(n));
        }
        assert!(!tombstones.contains(id(0)));
        assert!(tombstones.contains(id(1)) && tombstones.contains(id(MAX_TOMBSTONES)));
        assert_eq!(tombstones.ids.len(), MAX_TOMBSTONES);
    }
}

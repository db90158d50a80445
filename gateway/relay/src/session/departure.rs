//! The departure of this gateway from a shared session at a shutdown.

use signalbox_protocol::CloseReason;

use super::{roster::Member, state::SessionState};

impl SessionState {
    /// Leaves the resumable connections to the other gateways, which take them over when this one
    /// has said goodbye; all other connections end. `false` if no other gateway has the session.
    pub(crate) fn leave_to_peers(&mut self) -> bool {
        let now = self.last_recorded();
        let Some(shared) = self.shared.as_mut().filter(|shared| !shared.peers.is_empty()) else {
            return false;
        };
        shared.departing = true;
        let ended = self.roster.iter().filter(|member| member.resumable().is_none());
        for id in ended.map(Member::id).collect::<Vec<_>>() {
            self.remove(id, CloseReason::ShuttingDown, now);
        }
        for link in self.roster.iter().filter_map(Member::link) {
            link.outbox.close(CloseReason::ShuttingDown);
        }
        true
    }

    /// Whether the session has resumable connections, and no other gateway has it.
    pub(crate) fn needs_handover(&self) -> bool {
        self.peers().is_empty() && self.roster.has_resumable()
    }

    /// Whether the connections here have been left to the other gateways.
    pub(super) fn is_left_to_peers(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.departing && !shared.peers.is_empty())
    }
}

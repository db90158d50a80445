//! A session: its members behind one lock.

mod claims;
pub(crate) mod closed_sessions;
mod departure;
mod disconnect;
pub(crate) mod history;
mod listing;
pub(crate) mod log_entry;
mod orphans;
mod peers;
mod receipts;
mod replay;
pub(crate) mod resumable;
mod resume;
pub(crate) mod roster;
mod shared;
mod signals;
pub(crate) mod snapshot;
mod state;
mod tombstones;
mod transfer;
mod trimmed;
mod unseen;

use std::sync::Arc;

use parking_lot::Mutex;
use signalbox_protocol::SessionId;

pub use self::signals::SignalCost;
use self::{history::HistoryBounds, roster::RosterChange};
pub(crate) use self::{signals::AcceptedSignal, state::SessionState};
use crate::{context::RelayContext, rate::SharedRateLimiter, turns::SessionTurns};

/// A session with at least one member on this gateway. The first member creates it; it ends with
/// the last one. (In a cluster it exists also while it is held, or has members of a lost gateway.)
pub(crate) struct Session {
    id: SessionId,
    state: Mutex<SessionState>,
    turns: Arc<SessionTurns>,
}

/// Changes of a session that its directory has not applied yet.
#[must_use]
pub(crate) struct Gone {
    /// Changes of the local members.
    pub(crate) changes: Vec<RosterChange>,
    /// Whether the session is closed, as it has no members.
    pub(crate) closed: bool,
}

impl Session {
    /// An empty session whose signals count against `rate`.
    pub(crate) fn new(
        id: SessionId,
        context: Arc<RelayContext>,
        rate: Arc<SharedRateLimiter>,
        bounds: HistoryBounds,
    ) -> Self {
        let turns = Arc::new(SessionTurns::default());
        let state = SessionState::new(id.clone(), context, rate, bounds, turns.clone());
        Self { id, state: Mutex::new(state), turns }
    }

    pub(crate) fn id(&self) -> &SessionId {
        &self.id
    }

    /// Whether the session's links are so far behind that its senders should wait.
    pub(crate) fn is_lagging(&self) -> bool {
        self.turns.is_lagging()
    }

    pub(crate) fn turns(&self) -> &Arc<SessionTurns> {
        &self.turns
    }

    /// Locks the session for `act`. The result comes with the departures, which the caller applies
    /// to the directory after the lock is released. Nothing waits while it is held.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut SessionState) -> T) -> (T, Gone) {
        let mut state = self.state.lock();
        let result = act(&mut state);
        let gone = state.settle();
        (result, gone)
    }
}

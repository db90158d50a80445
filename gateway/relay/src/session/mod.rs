//! A session: its members behind one lock.

pub(crate) mod history;
mod log_entry;
mod replay;
pub(crate) mod resumable;
mod resume;
mod roster;
pub(crate) mod snapshot;
mod state;
mod trimmed;

use std::sync::Arc;

use parking_lot::Mutex;
use signalbox_protocol::SessionId;

use self::history::HistoryBounds;
pub(crate) use self::state::SessionState;
use crate::{context::RelayContext, rate::SharedRateLimiter};

/// A session with at least one member. The first member creates it; it ends with the last one.
pub(crate) struct Session {
    id: SessionId,
    state: Mutex<SessionState>,
}

/// Departures from a session that its directory has not applied yet.
#[must_use]
pub(crate) struct Gone {
    /// Number of removed members.
    pub(crate) members: usize,
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
        let state = SessionState::new(id.clone(), context, rate, bounds);
        Self { id, state: Mutex::new(state) }
    }

    pub(crate) fn id(&self) -> &SessionId {
        &self.id
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

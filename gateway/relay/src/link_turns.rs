//! The turns of one link, for its work with packets.

use std::{sync::Arc, task::Waker};

use crate::{context::RelayContext, turns::SessionTurns};

/// The turns of one link, for work other than writing what is in its outbox.
pub struct LinkTurns {
    context: Arc<RelayContext>,
    session: Arc<SessionTurns>,
}

impl LinkTurns {
    pub(crate) fn new(context: Arc<RelayContext>, session: Arc<SessionTurns>) -> Self {
        Self { context, session }
    }

    /// Whether the link is to wait for its turn: its session had many members on this gateway at the
    /// last push to all of them.
    pub fn are_needed(&self) -> bool {
        self.session.is_large()
    }

    /// Wakes a task in a turn of its session. A link has at most one waker here at a time.
    pub fn wake(&self, task: Waker) {
        if self.session.push_task(task) {
            self.context.turns.add(self.session.clone());
        }
    }
}

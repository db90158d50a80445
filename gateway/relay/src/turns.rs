//! Turns: the links of large sessions are woken a few at a time.
//!
//! Links share a thread. If a signal to a thousand members woke all of their links at once, every
//! other link would wait until they have written. So a push to a session with many members wakes
//! nobody itself. Its links wait in a list of the session, the sessions with such a list take turns,
//! and between two turns all other links run that are ready.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::{Mutex, MutexGuard};

use crate::{
    outbox::{Outbox, OutboxFull, register},
    outgoing::Outgoing,
};

/// The largest session whose links a push wakes itself. Writing to that many links takes well under
/// a millisecond, and most sessions do not pay for a list.
pub(crate) const SMALL_SESSION: usize = 100;

/// The work of one turn, by [`LINK_COST`] and bytes: about a quarter of a millisecond.
const TURN: usize = 128 * 1024;

/// The cost of waking a link, as a number of bytes that cost as much to write.
const LINK_COST: usize = 4 * 1024;

/// Bytes that may be pushed to each member before all links that wait for their turn have had it.
/// A batch of this size costs little more per signal than a larger one.
const MAX_LAG: usize = 32 * 1024;

/// The sessions with links that are to be woken, in the order of their turns.
#[derive(Default)]
pub(crate) struct Turns(Mutex<TurnsState>);

#[derive(Default)]
struct TurnsState {
    /// At most once each.
    sessions: VecDeque<Arc<SessionTurns>>,
    /// Wakes the task that gives turns.
    waker: Option<Waker>,
}

impl Turns {
    /// Gives one session its turn.
    pub(crate) fn poll_turn(&self, cx: &mut Context<'_>) -> Poll<()> {
        let session = {
            let mut state = self.0.lock();
            let Some(session) = state.sessions.pop_front() else {
                register(&mut state.waker, cx);
                return Poll::Pending;
            };
            session
        };
        if session.take_turn() {
            self.0.lock().sessions.push_back(session);
        }
        Poll::Ready(())
    }

    /// Adds a session that needs turns and did not before.
    pub(crate) fn add(&self, session: Arc<SessionTurns>) {
        let mut state = self.0.lock();
        state.sessions.push_back(session);
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }
}

/// The links of one session that are to be woken.
#[derive(Default)]
pub(crate) struct SessionTurns(Mutex<SessionTurnsState>);

#[derive(Default)]
struct SessionTurnsState {
    /// At most once each.
    outboxes: VecDeque<Outbox>,
    /// Bytes pushed to each member since the list was last empty.
    lag: usize,
}

impl SessionTurns {
    /// Whether the session's links are so far behind that its senders should wait.
    pub(crate) fn is_lagging(&self) -> bool {
        self.0.lock().lag >= MAX_LAG
    }

    /// For pushes of one message to members of the session.
    pub(crate) fn pushes(&self) -> TurnPushes<'_> {
        let state = self.0.lock();
        TurnPushes { was_empty: state.outboxes.is_empty(), bytes: 0, state }
    }

    /// Wakes as many links as a turn allows. Returns whether there are more.
    fn take_turn(&self) -> bool {
        let mut cost = 0;
        while cost < TURN {
            let mut state = self.0.lock();
            let Some(outbox) = state.outboxes.pop_front() else {
                state.lag = 0;
                return false;
            };
            drop(state);
            if let Some(bytes) = outbox.wake() {
                cost += LINK_COST + bytes;
            }
        }
        true
    }
}

/// Pushes of one message to members of a session, whose links wait for their turn.
pub(crate) struct TurnPushes<'a> {
    was_empty: bool,
    /// Bytes of the message.
    bytes: usize,
    state: MutexGuard<'a, SessionTurnsState>,
}

impl TurnPushes<'_> {
    /// Pushes the message to one member.
    pub(crate) fn push(&mut self, outbox: &Outbox, outgoing: Outgoing) -> Result<(), OutboxFull> {
        self.bytes = outgoing.cost();
        if outbox.push_quietly(outgoing)? {
            self.state.outboxes.push_back(outbox.clone());
        }
        Ok(())
    }

    /// Returns whether the session now needs turns and did not before.
    pub(crate) fn finish(mut self) -> bool {
        let is_empty = self.state.outboxes.is_empty();
        if !is_empty {
            self.state.lag += self.bytes;
        }
        self.was_empty && !is_empty
    }
}

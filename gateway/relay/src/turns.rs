//! Turns: the links of large sessions are woken a few at a time.
//!
//! Links share a thread. If a signal to a thousand members woke all of their links at once, every
//! other link would wait until they have written. So a push to a session with many members wakes
//! nobody itself. Its links wait in a list of the session, the sessions with such a list take turns,
//! and between two turns all other links run that are ready.
//!
//! Over QUIC and WebTransport, members acknowledge what they receive, and each acknowledgement wakes a
//! link too. These links also wait for their turns (`link_turns.rs`).

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
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

/// The part of a turn in which links with packets come first: seven eighths. Links that write later
/// write more at once, in fewer packets. The rest is for links that write, however many packets come.
const TASKS_FIRST: usize = 112 * 1024;

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
pub(crate) struct SessionTurns {
    state: Mutex<SessionTurnsState>,
    /// Whether the session was large at the last push to all of its members.
    is_large: AtomicBool,
}

#[derive(Default)]
struct SessionTurnsState {
    /// Links with something to write, at most once each.
    outboxes: VecDeque<Outbox>,
    /// Links with packets to process, at most once each.
    tasks: VecDeque<Waker>,
    /// Bytes pushed to each member since no outbox waited.
    lag: usize,
}

/// A link that waits for its turn.
enum WaitingLink {
    Task(Waker),
    Outbox(Outbox),
}

impl SessionTurnsState {
    /// The next link to wake.
    fn next(&mut self, tasks_first: bool) -> Option<WaitingLink> {
        let task = |it: &mut Self| it.tasks.pop_front().map(WaitingLink::Task);
        let outbox = |it: &mut Self| {
            let outbox = it.outboxes.pop_front().map(WaitingLink::Outbox);
            if it.outboxes.is_empty() {
                it.lag = 0;
            }
            outbox
        };
        if tasks_first {
            task(self).or_else(|| outbox(self))
        } else {
            outbox(self).or_else(|| task(self))
        }
    }

    fn is_empty(&self) -> bool {
        self.outboxes.is_empty() && self.tasks.is_empty()
    }
}

impl SessionTurns {
    /// Whether the session's links are so far behind that its senders should wait.
    pub(crate) fn is_lagging(&self) -> bool {
        self.state.lock().lag >= MAX_LAG
    }

    pub(crate) fn set_large(&self, is_large: bool) {
        self.is_large.store(is_large, Relaxed);
    }

    pub(crate) fn is_large(&self) -> bool {
        self.is_large.load(Relaxed)
    }

    /// Adds a task that is to be woken. Returns whether the session now needs turns and did not
    /// before.
    pub(crate) fn push_task(&self, task: Waker) -> bool {
        let mut state = self.state.lock();
        let was_empty = state.is_empty();
        state.tasks.push_back(task);
        was_empty
    }

    /// For pushes of one message to members of the session.
    pub(crate) fn pushes(&self) -> TurnPushes<'_> {
        let state = self.state.lock();
        TurnPushes { was_empty: state.is_empty(), bytes: 0, state }
    }

    /// Wakes as many links as a turn allows. Returns whether there are more.
    fn take_turn(&self) -> bool {
        let mut cost = 0;
        while cost < TURN {
            let mut state = self.state.lock();
            let next = state.next(cost < TASKS_FIRST);
            drop(state);
            match next {
                None => return false,
                Some(WaitingLink::Task(task)) => {
                    task.wake();
                    cost += LINK_COST;
                }
                Some(WaitingLink::Outbox(outbox)) => {
                    if let Some(bytes) = outbox.wake() {
                        cost += LINK_COST + bytes;
                    }
                }
            }
        }
        // A push to an empty list adds the session to those that need turns.
        !self.state.lock().is_empty()
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
        if !self.state.outboxes.is_empty() {
            self.state.lag += self.bytes;
        }
        self.was_empty && !self.state.is_empty()
    }
}

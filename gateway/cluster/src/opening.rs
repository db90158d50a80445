//! Opening a session: the parts of all live gateways, then the history of one.

use std::{collections::HashMap, task::Context, time::Duration};

use signalbox_protocol::SessionId;
use signalbox_relay::Instance;

use crate::waiting::Waiting;

/// Sessions that are being opened.
#[derive(Default)]
pub(crate) struct Openings {
    by_session: HashMap<SessionId, PendingOpen>,
}

struct PendingOpen {
    waiting: Waiting,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Parts,
    History,
}

/// The next step of an opening.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Answers are awaited.
    Wait,
    /// All parts are there: the history is needed.
    AskForHistory,
    /// Nothing is needed any more.
    Done,
}

impl Openings {
    pub(crate) fn begin(&mut self, session: SessionId, peers: Vec<Instance>, deadline: Duration) {
        let opening = PendingOpen { waiting: Waiting::new(peers, deadline), step: Step::Parts };
        self.by_session.insert(session, opening);
    }

    /// Whether a session is being opened; registers the task if so.
    pub(crate) fn is_opening(&mut self, session: &SessionId, cx: &Context<'_>) -> bool {
        match self.by_session.get_mut(session) {
            Some(opening) => {
                opening.waiting.register(cx);
                true
            }
            None => false,
        }
    }

    pub(crate) fn contains(&self, session: &SessionId) -> bool {
        self.by_session.contains_key(session)
    }

    /// A peer has answered.
    pub(crate) fn answered(&mut self, session: &SessionId, peer: &Instance) -> Next {
        let Some(opening) = self.by_session.get_mut(session) else { return Next::Wait };
        opening.waiting.peers.remove(peer);
        match opening.step {
            _ if !opening.waiting.peers.is_empty() => Next::Wait,
            Step::Parts => Next::AskForHistory,
            Step::History => Next::Done,
        }
    }

    /// The history has been requested from a peer.
    pub(crate) fn await_history(&mut self, session: &SessionId, from: Instance) {
        if let Some(opening) = self.by_session.get_mut(session) {
            opening.step = Step::History;
            opening.waiting.peers.insert(from);
        }
    }

    pub(crate) fn finish(&mut self, session: &SessionId) {
        if let Some(mut opening) = self.by_session.remove(session) {
            opening.waiting.wake();
        }
    }

    /// Openings that await this peer.
    pub(crate) fn awaiting(&self, peer: &Instance) -> Vec<SessionId> {
        let awaiting = self.by_session.iter().filter(|(_, it)| it.waiting.peers.contains(peer));
        awaiting.map(|(session, _)| session.clone()).collect()
    }

    /// Openings whose deadline has passed.
    pub(crate) fn overdue(&self, now: Duration) -> Vec<SessionId> {
        let overdue = self.by_session.iter().filter(|(_, it)| it.waiting.deadline <= now);
        overdue.map(|(session, _)| session.clone()).collect()
    }
}

//! Opening a session: the parts of all live gateways, then the history of one.
//!
//! A peer that has not answered receives no updates of the session. This gateway's own part follows
//! its answer. Until then the peer's barriers wait: their answers would come before that part.

use std::{
    collections::{HashMap, HashSet},
    task::Context,
    time::Duration,
};

use signalbox_protocol::SessionId;
use signalbox_relay::Instance;

use crate::waiting::Waiting;

/// Sessions that are being opened.
#[derive(Default)]
pub(crate) struct Openings {
    by_session: HashMap<SessionId, PendingOpen>,
    barriers: Vec<PeerBarrier>,
}

/// A barrier of a peer that waits for openings.
struct PeerBarrier {
    peer: Instance,
    id: u64,
    /// The sessions for which this gateway awaits the peer's part.
    sessions: HashSet<SessionId>,
}

/// Barriers of peers that may wait. Further ones are not answered, and fail.
const MAX_PEER_BARRIERS: usize = 65_536;

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

    /// A peer has begun a barrier.
    pub(crate) fn add_barrier(&mut self, peer: &Instance, id: u64) {
        let awaiting = self.by_session.iter().filter(|(_, it)| it.step == Step::Parts);
        let awaiting = awaiting.filter(|(_, it)| it.waiting.peers.contains(peer));
        let sessions = awaiting.map(|(session, _)| session.clone()).collect();
        if self.barriers.len() < MAX_PEER_BARRIERS {
            self.barriers.push(PeerBarrier { peer: peer.clone(), id, sessions });
        }
    }

    /// Barriers of peers that can be answered.
    pub(crate) fn take_reached(&mut self) -> Vec<(Instance, u64)> {
        let reached = self.barriers.extract_if(.., |it| it.sessions.is_empty());
        reached.map(|it| (it.peer, it.id)).collect()
    }

    /// A peer is lost.
    pub(crate) fn lost(&mut self, peer: &Instance) {
        self.barriers.retain(|barrier| barrier.peer != *peer);
    }

    /// A peer has answered.
    pub(crate) fn answered(&mut self, session: &SessionId, peer: &Instance) -> Next {
        for barrier in self.barriers.iter_mut().filter(|it| it.peer == *peer) {
            barrier.sessions.remove(session);
        }
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
        for barrier in &mut self.barriers {
            barrier.sessions.remove(session);
        }
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

#[cfg(test)]
mod tests {
    use signalbox_protocol::MediaMode;

    use super::*;

    fn gateway(number: u64) -> Instance {
        Instance { gateway: format!("gw-{number}").parse().unwrap(), epoch: 1 }
    }

    fn session(number: u8) -> SessionId {
        SessionId::mint(&"1".parse().unwrap(), MediaMode::Relayed, None, 0, [number; 24])
    }

    #[test]
    fn a_peer_that_has_not_answered_waits_with_its_barriers() {
        let (peer, other) = (gateway(1), gateway(2));
        let mut openings = Openings::default();
        openings.add_barrier(&peer, 1);
        assert_eq!(openings.take_reached(), [(peer.clone(), 1)]);
        openings.begin(session(1), vec![peer.clone(), other.clone()], Duration::MAX);
        openings.begin(session(2), vec![peer.clone()], Duration::MAX);
        openings.add_barrier(&peer, 2);
        openings.answered(&session(1), &other);
        openings.answered(&session(1), &peer);
        assert_eq!(openings.take_reached(), []);
        openings.begin(session(3), vec![peer.clone()], Duration::MAX);
        openings.finish(&session(2));
        assert_eq!(openings.take_reached(), [(peer.clone(), 2)], "opened later");
        openings.add_barrier(&peer, 3);
        openings.lost(&peer);
        openings.finish(&session(3));
        assert_eq!(openings.take_reached(), []);
    }
}

//! What waits for one project's endpoint: bounded in bytes, and in order for each session.
//!
//! Sessions are spread over a few lanes. Within a lane one event is posted after the other; lanes
//! are posted side by side, so that an endpoint's round trip does not bound the whole project.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;

/// Events of one project that are posted side by side at most.
const LANES: usize = 8;

/// An event that has not been taken yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Names the event, the same at every attempt, so that its receiver can tell a repetition.
    pub(super) id: String,
    pub(super) body: Bytes,
    /// When it happened, in Unix time.
    pub(super) at: Duration,
}

impl Waiting {
    pub(super) fn new(body: Bytes, at: Duration) -> Self {
        Self { id: format!("msg_{}", uuid::Uuid::new_v4().simple()), body, at }
    }

    fn cost(&self) -> usize {
        self.id.len() + self.body.len()
    }
}

/// Events that wait, oldest first in each lane.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lanes: [Lane; LANES],
    bytes: usize,
    max_bytes: usize,
    /// Events that were given up since the endpoint last took one.
    dropped: u64,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Waiting>,
    /// Whether somebody posts what is in it.
    busy: bool,
}

impl Queue {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, ..Self::default() }
    }

    /// Adds an event. Where there is no room, the oldest events go: a receiver that missed a
    /// beginning can live with an end it does not know, but one that missed an end would hold
    /// that connection for ever.
    ///
    /// Returns the lane if nobody posts what is in it; it is then for the caller to do.
    pub(super) fn push(&mut self, session_hash: u64, waiting: Waiting) -> Option<usize> {
        self.bytes += waiting.cost();
        let index = (session_hash % LANES as u64) as usize;
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.waiting.push_back(waiting);
        }
        while self.bytes > self.max_bytes && self.drop_oldest() {}
        let lane = self.lanes.get_mut(index)?;
        (!std::mem::replace(&mut lane.busy, true)).then_some(index)
    }

    fn drop_oldest(&mut self) -> bool {
        let with_front = |lane: &&mut Lane| lane.waiting.front().map(|waiting| waiting.at);
        let oldest =
            self.lanes.iter_mut().filter(|lane| !lane.waiting.is_empty()).min_by_key(with_front);
        let Some(waiting) = oldest.and_then(|lane| lane.waiting.pop_front()) else {
            return false;
        };
        self.bytes -= waiting.cost();
        self.dropped += 1;
        true
    }

    /// The next event of a lane, and how many were dropped and not yet told. If there is none, the
    /// lane has nobody who posts any more.
    pub(super) fn next(&mut self, lane: usize) -> Option<(Waiting, u64)> {
        let lane = self.lanes.get_mut(lane)?;
        let next = lane.waiting.front().cloned();
        lane.busy = next.is_some();
        next.map(|waiting| (waiting, self.dropped))
    }

    /// The endpoint has taken the event with this id, and heard of `told` that were dropped.
    pub(super) fn taken(&mut self, lane: usize, id: &str, told: u64) {
        self.dropped = self.dropped.saturating_sub(told);
        self.remove(lane, id);
    }

    /// The event with this id is not tried any more.
    pub(super) fn give_up(&mut self, lane: usize, id: &str) {
        if self.remove(lane, id) {
            self.dropped += 1;
        }
    }

    fn remove(&mut self, lane: usize, id: &str) -> bool {
        let Some(lane) = self.lanes.get_mut(lane) else { return false };
        // It may have been dropped while it was being posted.
        let Some(waiting) = lane.waiting.pop_front_if(|waiting| waiting.id == id) else {
            return false;
        };
        self.bytes -= waiting.cost();
        true
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.iter().map(|lane| lane.waiting.len()).sum()
    }
}

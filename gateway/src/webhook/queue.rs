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
    /// Events that were given up and that no request has told of yet.
    dropped: u64,
    /// Whether the last attempt failed, so that only the first of many is logged.
    failing: bool,
}

#[derive(Debug, Default)]
struct Lane {
    /// The one that is being posted, again and again until it has been taken.
    posting: Option<Waiting>,
    waiting: VecDeque<Waiting>,
    /// Whether somebody posts what is in it.
    busy: bool,
}

impl Queue {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, ..Self::default() }
    }

    /// Adds an event. Where there is no room, the oldest of those that are not being posted go: a
    /// receiver that missed a beginning can live with an end it does not know, but one that missed
    /// an end would hold that connection for ever.
    ///
    /// Returns the lane if nobody posts what is in it; it is then for the caller to do.
    pub(super) fn push(&mut self, session_hash: u64, waiting: Waiting) -> Option<usize> {
        self.bytes += waiting.cost();
        let index = (session_hash % LANES as u64) as usize;
        let lane = self.lanes.get_mut(index)?;
        if std::mem::replace(&mut lane.busy, true) {
            lane.waiting.push_back(waiting);
            while self.bytes > self.max_bytes && self.drop_oldest() {}
            return None;
        }
        lane.posting = Some(waiting);
        while self.bytes > self.max_bytes && self.drop_oldest() {}
        Some(index)
    }

    fn drop_oldest(&mut self) -> bool {
        let waiting = |lane: &&mut Lane| lane.waiting.front().map(|waiting| waiting.at);
        let lanes = self.lanes.iter_mut().filter(|lane| !lane.waiting.is_empty());
        let Some(oldest) = lanes.min_by_key(waiting).and_then(|lane| lane.waiting.pop_front())
        else {
            return false;
        };
        self.bytes -= oldest.cost();
        self.dropped += 1;
        true
    }

    /// What is to be posted in a lane, and how many events were dropped that this request is the
    /// one to tell of. If there is none, the lane has nobody who posts any more.
    pub(super) fn next(&mut self, lane: usize) -> Option<(Waiting, u64)> {
        let lane = self.lanes.get_mut(lane)?;
        if lane.posting.is_none() {
            lane.posting = lane.waiting.pop_front();
        }
        lane.busy = lane.posting.is_some();
        let posting = lane.posting.clone()?;
        Some((posting, std::mem::take(&mut self.dropped)))
    }

    /// The endpoint has taken what was posted in a lane, and heard what it told. Tells whether
    /// that is news.
    pub(super) fn taken(&mut self, lane: usize) -> bool {
        self.forget(lane);
        std::mem::replace(&mut self.failing, false)
    }

    /// The endpoint has not taken it: what was told is still to be told. Tells whether that is
    /// news.
    pub(super) fn failed(&mut self, told: u64) -> bool {
        self.dropped += told;
        !std::mem::replace(&mut self.failing, true)
    }

    /// What was posted in a lane is not tried any more.
    pub(super) fn give_up(&mut self, lane: usize, told: u64) {
        self.dropped += told + 1;
        self.forget(lane);
    }

    fn forget(&mut self, lane: usize) {
        if let Some(posted) = self.lanes.get_mut(lane).and_then(|lane| lane.posting.take()) {
            self.bytes -= posted.cost();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.iter().map(|lane| lane.waiting.len() + usize::from(lane.posting.is_some())).sum()
    }
}

//! Live events of connections, for people that look for a fault: `signalbox tail`.
//!
//! Links publish what happens to them ([`Tail::publish`]); followers at the operations listener read it.
//! While nobody follows, an event costs one load of a counter. A follower has a bounded queue: if it does
//! not read, it loses events, and is told how many in their place.

mod event;
mod filter;
mod observer;
mod queue;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use signalbox_protocol::{ConnectionId, ErrorCode, SessionId, Signal};
use signalbox_relay::Connection;

use self::{event::TailLine, queue::FollowerQueue};
pub(crate) use self::{
    event::{TailEvent, TailedSignal},
    filter::TailFilter,
    observer::TailedObserver,
    queue::TailLines,
};
use crate::clock::millis;

/// Followers at the same time.
const MAX_FOLLOWERS: usize = 8;

/// The followers of a gateway.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// The number of followers. Relaxed, as events that happen while somebody begins to follow may be
    /// missed.
    count: AtomicUsize,
    /// Whether those that ask for contents get them.
    contents: AtomicBool,
    followers: Mutex<Followers>,
}

#[derive(Debug, Default)]
struct Followers {
    all: Vec<Follower>,
    closed: bool,
}

#[derive(Debug)]
struct Follower {
    filter: TailFilter,
    queue: Arc<FollowerQueue>,
}

/// The reason for which nobody may follow, or not so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FollowError {
    #[error("{MAX_FOLLOWERS} others follow already")]
    TooMany,
    #[error("this gateway does not show contents: set ops.contents = true, and reload it")]
    NoContents,
    #[error("the gateway ends")]
    Ending,
}

impl Tail {
    pub(crate) fn set_contents(&self, contents: bool) {
        self.contents.store(contents, Ordering::Relaxed);
    }

    /// Whether anybody follows.
    pub(crate) fn is_followed(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// The parts of a signal that are published with it, if anybody follows.
    pub(crate) fn signal(
        &self,
        signal: &Signal<'_>,
        to: Option<ConnectionId>,
    ) -> Option<TailedSignal> {
        let contents = || self.contents.load(Ordering::Relaxed);
        self.is_followed().then(|| TailedSignal::of(signal, to, contents()))
    }

    /// Tells followers of an event of a session, or of one connection in it.
    pub(crate) fn publish(
        &self,
        session: &SessionId,
        connection: Option<ConnectionId>,
        event: TailEvent<'_>,
    ) {
        let line = TailLine::new(session, connection, event);
        let contents = self.contents.load(Ordering::Relaxed);
        let mut followers = self.followers.lock();
        followers.all.retain(|follower| {
            let matches = follower.filter.matches(&line);
            !matches || follower.queue.push(line.json(contents && follower.filter.contents))
        });
        self.count.store(followers.all.len(), Ordering::Relaxed);
    }

    /// Tells followers of a signal of a connection that was delivered, and of the time for which its
    /// sender must wait.
    pub(crate) fn sent(&self, from: &Connection, signal: TailedSignal, wait: Duration) {
        let wait_ms = Some(millis(wait)).filter(|ms| *ms > 0);
        let event = TailEvent::Signal { seq: Some(from.sent()), wait_ms, signal };
        self.publish(from.session_id(), Some(from.id()), event);
    }

    /// Tells followers of a signal of a connection that was rejected.
    pub(crate) fn rejected(&self, from: &Connection, signal: TailedSignal, code: ErrorCode) {
        let event = TailEvent::Rejected { code: code.name(), signal };
        self.publish(from.session_id(), Some(from.id()), event);
    }

    /// Begins to follow.
    ///
    /// # Errors
    /// [`FollowError`], which says why not.
    pub(crate) fn follow(self: &Arc<Self>, filter: TailFilter) -> Result<TailLines, FollowError> {
        if filter.contents && !self.contents.load(Ordering::Relaxed) {
            return Err(FollowError::NoContents);
        }
        let queue = Arc::new(FollowerQueue::default());
        let mut followers = self.followers.lock();
        if followers.closed {
            return Err(FollowError::Ending);
        }
        if followers.all.len() >= MAX_FOLLOWERS {
            return Err(FollowError::TooMany);
        }
        followers.all.push(Follower { filter, queue: queue.clone() });
        self.count.store(followers.all.len(), Ordering::Relaxed);
        Ok(TailLines::new(self.clone(), queue))
    }

    /// Ends a follower.
    fn unfollow(&self, queue: &Arc<FollowerQueue>) {
        let mut followers = self.followers.lock();
        followers.all.retain(|follower| !Arc::ptr_eq(&follower.queue, queue));
        self.count.store(followers.all.len(), Ordering::Relaxed);
    }

    /// Ends all followers, and refuses others.
    pub(crate) fn close(&self) {
        let mut followers = self.followers.lock();
        followers.closed = true;
        followers.all.drain(..).for_each(|follower| follower.queue.close());
        self.count.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;

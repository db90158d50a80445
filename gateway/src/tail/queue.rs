//! The queue of one follower: bounded, and exact about what does not fit.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::timeout};

use super::{Tail, event::lost};

/// Lines that wait for a follower. Beyond it events are lost. With contents it is some 2 MiB.
const MAX_LINES: usize = 256;

/// Time after which a follower that reads nothing while its queue is full is forgotten.
const STALLED: Duration = Duration::from_secs(60);

/// Interval of empty lines while nothing happens, so that a follower that is gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The lines that wait for one follower.
#[derive(Debug, Default)]
pub(super) struct FollowerQueue {
    state: Mutex<QueueState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    lines: VecDeque<Bytes>,
    /// Events that did not fit after the last line.
    lost: u64,
    /// Since when the queue has been full.
    full_since: Option<Instant>,
    closed: bool,
}

impl FollowerQueue {
    /// Adds a line, or counts it as lost. Returns whether the follower still reads.
    pub(super) fn push(&self, line: Bytes) -> bool {
        let mut state = self.state.lock();
        if state.lines.len() >= MAX_LINES {
            state.lost += 1;
            let since = *state.full_since.get_or_insert_with(Instant::now);
            state.closed |= since.elapsed() > STALLED;
            return !state.closed;
        }
        state.full_since = None;
        let lost_before = std::mem::take(&mut state.lost);
        if lost_before > 0 {
            state.lines.push_back(lost(lost_before));
        }
        state.lines.push_back(line);
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Ends it after the lines that wait.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_one();
    }

    /// All lines that wait.
    fn take(&self) -> TakenLines {
        let mut state = self.state.lock();
        if state.lines.is_empty() && state.lost == 0 {
            return if state.closed { TakenLines::Closed } else { TakenLines::None };
        }
        let mut lines: Vec<u8> = state.lines.drain(..).flatten().collect();
        state.full_since = None;
        let lost_after = std::mem::take(&mut state.lost);
        if lost_after > 0 {
            lines.extend(lost(lost_after));
        }
        TakenLines::Some(lines.into())
    }
}

enum TakenLines {
    Some(Bytes),
    None,
    Closed,
}

/// The lines of one follower. It ends when it is dropped.
pub(crate) struct TailLines {
    tail: Arc<Tail>,
    queue: Arc<FollowerQueue>,
}

impl TailLines {
    pub(super) fn new(tail: Arc<Tail>, queue: Arc<FollowerQueue>) -> Self {
        Self { tail, queue }
    }

    /// The next lines, or an empty one after a while; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.queue.take() {
                TakenLines::Some(lines) => return Some(lines),
                TakenLines::Closed => return None,
                TakenLines::None => {
                    if timeout(KEEP_ALIVE, self.queue.changed.notified()).await.is_err() {
                        return Some(Bytes::from_static(b"\n"));
                    }
                }
            }
        }
    }
}

impl Drop for TailLines {
    fn drop(&mut self) {
        self.tail.unfollow(&self.queue);
    }
}

//! Waiting for answers of peers, with a deadline.

use std::{
    collections::HashSet,
    task::{Context, Waker},
    time::Duration,
};

use signalbox_relay::Instance;

/// Answers that are awaited.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) peers: HashSet<Instance>,
    pub(crate) deadline: Duration,
    wakers: Vec<Waker>,
}

impl Waiting {
    pub(crate) fn new(peers: impl IntoIterator<Item = Instance>, deadline: Duration) -> Self {
        Self { peers: peers.into_iter().collect(), deadline, wakers: Vec::new() }
    }

    /// Wakes this task once nothing is awaited any more. The number of tasks is bounded by the
    /// admission permits.
    pub(crate) fn register(&mut self, cx: &Context<'_>) {
        if !self.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.wakers.push(cx.waker().clone());
        }
    }

    /// Wakes the tasks that wait.
    pub(crate) fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

//! Delays before retries of a task that failed: doubled from the first to the longest.

use std::time::Duration;

/// The delays of one retry loop. They have no jitter, as few tasks retry at the same time.
#[derive(Debug, Clone)]
pub(crate) struct RetryDelays {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl RetryDelays {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// The delay before the next attempt.
    pub(crate) fn advance(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.longest);
        delay
    }

    /// Begins with the first delay again, after a success.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

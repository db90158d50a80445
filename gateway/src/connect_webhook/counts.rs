//! Counts of connect webhooks, for the metrics.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use prometheus_client::metrics::histogram::Histogram;

use super::{answer::ConnectAnswer, request::AskError};

/// Bounds of the buckets of a request's time, in seconds.
const DURATION: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0];

/// The result of a client's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectResult {
    Allowed,
    Denied,
    /// The server could not be reached, or its status was not 200.
    Failed,
    TimedOut,
    /// The answer was not the JSON that it should be, or too large.
    BadAnswer,
    /// The server was not asked, as too many clients wait for it.
    Crowded,
}

impl ConnectResult {
    const ALL: [Self; 6] =
        [Self::Allowed, Self::Denied, Self::Failed, Self::TimedOut, Self::BadAnswer, Self::Crowded];

    const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::TimedOut => "timedOut",
            Self::BadAnswer => "badAnswer",
            Self::Crowded => "crowded",
        }
    }

    pub(super) fn of(asked: &Result<ConnectAnswer, AskError>) -> Self {
        match asked {
            Ok(ConnectAnswer { allow: true, .. }) => Self::Allowed,
            Ok(ConnectAnswer { allow: false, .. }) => Self::Denied,
            Err(AskError::Timeout(_)) => Self::TimedOut,
            Err(AskError::TooLarge | AskError::Malformed(_)) => Self::BadAnswer,
            Err(AskError::Status(_) | AskError::Failed(_) | AskError::Request(_)) => Self::Failed,
        }
    }
}

/// The counts of one project.
pub(super) struct ConnectCounters {
    results: [AtomicU64; ConnectResult::ALL.len()],
    duration: Histogram,
}

impl Default for ConnectCounters {
    fn default() -> Self {
        Self { results: Default::default(), duration: Histogram::new(DURATION) }
    }
}

/// The counts of one project at a moment.
pub(crate) struct ConnectCounts {
    /// Clients that wait for the server.
    pub(crate) waiting: u64,
    /// Requests by result.
    pub(crate) results: [(&'static str, u64); ConnectResult::ALL.len()],
    /// Times of the requests that were made.
    pub(crate) duration: Histogram,
}

impl ConnectCounters {
    pub(super) fn count(&self, result: ConnectResult, duration: Duration) {
        if let Some(count) = self.results.get(result as usize) {
            count.fetch_add(1, Relaxed);
        }
        if result != ConnectResult::Crowded {
            self.duration.observe(duration.as_secs_f64());
        }
    }

    pub(super) fn read(&self, waiting: u64) -> ConnectCounts {
        let count = |result: ConnectResult| {
            self.results.get(result as usize).map_or(0, |count| count.load(Relaxed))
        };
        let results = ConnectResult::ALL.map(|result| (result.name(), count(result)));
        ConnectCounts { waiting, results, duration: self.duration.clone() }
    }
}

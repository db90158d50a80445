//! Outages of accepting: repeated failures, logged once at their start and once at their end.

use std::{fmt::Display, time::Duration};

use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

/// Time without a failure after which an outage is over.
const CALM: Duration = Duration::from_secs(10);

/// The current outage, if there is one.
#[derive(Debug, Default)]
pub(super) struct Outage(Option<Failures>);

#[derive(Debug)]
struct Failures {
    began: Instant,
    last: Instant,
    number: u64,
}

impl Outage {
    /// Notes a failure of accepting.
    pub(super) fn failed(&mut self, error: &dyn Display) {
        let now = Instant::now();
        let failures = self.0.get_or_insert_with(|| {
            warn!(%error, "cannot accept; pausing");
            Failures { began: now, last: now, number: 0 }
        });
        failures.last = now;
        failures.number += 1;
    }

    /// Waits until the outage is over and logs its end; forever if there is none.
    pub(super) async fn over(&mut self) {
        match &self.0 {
            Some(failures) => sleep_until(failures.last + CALM).await,
            None => std::future::pending().await,
        }
        if let Some(Failures { began, last, number }) = self.0.take() {
            info!(failures = number, seconds = (last - began).as_secs(), "accepting again");
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_over_after_a_time_without_failures() {
        let mut outage = Outage::default();
        assert!(outage.over().now_or_never().is_none(), "there is none");
        outage.failed(&"no descriptors");
        tokio::time::advance(CALM / 2).await;
        outage.failed(&"no descriptors");
        let began = Instant::now();
        outage.over().await;
        assert_eq!(began.elapsed(), CALM);
        assert!(outage.0.is_none());
    }
}

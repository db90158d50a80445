//! Going down without a jolt: clients are asked to go, each in a time of its own, so that whatever
//! they go to is not met by all at once; and nobody waits longer than the configured times.
//!
//! ```text
//! told to go down ─ notice ─ no newcomers; go away ─ … each client's own end … ─ bye for the rest ─ webhooks
//!                   /readyz says no                  signals flow as ever
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use signalbox_protocol::limits::FAREWELL;

use crate::{config::Links, gateway::Shared, state_file::StateFile};

/// When each client must be gone.
pub(crate) struct Departures {
    spread: Duration,
    asked: AtomicU64,
}

impl Departures {
    pub(crate) fn new(links: &Links) -> Self {
        // Whoever goes last must have time for its farewell, too.
        let spread = links.drain_spread().min(links.drain().saturating_sub(FAREWELL));
        Self { spread, asked: AtomicU64::new(0) }
    }

    /// How long the next client may stay. However many there are, they are spread evenly over the
    /// time (by multiples of the golden ratio), and nobody has less than a quarter of it.
    pub(crate) fn next(&self) -> Duration {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let part = number.wrapping_mul(GOLDEN) as f64 / u64::MAX as f64;
        self.spread.mul_f64(0.25 + 0.75 * part)
    }
}

/// From the moment the gateway is told to go down until nobody is there. With a state file, those who
/// may come back are left to the next gateway. It is in a hurry once `hurry` is cancelled: then
/// everybody is ended at once.
pub(crate) async fn drain(
    shared: &Shared,
    state_file: Option<&Arc<StateFile>>,
    hurry: &CancellationToken,
) {
    // Whoever sends clients here learns first that it should not.
    shared.leaving.cancel();
    hurry.run_until_cancelled(sleep(shared.links.drain_notice())).await;

    info!(connections = shared.relay.stats().connections, "draining");
    let done_by = Instant::now() + shared.links.drain();
    shared.closing.cancel();
    shared.tasks.close();
    shared.away.close();
    let all_gone = timeout(shared.departures.spread, shared.tasks.wait());
    let _ = hurry.run_until_cancelled(all_gone).await;
    match state_file {
        Some(file) => file.leave(shared, done_by).await,
        None => shared.relay.shut_down(),
    }
    shared.over.cancel();
    let rest = async {
        shared.tasks.wait().await;
        shared.away.wait().await;
        shared.webhooks.drained().await;
    };
    let in_time = tokio::select! {
        rest = timeout_at(done_by, rest) => rest.is_ok(),
        () = async { hurry.cancelled().await; sleep(FAREWELL).await } => false,
    };
    if !in_time {
        let (left, events) = (shared.tasks.len(), shared.webhooks.waiting());
        warn!(left, events, "some clients, or events for webhooks, were not done in time");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_there_are_they_go_evenly() {
        let links = Links { drain_spread_ms: 4000, ..Links::default() };
        for clients in [3_u32, 30, 3000] {
            let departures = Departures::new(&links);
            let mut ends: Vec<_> = (0..clients).map(|_| departures.next()).collect();
            ends.sort();
            assert!(ends.iter().all(|end| (1000..=4000).contains(&end.as_millis())), "{ends:?}");
            assert!(ends[ends.len() - 1] - ends[0] > Duration::from_millis(1500), "{ends:?}");
            let widest = ends.windows(2).map(|pair| pair[1] - pair[0]).max();
            // All the same would be three seconds divided by their number.
            assert!(widest < Some(2 * Duration::from_secs(3) / (clients - 1)), "{widest:?}");
        }
    }

    #[test]
    fn the_spread_leaves_time_for_the_last_farewell() {
        let links = Links { drain_ms: 3000, drain_spread_ms: 60_000, ..Links::default() };
        assert_eq!(Departures::new(&links).spread, Duration::from_secs(2));
        let links = Links { drain_ms: 500, ..links };
        assert_eq!(Departures::new(&links).next(), Duration::ZERO);
    }
}

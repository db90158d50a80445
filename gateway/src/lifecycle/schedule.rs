//! Departure times of the links that end because of a drain.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use signalbox_protocol::limits::FAREWELL;

use crate::config::DrainConfig;

/// Spreads the ends of all links evenly over the configured time.
pub(crate) struct DrainSchedule {
    spread_ms: AtomicU64,
    assigned: AtomicU64,
}

impl DrainSchedule {
    pub(crate) fn new(drain: &DrainConfig) -> Self {
        let schedule = Self { spread_ms: AtomicU64::new(0), assigned: AtomicU64::new(0) };
        schedule.set(drain);
        schedule
    }

    /// Replaces the configured time.
    pub(crate) fn set(&self, drain: &DrainConfig) {
        // The last link needs time for its farewell, too.
        let spread = drain.spread().min(drain.timeout().saturating_sub(FAREWELL));
        // At most the configured milliseconds.
        self.spread_ms.store(spread.as_millis() as u64, Ordering::Relaxed);
    }

    /// The time in which all links end.
    pub(crate) fn spread(&self) -> Duration {
        Duration::from_millis(self.spread_ms.load(Ordering::Relaxed))
    }

    /// The time that the next link has left: at least a quarter of the spread, in multiples of the
    /// golden ratio, so that the ends are spread evenly for any number of links.
    pub(crate) fn next(&self) -> Duration {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let number = self.assigned.fetch_add(1, Ordering::Relaxed);
        let part = number.wrapping_mul(GOLDEN) as f64 / u64::MAX as f64;
        self.spread().mul_f64(0.25 + 0.75 * part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_even_for_any_number_of_links() {
        let drain = DrainConfig { spread_ms: 4000, ..DrainConfig::default() };
        for clients in [3_u32, 30, 3000] {
            let schedule = DrainSchedule::new(&drain);
            let mut ends: Vec<_> = (0..clients).map(|_| schedule.next()).collect();
            ends.sort();
            assert!(ends.iter().all(|end| (1000..=4000).contains(&end.as_millis())), "{ends:?}");
            assert!(ends[ends.len() - 1] - ends[0] > Duration::from_millis(1500), "{ends:?}");
            let widest = ends.windows(2).map(|pair| pair[1] - pair[0]).max();
            // Equal distances would be three seconds divided by their number.
            assert!(widest < Some(2 * Duration::from_secs(3) / (clients - 1)), "{widest:?}");
        }
    }

    #[test]
    fn the_spread_leaves_time_for_the_last_farewell() {
        let drain = DrainConfig { timeout_ms: 3000, spread_ms: 60_000, ..DrainConfig::default() };
        assert_eq!(DrainSchedule::new(&drain).spread(), Duration::from_secs(2));
        let drain = DrainConfig { timeout_ms: 500, ..drain };
        assert_eq!(DrainSchedule::new(&drain).next(), Duration::ZERO);
    }
}

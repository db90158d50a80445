//! How long to wait before the next attempt to come back.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// The second attempt is made after at most this; the first at once.
const FIRST: Duration = Duration::from_millis(250);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(10);

/// Waits that grow with every attempt, each a random part of what it may be, so that clients which
/// were cut off together do not come back together.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// How long to wait before the next attempt.
    pub(crate) fn next(&mut self) -> Duration {
        let longest = match self.attempts.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => FIRST.saturating_mul(1 << doublings.min(16)).min(LONGEST),
        };
        self.attempts += 1;
        part_of(longest)
    }

    /// A link has lasted so long: only one that lasts is a success.
    pub(crate) fn lasted(&mut self, time: Duration) {
        if time >= LONGEST {
            self.attempts = 0;
        }
    }
}

/// A random part of a time.
pub(crate) fn part_of(time: Duration) -> Duration {
    // The standard library seeds its hashers at random, which is random enough to spread clients.
    let random = RandomState::new().hash_one(time) >> 32;
    time.mul_f64(random as f64 / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_is_made_at_once_and_the_rest_ever_later() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(), Duration::ZERO);
        for longest in [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000] {
            assert!(backoff.next() <= Duration::from_millis(longest));
        }
        backoff.lasted(Duration::from_secs(9));
        assert_eq!(backoff.attempts, 9, "a link that breaks again is no success");
        backoff.lasted(LONGEST);
        assert_eq!(backoff.next(), Duration::ZERO);
    }

    #[test]
    fn waits_are_spread_over_all_of_the_time() {
        let parts: Vec<_> = (0..1000).map(|_| part_of(LONGEST)).collect();
        assert!(parts.iter().all(|part| *part <= LONGEST));
        for tenth in 0..10 {
            let from = LONGEST.mul_f64(f64::from(tenth) / 10.0);
            let count =
                parts.iter().filter(|part| (from..from + LONGEST / 10).contains(*part)).count();
            // Of 1000, 100 are expected; fewer than 40 has a chance of less than one in 10^11.
            assert!(count > 40, "{count} from {from:?}");
        }
    }
}

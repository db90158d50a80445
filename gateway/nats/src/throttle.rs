//! A bound on the log lines of one kind.

use std::time::Duration;

use parking_lot::Mutex;

/// Minimum time between two log lines of one kind.
const INTERVAL: Duration = Duration::from_secs(60);

/// Allows one log line a minute.
#[derive(Debug, Default)]
pub(crate) struct LogThrottle(Mutex<Throttled>);

#[derive(Debug, Default)]
struct Throttled {
    last: Option<Duration>,
    suppressed: u64,
}

impl LogThrottle {
    /// The number of lines that were suppressed before this one, or `None` to suppress this one.
    pub(crate) fn allow(&self, now: Duration) -> Option<u64> {
        let mut throttled = self.0.lock();
        if throttled.last.is_some_and(|last| now.saturating_sub(last) < INTERVAL) {
            throttled.suppressed += 1;
            return None;
        }
        throttled.last = Some(now);
        Some(std::mem::take(&mut throttled.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute_says_how_many_were_suppressed() {
        let throttle = LogThrottle::default();
        let at = Duration::from_secs;
        let allowed = [0, 1, 59, 60, 61, 119, 120, 500].map(|now| throttle.allow(at(now)));
        assert_eq!(allowed, [Some(0), None, None, Some(2), None, None, Some(2), Some(0)]);
    }
}

//! Wall-clock time and the relay's clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall-clock time since the Unix epoch.
pub(crate) fn unix_time() -> Duration {
    // With a clock before 1970 every token is not valid yet, and its bearer is told so.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Milliseconds of a duration, saturating.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Monotonic time since the gateway started, which is what the relay is told as "now".
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn uptime(self) -> Duration {
        self.0.elapsed()
    }
}

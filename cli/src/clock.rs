//! The system clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since 1970. A clock set before that makes tokens that have already expired.
pub(crate) fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX)
}

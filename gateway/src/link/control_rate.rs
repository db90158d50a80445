//! The rate of a client's messages that are not signals: pings, unknown ones, those without effect,
//! requests to disconnect others, refused requests of the vendor's SDK. No ordinary client sends many.

use std::time::Duration;

use super::transport::LinkError;

/// Messages per second.
const CONTROL_PER_SECOND: u32 = 100;

/// Messages at once after a pause: a moderator may disconnect a large session.
const CONTROL_BURST: u32 = 1000;

/// The rate of one client, by the generic cell rate algorithm.
#[derive(Debug, Default)]
pub(super) struct ControlRate {
    /// When the full burst is available again.
    full_at: Duration,
}

impl ControlRate {
    /// Takes one message, if one is left at `now`.
    pub(super) fn take(&mut self, now: Duration) -> bool {
        let interval = Duration::from_secs(1) / CONTROL_PER_SECOND;
        let full_at = self.full_at.max(now) + interval;
        let is_left = full_at <= now + interval * CONTROL_BURST;
        if is_left {
            self.full_at = full_at;
        }
        is_left
    }

    /// The same for a message that ends the link if none is left.
    pub(super) fn check(&mut self, now: Duration) -> Result<(), LinkError> {
        if self.take(now) {
            return Ok(());
        }
        Err(LinkError::protocol(format!(
            "more than {CONTROL_PER_SECOND} messages per second that are not signals"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut rate = ControlRate::default();
        let taken = |rate: &mut ControlRate, seconds| {
            (0..5000).filter(|_| rate.take(Duration::from_secs(seconds))).count()
        };
        assert_eq!(taken(&mut rate, 100), 1000);
        assert_eq!(taken(&mut rate, 101), 100);
        assert!(rate.check(Duration::from_secs(101)).is_err());
        assert_eq!(taken(&mut rate, 200), 1000);
    }
}

//! The rate at which a client that has reconnected sends its queue, so that the gateway does not
//! reject it for exceeding the limit.

use std::time::Duration;

use tokio::time::Instant;

const SECOND_NS: u128 = 1_000_000_000;

/// One signal at once, and then a number each second. The gateway allows bursts, but the client
/// does not know how much of its burst it had used before its link was lost.
#[derive(Debug)]
pub(crate) struct Pacer {
    per_second: u32,
    since: Instant,
    written: u64,
}

impl Pacer {
    /// `None` if there is no limit (0).
    pub(crate) fn new(per_second: u32, now: Instant) -> Option<Self> {
        (per_second > 0).then_some(Self { per_second, since: now, written: 0 })
    }

    /// Number of signals that may be written now.
    pub(crate) fn allowed(&self, now: Instant) -> usize {
        let due = (now - self.since).as_nanos() * u128::from(self.per_second) / SECOND_NS;
        usize::try_from((due + 1).saturating_sub(self.written.into())).unwrap_or(usize::MAX)
    }

    /// Time at which the next signal may be written.
    pub(crate) fn next(&self) -> Instant {
        self.since + Duration::from_secs(self.written) / self.per_second
    }

    /// Records that signals have been written.
    pub(crate) fn written(&mut self, signals: u64) {
        self.written += signals;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_once_and_then_the_rate() {
        let start = Instant::now();
        let mut pacer = Pacer::new(10, start).unwrap();
        let mut now = start;
        for signal in 0..100 {
            assert_eq!(pacer.allowed(now), 1, "{signal}");
            pacer.written(1);
            assert_eq!(pacer.allowed(now), 0);
            // A timer fires late rather than early.
            now = pacer.next() + Duration::from_millis(1);
        }
        assert!(now - start < Duration::from_secs(11));
        assert_eq!(pacer.allowed(start + Duration::from_secs(20)), 101, "it may catch up");
    }

    #[test]
    fn no_limit_is_no_pacer() {
        assert!(Pacer::new(0, Instant::now()).is_none());
    }
}

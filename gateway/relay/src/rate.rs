//! Rate limits of connections, sessions and projects, by the generic cell rate algorithm (GCRA).

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

/// The time in which the rate of a connection allows its burst, in nanoseconds. After an outage too
/// short to lose the link, everything that the client has sent meanwhile arrives at once: a full queue
/// of an SDK (1024 signals) and what follows it. At the default rate that is more than one second's
/// worth.
const CONNECTION_BURST: u64 = 2 * SECOND;

/// A rate limit of `per_second` on average, with bursts. It takes sixteen bytes and no timer; the
/// caller passes the time.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    per_second: u32,
    /// When the full burst is available again (GCRA's theoretical arrival time), in nanoseconds
    /// since the caller's epoch.
    full_at: u64,
}

const SECOND: u64 = 1_000_000_000;

impl RateLimiter {
    /// A limiter with the full burst available; none if there is no limit (0).
    pub(crate) fn new(per_second: u32) -> Option<Self> {
        (per_second > 0).then_some(Self { per_second, full_at: 0 })
    }

    pub(crate) fn per_second(&self) -> u32 {
        self.per_second
    }

    /// Takes one permit, if one is available at `now`. Up to two seconds' worth are after a pause.
    pub(crate) fn take(&mut self, now: Duration) -> bool {
        let taken = take(self.full_at, self.per_second, CONNECTION_BURST, now);
        self.full_at = taken.unwrap_or(self.full_at);
        taken.is_some()
    }

    /// Takes this many permits, available or not; one second's worth are available after a pause.
    /// Returns the time until they will have been. Those that were taken before extend it by a second
    /// at most.
    pub(crate) fn charge(&mut self, permits: usize, now: Duration) -> Duration {
        let now = nanos(now);
        let available_at = now.saturating_add(SECOND);
        let latest = available_at.saturating_add(SECOND);
        let time = SECOND.saturating_mul(permits as u64) / u64::from(self.per_second);
        self.full_at = self.full_at.clamp(now, latest).saturating_add(time);
        Duration::from_nanos(self.full_at.saturating_sub(available_at))
    }
}

/// A rate limit that many senders share without a lock, with bursts of up to one second's worth. Its
/// rate can be changed.
#[derive(Debug, Default)]
pub(crate) struct SharedRateLimiter {
    per_second: AtomicU32,
    full_at: AtomicU64,
    /// Permits taken since they were last counted.
    taken: AtomicU32,
}

// Relaxed ordering suffices: no other memory depends on these numbers.
impl SharedRateLimiter {
    /// A limiter with the full burst available; 0 means no limit.
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second: per_second.into(), ..Self::default() }
    }

    /// Changes the rate; 0 means no limit.
    pub(crate) fn set(&self, per_second: u32) {
        self.per_second.store(per_second, Ordering::Relaxed);
    }

    /// Takes one permit, if one is available at `now`.
    pub(crate) fn take(&self, now: Duration) -> bool {
        let per_second = self.per_second.load(Ordering::Relaxed);
        if per_second == 0 {
            return true;
        }
        let update = |full_at| take(full_at, per_second, SECOND, now);
        let taken = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update).is_ok();
        if taken {
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Permits taken since the last call, if there is a limit.
    pub(crate) fn count_taken(&self) -> u32 {
        self.taken.swap(0, Ordering::Relaxed)
    }
}

/// The new `full_at` after one more permit is taken; none if no permit is available.
fn take(full_at: u64, per_second: u32, burst: u64, now: Duration) -> Option<u64> {
    let now = nanos(now);
    let full_at = full_at.max(now).saturating_add(SECOND / u64::from(per_second));
    (full_at <= now.saturating_add(burst)).then_some(full_at)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_two_seconds_then_the_rate() {
        let mut limiter = RateLimiter::new(10).unwrap();
        let start = Duration::from_secs(100);
        assert_eq!((0..50).filter(|_| limiter.take(start)).count(), 20);
        assert!(!limiter.take(start + Duration::from_millis(99)));
        assert!(limiter.take(start + Duration::from_millis(100)));
        assert!(!limiter.take(start + Duration::from_millis(100)));
        let later = start + Duration::from_secs(60);
        assert_eq!((0..50).filter(|_| limiter.take(later)).count(), 20);
    }

    #[test]
    fn charges_above_the_burst_take_their_time() {
        let mut limiter = RateLimiter::new(10).unwrap();
        let at = |ms| Duration::from_secs(100) + Duration::from_millis(ms);
        let ms = Duration::from_millis;
        assert_eq!(limiter.charge(10, at(0)), ms(0));
        assert_eq!(limiter.charge(1, at(0)), ms(100));
        assert_eq!(limiter.charge(1, at(0)), ms(200));
        assert_eq!(limiter.charge(1, at(100)), ms(200));
        assert_eq!(limiter.charge(5, at(1000)), ms(0));
        assert_eq!(limiter.charge(50, at(60_000)), ms(4000));
        // Of which a second is not forgiven.
        assert_eq!(limiter.charge(1, at(60_000)), ms(1100));
        assert_eq!(limiter.charge(1, at(62_000)), ms(0));
    }

    #[test]
    fn without_a_limit_there_is_no_limiter() {
        assert!(RateLimiter::new(0).is_none());
    }

    #[test]
    fn a_shared_limiter_follows_its_rate() {
        let limiter = SharedRateLimiter::new(0);
        let at = Duration::from_secs;
        assert_eq!((0..50).filter(|_| limiter.take(at(1))).count(), 50);
        limiter.set(10);
        assert_eq!((0..50).filter(|_| limiter.take(at(1))).count(), 10);
        limiter.set(20);
        assert_eq!((0..50).filter(|_| limiter.take(at(3))).count(), 20);
    }
}

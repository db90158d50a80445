//! Token buckets: how many signals one connection, or one project, may send.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

/// Allows `per_second` on average and, after a pause, as many at once as one second brings.
/// Sixteen bytes and no timer; the time comes from the caller.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_second: u32,
    /// When the bucket would be full again, in nanoseconds since the caller's epoch.
    full_at: u64,
}

const SECOND: u64 = 1_000_000_000;

impl Bucket {
    /// A full bucket, or none if there is no limit (0).
    pub(crate) fn new(per_second: u32) -> Option<Self> {
        (per_second > 0).then_some(Self { per_second, full_at: 0 })
    }

    /// Takes one, if one is left at `now`.
    pub(crate) fn take(&mut self, now: Duration) -> bool {
        let taken = take(self.full_at, self.per_second, now);
        self.full_at = taken.unwrap_or(self.full_at);
        taken.is_some()
    }
}

/// The same for many senders at once, without a lock; its rate can be changed.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    per_second: AtomicU32,
    full_at: AtomicU64,
}

// Relaxed throughout: the two numbers stand for nothing but themselves.
impl Shared {
    /// A full bucket; 0 means no limit.
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second: per_second.into(), full_at: AtomicU64::new(0) }
    }

    /// Changes the rate; 0 means no limit.
    pub(crate) fn set(&self, per_second: u32) {
        self.per_second.store(per_second, Ordering::Relaxed);
    }

    /// Takes one, if one is left at `now`.
    pub(crate) fn take(&self, now: Duration) -> bool {
        let per_second = self.per_second.load(Ordering::Relaxed);
        per_second == 0
            || self
                .full_at
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                    take(full_at, per_second, now)
                })
                .is_ok()
    }
}

/// When a bucket will be full after one more is taken from it; none if it has none left.
fn take(full_at: u64, per_second: u32, now: Duration) -> Option<u64> {
    let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    let full_at = full_at.max(now).saturating_add(SECOND / u64::from(per_second));
    (full_at <= now.saturating_add(SECOND)).then_some(full_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_one_second_then_the_rate() {
        let mut bucket = Bucket::new(10).unwrap();
        let start = Duration::from_secs(100);
        assert_eq!((0..50).filter(|_| bucket.take(start)).count(), 10);
        assert!(!bucket.take(start + Duration::from_millis(99)));
        assert!(bucket.take(start + Duration::from_millis(100)));
        assert!(!bucket.take(start + Duration::from_millis(100)));
        let later = start + Duration::from_secs(60);
        assert_eq!((0..50).filter(|_| bucket.take(later)).count(), 10);
    }

    #[test]
    fn no_limit_is_no_bucket() {
        assert!(Bucket::new(0).is_none());
    }

    #[test]
    fn a_shared_bucket_follows_its_rate() {
        let bucket = Shared::new(0);
        let at = Duration::from_secs;
        assert_eq!((0..50).filter(|_| bucket.take(at(1))).count(), 50);
        bucket.set(10);
        assert_eq!((0..50).filter(|_| bucket.take(at(1))).count(), 10);
        bucket.set(20);
        assert_eq!((0..50).filter(|_| bucket.take(at(3))).count(), 20);
    }
}

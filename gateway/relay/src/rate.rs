//! A token bucket: how many signals one connection may send.

use std::time::Duration;

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
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let cost = SECOND / u64::from(self.per_second);
        let full_at = self.full_at.max(now).saturating_add(cost);
        if full_at > now.saturating_add(SECOND) {
            return false;
        }
        self.full_at = full_at;
        true
    }
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
}

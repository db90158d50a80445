//! Collections that their callers share.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::Mutex;

/// Collects for one caller at a time. All that wait meanwhile share the next collection, so that many
/// callers cost no more than a few, and each gets numbers that are newer than its request.
#[derive(Default)]
pub(crate) struct Coalesced<T> {
    begun: AtomicU64,
    latest: Mutex<LatestCollection<T>>,
}

/// The result of the latest collection, and its number.
#[derive(Default)]
struct LatestCollection<T> {
    number: u64,
    result: T,
}

impl<T: Clone> Coalesced<T> {
    /// The result of a collection that began after this call; `collect` makes it, unless another
    /// caller does.
    pub(crate) async fn collect(&self, collect: impl AsyncFnOnce() -> T) -> T {
        let arrived = self.begun.load(Relaxed);
        let mut latest = self.latest.lock().await;
        if latest.number <= arrived {
            let number = self.begun.fetch_add(1, Relaxed) + 1;
            *latest = LatestCollection { number, result: collect().await };
        }
        latest.result.clone()
    }
}

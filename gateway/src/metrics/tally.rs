//! Counts of events that are not on the path of a signal, by their labels.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// A count for each key. Keys are constants of the program, so their number is bounded.
pub(crate) struct Tally<K>(Mutex<BTreeMap<K, u64>>);

impl<K: Ord + Copy> Tally<K> {
    /// Counts that begin at zero for these keys, so that the first event of each is a change.
    pub(super) fn of(keys: impl IntoIterator<Item = K>) -> Self {
        Self(Mutex::new(keys.into_iter().map(|key| (key, 0)).collect()))
    }

    /// Counts one event.
    pub(crate) fn count(&self, key: K) {
        *self.0.lock().entry(key).or_default() += 1;
    }

    /// All counts, in the order of their keys.
    pub(super) fn all(&self) -> Vec<(K, u64)> {
        self.0.lock().iter().map(|(key, count)| (*key, *count)).collect()
    }
}

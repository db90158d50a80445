//! A counter that many threads increase without waiting for each other.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// Number of parts. More threads share them.
const PARTS: usize = 8;

/// A counter in parts, each on a cache line of its own. A thread increases the part that is its own, so
/// that the line does not move between cores with every signal. The sum is read rarely.
#[derive(Debug, Default)]
pub struct SharedCounter([CounterPart; PARTS]);

#[derive(Debug, Default)]
#[repr(align(64))]
struct CounterPart(AtomicU64);

/// The part of the next thread that counts.
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static OWN: Cell<usize> = const { Cell::new(usize::MAX) };
}

impl SharedCounter {
    /// Adds to the counter.
    pub fn add(&self, count: u64) {
        let [first, ..] = &self.0;
        self.0.get(own()).unwrap_or(first).0.fetch_add(count, Relaxed);
    }

    /// The sum so far.
    pub fn sum(&self) -> u64 {
        self.0.iter().fold(0, |sum, part| sum.wrapping_add(part.0.load(Relaxed)))
    }
}

fn own() -> usize {
    let own = OWN.get();
    if own < PARTS { own } else { choose() }
}

#[cold]
fn choose() -> usize {
    let own = NEXT.fetch_add(1, Relaxed) % PARTS;
    OWN.set(own);
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "threads are what the test is about")]
    fn all_threads_count_into_one_sum() {
        let counter = SharedCounter::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * PARTS {
                scope.spawn(|| (0..1000).for_each(|_| counter.add(3)));
            }
        });
        assert_eq!(counter.sum(), 2 * PARTS as u64 * 3000);
    }
}

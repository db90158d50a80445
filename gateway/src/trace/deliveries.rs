//! Signals whose deliveries are recorded as spans. They are found by the time at which the relay
//! accepted them, which the receivers' outboxes report of a measured signal.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;

use super::TraceParent;

/// Signals that are waited for. Beyond that the oldest are forgotten.
const MAX_SIGNALS: usize = 256;

/// Deliveries of one signal that are recorded.
const MAX_DELIVERIES: u32 = 16;

/// The signals that are waited for, oldest first.
#[derive(Default)]
pub(super) struct Deliveries {
    signals: Mutex<VecDeque<TracedSignal>>,
    /// Whether there are any, so that links do not lock for nothing.
    has_any: AtomicBool,
}

struct TracedSignal {
    accepted: Duration,
    cause: TraceParent,
    deliveries: u32,
}

impl Deliveries {
    /// Waits for the deliveries of a signal, if its cause is recorded. Returns whether it is.
    pub(super) fn expect(&self, accepted: Duration, cause: TraceParent) -> bool {
        if cause.is_sampled {
            let mut signals = self.signals.lock();
            if signals.len() == MAX_SIGNALS {
                signals.pop_front();
            }
            signals.push_back(TracedSignal { accepted, cause, deliveries: 0 });
            self.has_any.store(true, Relaxed);
        }
        cause.is_sampled
    }

    /// The cause of the next delivery of this signal, if it is waited for.
    pub(super) fn next(&self, accepted: Duration) -> Option<TraceParent> {
        if !self.has_any.load(Relaxed) {
            return None;
        }
        let mut signals = self.signals.lock();
        let index = signals.iter().position(|signal| signal.accepted == accepted)?;
        let signal = signals.get_mut(index)?;
        signal.deliveries += 1;
        let cause = signal.cause;
        if signal.deliveries == MAX_DELIVERIES {
            signals.remove(index);
            self.has_any.store(!signals.is_empty(), Relaxed);
        }
        Some(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(span_id: u64, is_sampled: bool) -> TraceParent {
        TraceParent { trace_id: 1, span_id, is_sampled }
    }

    #[test]
    fn the_first_deliveries_of_the_latest_sampled_signals_are_recorded() {
        let deliveries = Deliveries::default();
        let at = Duration::from_micros;
        assert!(!deliveries.expect(at(1), cause(1, false)));
        assert_eq!(deliveries.next(at(1)), None);
        assert!(deliveries.expect(at(2), cause(2, true)));
        for _ in 0..MAX_DELIVERIES {
            assert_eq!(deliveries.next(at(2)), Some(cause(2, true)));
        }
        assert_eq!(deliveries.next(at(2)), None);
        for number in 10..=10 + MAX_SIGNALS as u64 {
            assert!(deliveries.expect(at(number), cause(number, true)));
        }
        assert_eq!(deliveries.next(at(10)), None, "the oldest is forgotten");
        assert_eq!(deliveries.next(at(11)), Some(cause(11, true)));
    }
}

//! Latencies of a measurement: percentiles, the whole distribution, and its course over time.

use std::time::Duration;

use hdrhistogram::Histogram;
use signalbox_report::{Percentiles, QuantilePoint, TimeSlice};

use crate::clock::nanos;

/// Longer latencies are recorded as this one, in nanoseconds.
const MAX_NS: u64 = 60_000_000_000;

/// Points of a distribution between its lowest and its highest value.
const QUANTILES: [f64; 17] = [
    0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.999, 0.9995, 0.99975, 0.9999,
    0.99995, 0.999_975, 0.99999, 0.999_995,
];

/// Slices of a measurement, unless they would be shorter than `SHORTEST_SLICE`.
const SLICES: u32 = 20;

/// A shorter slice would have too few signals for its own p99.
const SHORTEST_SLICE: Duration = Duration::from_millis(250);

/// A histogram of latencies, with three significant digits.
#[derive(Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        #[expect(
            clippy::expect_used,
            reason = "fails only for bounds and digits that are out of range, and these are constants"
        )]
        Self(Histogram::new_with_bounds(1, MAX_NS, 3).expect("the bounds are good"))
    }
}

impl Latencies {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a latency.
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    /// Number of latencies.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    fn add(&mut self, other: &Self) {
        #[expect(
            clippy::expect_used,
            reason = "fails only for values out of bounds, and all have the same bounds"
        )]
        self.0.add(&other.0).expect("the bounds are the same");
    }

    /// The latency that this share of all, from 0 to 1, does not exceed, in microseconds.
    fn at(&self, quantile: f64) -> f64 {
        let ns = match quantile {
            0.0 => self.0.min(),
            1.0 => self.0.max(),
            _ => self.0.value_at_quantile(quantile),
        };
        ns as f64 / 1000.0
    }

    /// The usual percentiles.
    pub fn percentiles(&self) -> Percentiles {
        Percentiles {
            p50: self.at(0.5),
            p90: self.at(0.9),
            p99: self.at(0.99),
            p999: self.at(0.999),
            max: self.at(1.0),
        }
    }

    /// The distribution: its lowest and its highest value, and every quantile beyond which there
    /// is at least one value. Empty if nothing was recorded.
    pub fn curve(&self) -> Vec<QuantilePoint> {
        let count = self.count() as f64;
        if count == 0.0 {
            return Vec::new();
        }
        // With room for rounding: 1 - 0.9 is a little less than 0.1.
        let inner = QUANTILES.into_iter().filter(|it| (1.0 - it) * count > 0.999);
        let quantiles = [0.0].into_iter().chain(inner).chain([1.0]);
        quantiles.map(|quantile| QuantilePoint { quantile, us: self.at(quantile) }).collect()
    }
}

/// Latencies by when their signals were due.
pub struct Timeline {
    from_ns: u64,
    slice_ns: u64,
    slices: Vec<Latencies>,
}

impl Timeline {
    /// A timeline of a measurement that begins at `from_ns` by the clock.
    pub fn new(from_ns: u64, duration: Duration) -> Self {
        let count = (duration.as_secs_f64() / SHORTEST_SLICE.as_secs_f64()) as u32;
        let count = count.clamp(1, SLICES);
        let slices = (0..count).map(|_| Latencies::new()).collect();
        Self { from_ns, slice_ns: nanos(duration / count).max(1), slices }
    }

    /// Records a latency. `false` if the signal was due before the measurement, in its warm-up: it
    /// does not count. A signal that was due after the measurement counts for the last slice.
    pub fn record(&mut self, due_ns: u64, latency_ns: u64) -> bool {
        let Some(after_ns) = due_ns.checked_sub(self.from_ns) else { return false };
        let last = self.slices.len() - 1;
        let index = usize::try_from(after_ns / self.slice_ns).map_or(last, |it| it.min(last));
        if let Some(slice) = self.slices.get_mut(index) {
            slice.record(latency_ns);
        }
        true
    }

    /// All slices together.
    pub fn latencies(&self) -> Latencies {
        let mut all = Latencies::new();
        self.slices.iter().for_each(|it| all.add(it));
        all
    }

    /// Each by itself, in the order of time.
    pub fn slices(&self) -> Vec<TimeSlice> {
        let slice = |(latencies, index): (&Latencies, u64)| {
            let us = latencies.percentiles();
            TimeSlice {
                at_s: (index * self.slice_ns) as f64 / 1e9,
                deliveries: latencies.count(),
                p50_us: us.p50,
                p99_us: us.p99,
                max_us: us.max,
            }
        };
        self.slices.iter().zip(0..).map(slice).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_known_distribution() {
        let mut latencies = Latencies::new();
        for micros in 1..=1000 {
            latencies.record(micros * 1000);
        }
        let Percentiles { p50, p90, p99, p999, max } = latencies.percentiles();
        for (value, expected) in
            [(p50, 500.0), (p90, 900.0), (p99, 990.0), (p999, 999.0), (max, 1000.0)]
        {
            // Three digits are kept.
            assert!((value - expected).abs() <= expected / 500.0, "{value}");
        }
        assert_eq!(latencies.count(), 1000);
    }

    #[test]
    fn longer_latencies_count_as_the_longest() {
        let mut latencies = Latencies::new();
        latencies.record(u64::MAX);
        assert_eq!(latencies.count(), 1);
        assert!(latencies.percentiles().max >= 59_000_000.0);
    }

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_curve_goes_as_far_as_its_values() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.curve(), []);
        latencies.record(7000);
        let at = |latencies: &Latencies| -> Vec<_> {
            latencies.curve().iter().map(|it| it.quantile).collect()
        };
        assert_eq!(at(&latencies), [0.0, 1.0]);
        (1..1000).for_each(|us| latencies.record(us * 1000));
        let curve = latencies.curve();
        assert_eq!(curve.first(), Some(&QuantilePoint { quantile: 0.0, us: 1.0 }));
        assert_eq!(curve.get(curve.len() - 2).unwrap().quantile, 0.999);
        assert!(curve.windows(2).all(|pair| pair[0].us <= pair[1].us), "{curve:?}");
    }

    #[test]
    fn a_signal_is_in_the_slice_in_which_it_was_due() {
        let mut timeline = Timeline::new(10 * SECOND, Duration::from_secs(10));
        assert!(!timeline.record(10 * SECOND - 1, 1));
        assert!(timeline.record(10 * SECOND, 100_000));
        timeline.record(10 * SECOND + SECOND / 2, 200_000);
        timeline.record(99 * SECOND, 300_000);
        let slices = timeline.slices();
        assert_eq!(slices.len(), 20);
        let filled: Vec<_> = slices.iter().filter(|it| it.deliveries > 0).collect();
        assert_eq!(filled.iter().map(|it| it.at_s).collect::<Vec<_>>(), [0.0, 0.5, 9.5]);
        assert_eq!(timeline.latencies().count(), 3);
        assert!((timeline.latencies().percentiles().max - 300.0).abs() < 1.0);
    }

    #[test]
    fn slices_are_not_too_short() {
        let count = |ms| Timeline::new(0, Duration::from_millis(ms)).slices().len();
        assert_eq!([0, 200, 1000, 5000, 60_000].map(count), [1, 1, 4, 20, 20]);
    }
}

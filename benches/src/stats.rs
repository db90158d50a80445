//! Statistics: percentiles of one measurement, median and spread of several.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest latency that is told apart from longer ones, in nanoseconds.
const MAX_NS: u64 = 60_000_000_000;

/// Latencies as they come in.
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        #[expect(
            clippy::expect_used,
            reason = "fails only for bounds and digits that are out of range, and these are constants"
        )]
        Self(Histogram::new_with_bounds(1, MAX_NS, 3).expect("the bounds are good"))
    }

    pub(crate) fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Those of both.
    pub(crate) fn add(&mut self, other: &Self) {
        #[expect(
            clippy::expect_used,
            reason = "fails only for what is out of bounds, and all have the same ones"
        )]
        self.0.add(&other.0).expect("the bounds are the same");
    }

    /// This share of all, from 0 to 1, took at most so long, in microseconds.
    pub(crate) fn at(&self, quantile: f64) -> f64 {
        micros(match quantile {
            0.0 => self.0.min(),
            1.0 => self.0.max(),
            _ => self.0.value_at_quantile(quantile),
        })
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        Percentiles {
            p50: self.at(0.5),
            p90: self.at(0.9),
            p99: self.at(0.99),
            p999: self.at(0.999),
            max: self.at(1.0),
        }
    }
}

fn micros(ns: u64) -> f64 {
    ns as f64 / 1000.0
}

/// Percentiles in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half of all are at most this.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

/// A figure over several rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The one in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of no rounds at all it is zero.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or_default();
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            at(middle)
        } else {
            f64::midpoint(at(middle.saturating_sub(1)), at(middle))
        };
        Self { median, min: at(0), max: at(values.len().saturating_sub(1)) }
    }

    /// Of figures that some systems have and others, which run elsewhere, have not.
    pub(crate) fn known(values: impl IntoIterator<Item = Option<f64>>) -> Option<Self> {
        let values: Option<Vec<_>> = values.into_iter().collect();
        values.map(Self::of)
    }

    /// The same in another unit.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        let Self { median, min, max } = self;
        Self { median: median * factor, min: min * factor, max: max * factor }
    }

    /// Half the distance between the extremes, as a share of the median.
    pub(crate) fn uncertainty(&self) -> f64 {
        if self.median == 0.0 {
            return 0.0;
        }
        (self.max - self.min) / 2.0 / self.median
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
    fn what_is_longer_than_all_counts_as_the_longest() {
        let mut latencies = Latencies::new();
        latencies.record(u64::MAX);
        assert_eq!(latencies.count(), 1);
        assert!(latencies.percentiles().max >= 59_000_000.0);
    }

    #[test]
    fn medians() {
        let spread = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.0, 3.0));
        assert_eq!(spread.uncertainty(), 0.5);
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Spread::of([]).median, 0.0);
        assert_eq!(Spread::of([]).uncertainty(), 0.0);
        assert_eq!(Spread::known([Some(1.0), Some(3.0)]), Some(Spread::of([1.0, 3.0])));
        assert_eq!(Spread::known([Some(1.0), None]), None);
    }
}

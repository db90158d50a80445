//! A figure over several rounds: its median and its extremes.

use serde::{Deserialize, Serialize};

/// Median, lowest and highest value of several rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle value, or the mean of the two in the middle.
    pub median: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
}

impl Spread {
    /// The spread of these values. Without any it is zero.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
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

    /// Half the distance between the extremes, as a share of the median.
    pub fn uncertainty(&self) -> f64 {
        if self.median == 0.0 {
            return 0.0;
        }
        (self.max - self.min) / 2.0 / self.median
    }

    /// The median, and the uncertainty if the rounds differ.
    pub fn text(&self, digits: usize) -> String {
        let median = format!("{:.digits$}", self.median);
        if self.min == self.max {
            return median;
        }
        format!("{median} ±{:.0} %", self.uncertainty() * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let spread = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.0, 3.0));
        assert_eq!(spread.uncertainty(), 0.5);
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Spread::of([]).median, 0.0);
        assert_eq!(Spread::of([]).uncertainty(), 0.0);
    }

    #[test]
    fn a_figure_comes_with_its_uncertainty() {
        assert_eq!(Spread::of([90.0, 100.0, 110.0]).text(0), "100 ±10 %");
        assert_eq!(Spread::of([1.25]).text(1), "1.2");
    }
}

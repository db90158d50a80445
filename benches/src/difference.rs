//! Whether two figures differ by more than their rounds do.
//!
//! The rule is a plain one: a difference counts if every round of the one is below every round of
//! the other. It assumes nothing about how rounds are distributed. Nothing can be said of a single
//! round, and with few rounds chance alone separates some figures: how many, `by_chance` says.

use serde::Serialize;

use crate::stats::Spread;

/// A figure of several rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figure {
    pub(crate) spread: Spread,
    pub(crate) rounds: usize,
}

/// Which way a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// What can be said of two figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Difference {
    /// Every round of the one is below every round of the other.
    BeyondTheRounds,
    /// Some rounds are not.
    WithinTheNoise,
    /// One of them has a single round, so how far its rounds are apart is not known.
    NotKnown,
}

impl Difference {
    pub(crate) fn of(a: Figure, b: Figure) -> Self {
        if a.rounds < 2 || b.rounds < 2 {
            return Self::NotKnown;
        }
        let below = |a: Spread, b: Spread| a.max < b.min;
        if below(a.spread, b.spread) || below(b.spread, a.spread) {
            Self::BeyondTheRounds
        } else {
            Self::WithinTheNoise
        }
    }

    /// Share of figures that are beyond the rounds by chance, when nothing is different: of all the
    /// orders in which so many rounds can come out, two have all of one side first.
    pub(crate) fn by_chance(a_rounds: usize, b_rounds: usize) -> f64 {
        let orders = (1..=a_rounds).map(|it| (b_rounds + it) as f64 / it as f64).product::<f64>();
        (2.0 / orders).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(rounds: &[f64]) -> Figure {
        Figure { spread: Spread::of(rounds.iter().copied()), rounds: rounds.len() }
    }

    #[test]
    fn only_rounds_that_are_all_apart_differ() {
        let of = |a: &[f64], b: &[f64]| Difference::of(figure(a), figure(b));
        assert_eq!(of(&[1.0, 2.0], &[2.1, 9.0]), Difference::BeyondTheRounds);
        assert_eq!(of(&[2.1, 9.0], &[1.0, 2.0]), Difference::BeyondTheRounds);
        // The medians are far apart, and one round of each is not.
        assert_eq!(of(&[1.0, 1.0, 5.0], &[4.0, 9.0, 9.0]), Difference::WithinTheNoise);
        assert_eq!(of(&[1.0, 2.0], &[2.0, 3.0]), Difference::WithinTheNoise);
        assert_eq!(of(&[1.0], &[100.0, 101.0]), Difference::NotKnown);
    }

    #[test]
    fn few_rounds_are_apart_by_chance() {
        let chance = |a, b| (Difference::by_chance(a, b) * 1000.0).round() / 1000.0;
        assert_eq!([chance(2, 2), chance(3, 3), chance(5, 5)], [0.333, 0.1, 0.008]);
        assert_eq!(chance(2, 3), chance(3, 2));
        assert_eq!(chance(0, 0), 1.0);
    }
}

//! The separation test: do two figures differ by more than their rounds do?
//!
//! A difference counts if every round of one side is below every round of the other. The rule
//! assumes nothing about how rounds are distributed. It says nothing about a single round, and with
//! few rounds chance alone separates some figures; [`Separation::by_chance`] says how many.

use serde::Serialize;

use crate::Spread;

/// A spread, and the number of rounds it was taken over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// Median and extremes.
    pub spread: Spread,
    /// Number of rounds.
    pub rounds: usize,
}

/// The relation of two figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Separation {
    /// Every round of one is below every round of the other.
    BeyondTheRounds,
    /// Some rounds are not.
    WithinTheNoise,
    /// One of them has a single round, so its noise is not known.
    NotKnown,
}

impl Separation {
    /// Tests two figures.
    pub fn of(a: Figure, b: Figure) -> Self {
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

    /// Share of equal figures that the test separates by chance: of all orders in which the rounds
    /// can come out, two have all of one side first.
    pub fn by_chance(a_rounds: usize, b_rounds: usize) -> f64 {
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
        let of = |a: &[f64], b: &[f64]| Separation::of(figure(a), figure(b));
        assert_eq!(of(&[1.0, 2.0], &[2.1, 9.0]), Separation::BeyondTheRounds);
        assert_eq!(of(&[2.1, 9.0], &[1.0, 2.0]), Separation::BeyondTheRounds);
        // The medians are far apart, and one round of each is not.
        assert_eq!(of(&[1.0, 1.0, 5.0], &[4.0, 9.0, 9.0]), Separation::WithinTheNoise);
        assert_eq!(of(&[1.0, 2.0], &[2.0, 3.0]), Separation::WithinTheNoise);
        assert_eq!(of(&[1.0], &[100.0, 101.0]), Separation::NotKnown);
    }

    #[test]
    fn few_rounds_are_apart_by_chance() {
        let chance = |a, b| (Separation::by_chance(a, b) * 1000.0).round() / 1000.0;
        assert_eq!([chance(2, 2), chance(3, 3), chance(5, 5)], [0.333, 0.1, 0.008]);
        assert_eq!(chance(2, 3), chance(3, 2));
        assert_eq!(chance(0, 0), 1.0);
    }
}

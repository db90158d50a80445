//! Figures of a scenario: key, unit, direction, and where a round has its value.

use serde::{Deserialize, Serialize};

use crate::{Figure, Spread};

/// The direction in which a figure improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// Less is better.
    Lower,
    /// More is better.
    Higher,
}

impl Better {
    /// The direction in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Lower => "lower is better",
            Self::Higher => "higher is better",
        }
    }
}

/// One figure of a round `R`.
#[derive(Debug)]
pub struct Metric<R> {
    pub(crate) key: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Option<Better>,
    pub(crate) value: fn(&R) -> Option<f64>,
    pub(crate) headline: Option<&'static str>,
}

impl<R> Metric<R> {
    /// A figure of which less is better. `value` is `None` where a round does not have it.
    pub const fn lower(
        key: &'static str,
        unit: &'static str,
        value: fn(&R) -> Option<f64>,
    ) -> Self {
        Self { key, unit, better: Some(Better::Lower), value, headline: None }
    }

    /// A figure of which more is better.
    pub const fn higher(
        key: &'static str,
        unit: &'static str,
        value: fn(&R) -> Option<f64>,
    ) -> Self {
        Self { key, unit, better: Some(Better::Higher), value, headline: None }
    }

    /// A figure that is neither good nor bad.
    pub const fn neutral(
        key: &'static str,
        unit: &'static str,
        value: fn(&R) -> Option<f64>,
    ) -> Self {
        Self { key, unit, better: None, value, headline: None }
    }

    /// Systems are compared by it in the summary of a run, under this name.
    pub const fn headline(self, name: &'static str) -> Self {
        Self { headline: Some(name), ..self }
    }

    /// Its unit.
    pub fn unit(&self) -> &'static str {
        self.unit
    }

    /// The direction in which it improves.
    pub fn better(&self) -> Option<Better> {
        self.better
    }

    /// Over the rounds that have it; `None` if none has.
    pub fn spread(&self, rounds: &[R]) -> Option<Spread> {
        let mut values = rounds.iter().filter_map(self.value).peekable();
        values.peek().is_some().then(|| Spread::of(values))
    }

    /// The same, with the number of rounds.
    pub fn figure(&self, rounds: &[R]) -> Option<Figure> {
        Some(Figure { spread: self.spread(rounds)?, rounds: rounds.len() })
    }
}

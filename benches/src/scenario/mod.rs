//! Scenarios: one folder each, with flags, run, metrics, table, charts and words.

pub(crate) mod capacity;
pub(crate) mod churn;
pub(crate) mod crash;
pub(crate) mod fanout;
pub(crate) mod flood;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod loss;
pub(crate) mod mesh;
pub(crate) mod reconnect;
pub(crate) mod rest;
pub(crate) mod resumes;

mod at_rate;
mod flags;
mod outcome;
mod rounds;

use serde::Serialize;
use signalbox_report::{Chart, Contender, Label, Metric, RelativeFigure, Round, Table};

pub(crate) use self::{flags::Rounds, outcome::Outcome};
use crate::{Bench, all::All};

/// The name of a row in the summary of a run: its role, its system, its load.
type SummaryEntry = (Contender, String, String);

/// A question that the benchmark answers.
pub(crate) trait Scenario: clap::Args + Clone {
    /// Command, JSON key, anchor and prefix of warnings.
    const NAME: &'static str;
    /// For readers.
    const TITLE: &'static str;
    /// How to read its figures, in Markdown.
    const READING: &'static str;
    /// Its figures.
    const METRICS: &'static [Metric<Self::Round>];

    /// What all rows have in common.
    type Parameters: Serialize;
    /// What tells rows apart.
    type Label: Label + Clone;
    /// One measurement.
    type Round: Round + 'static;

    /// Measures.
    ///
    /// # Errors
    /// If a measurement is void.
    async fn run(&self, bench: &Bench) -> anyhow::Result<Outcome<Self>>;

    /// Adapts the defaults for `all`; `false` if the scenario is left out.
    fn adapt(&mut self, all: &All) -> bool;

    /// The gateways that run already, if those are measured.
    fn remote(&self) -> Option<String> {
        None
    }

    /// All rows.
    fn table(outcome: &Outcome<Self>) -> Table;

    /// The same and more as charts.
    fn charts(outcome: &Outcome<Self>) -> Vec<Chart>;

    /// Figures as multiples of the first row's under the same load.
    fn relative(_: &Outcome<Self>) -> Vec<RelativeFigure> {
        Vec::new()
    }

    /// A row's part in the summary of the run, if it has one.
    fn summary(_: &Self::Label) -> Option<SummaryEntry> {
        None
    }

    /// Whether a failure of this row is a result, not an error of the run.
    fn may_fail(_: &Self::Label) -> bool {
        false
    }

    /// Reasons not to trust the figures.
    fn warnings(outcome: &Outcome<Self>) -> Vec<String> {
        outcome.rows.iter().flat_map(signalbox_report::Row::warnings).collect()
    }
}

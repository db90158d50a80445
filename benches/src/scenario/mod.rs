//! Scenarios: one folder each, with flags, run, metrics, table, charts and words.

pub(crate) mod browser;
pub(crate) mod capacity;
pub(crate) mod churn;
pub(crate) mod cluster;
pub(crate) mod crash;
pub(crate) mod failover;
pub(crate) mod fairness;
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
mod controlled;
mod flags;
mod many_to_one;
mod outcome;
mod rounds;

use serde::Serialize;
use signalbox_report::{Chart, Column, Label, Metric, Round, Row};

pub(crate) use self::{flags::Rounds, outcome::Outcome};
use crate::{Bench, all::All};

/// The columns of a scenario.
type Columns<S> = Vec<Column<<S as Scenario>::Label, <S as Scenario>::Round>>;

/// A question that the benchmark answers. Its flags, serialised, are the parameters that all rows
/// have in common; flags that only decide which rows there are, are skipped.
pub(crate) trait Scenario: clap::Args + Clone + Serialize {
    /// Command, JSON key, anchor and prefix of warnings.
    const NAME: &'static str;
    /// For readers.
    const TITLE: &'static str;
    /// Explanation of its figures, in Markdown.
    const READING: &'static str;
    /// Its figures.
    const METRICS: &'static [Metric<Self::Round>];

    /// Figures that the summary shows as multiples of the first row's, by name.
    const RELATIVE: &'static [(&'static str, Metric<Self::Round>)] = &[];

    /// The label that distinguishes rows.
    type Label: Label + Clone + 'static;
    /// One measurement.
    type Round: Round + 'static;

    /// Measures.
    async fn run(&self, bench: &Bench) -> anyhow::Result<Outcome<Self>>;

    /// Adapts the defaults for `all`; `false` if the scenario is left out.
    fn adapt(&mut self, all: &All) -> bool;

    /// The gateways that run already, if those are measured.
    fn remote(&self) -> Option<String> {
        None
    }

    /// The title of its table.
    fn heading(&self) -> String;

    /// The columns of its table.
    fn columns(&self) -> Columns<Self>;

    /// Its figures as charts.
    fn charts(outcome: &Outcome<Self>) -> Vec<Chart>;

    /// Reasons not to trust the figures.
    fn warnings(outcome: &Outcome<Self>) -> Vec<String> {
        outcome.rows.iter().flat_map(Row::warnings).collect()
    }
}

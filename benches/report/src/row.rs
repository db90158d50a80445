//! Rows of a scenario: labels and rounds.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{Metric, Spread};

/// The role of a row in the summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    /// Ours, in the form that is compared with others.
    Main,
    /// Ours, in a form that is compared only if no main form was measured.
    Variant,
    /// Another system.
    Other,
}

/// The parameters of a row, which tell it apart.
pub trait Label: Serialize {
    /// Names the row in tables, charts and warnings.
    fn title(&self) -> String;

    /// Rows of one group are compared with each other; empty if all are.
    fn group(&self) -> String {
        String::new()
    }

    /// Names the row within its group.
    fn member(&self) -> String {
        self.title()
    }

    /// Its part in the summary of a run, if it has one: role, system, load.
    fn summary(&self) -> Option<(Contender, String, String)> {
        None
    }

    /// Whether a failed measurement of it is a result, not an error of the run.
    fn may_fail(&self) -> bool {
        false
    }
}

/// The result of one measurement.
pub trait Round: Serialize {
    /// Reasons not to trust its figures.
    fn warnings(&self) -> Vec<String>;

    /// Its main figures in a few words, for the progress of a run.
    fn progress(&self) -> String;
}

/// All rounds of one label.
#[derive(Debug)]
pub struct Row<L, R> {
    /// Its parameters.
    pub label: L,
    /// The measurements.
    pub rounds: Vec<R>,
}

impl<L: Label, R: Round> Row<L, R> {
    /// A metric over all rounds; zero if none has it.
    pub fn spread(&self, metric: &Metric<R>) -> Spread {
        metric.spread(&self.rounds).unwrap_or_else(|| Spread::of([]))
    }

    /// All warnings of its rounds, with the row and the round that they belong to.
    pub fn warnings(&self) -> Vec<String> {
        let title = self.label.title();
        let of = |(round, number): (&R, usize)| {
            let name = |it| format!("{title}, round {number}: {it}");
            round.warnings().into_iter().map(name).collect::<Vec<_>>()
        };
        self.rounds.iter().zip(1..).flat_map(of).collect()
    }

    /// The label's fields, the figures by their keys, and the rounds.
    pub fn json(&self, metrics: &[Metric<R>]) -> serde_json::Result<Value> {
        let mut row = Map::new();
        if let Value::Object(label) = serde_json::to_value(&self.label)? {
            row.extend(label);
        }
        for metric in metrics {
            if let Some(spread) = metric.spread(&self.rounds) {
                row.insert(metric.key.to_owned(), serde_json::to_value(spread)?);
            }
        }
        row.insert("rounds".into(), serde_json::to_value(&self.rounds)?);
        Ok(Value::Object(row))
    }
}

/// The metrics of a scenario as JSON: unit and direction by key.
pub fn describe<R>(metrics: &[Metric<R>]) -> Value {
    let describe = |it: &Metric<R>| {
        (it.key.to_owned(), serde_json::json!({ "unit": it.unit, "better": it.better }))
    };
    Value::Object(metrics.iter().map(describe).collect())
}

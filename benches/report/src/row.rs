//! Rows of a scenario: what was measured, and its rounds.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{Metric, Spread};

/// The part of a row that was asked for, not measured.
pub trait Label: Serialize {
    /// Names the row in tables, charts and warnings.
    fn title(&self) -> String;
}

/// What one measurement found.
pub trait Round: Serialize {
    /// Reasons not to trust its figures.
    fn warnings(&self) -> Vec<String>;

    /// Its main figures in a few words, for the progress of a run.
    fn progress(&self) -> String;
}

/// All rounds of one label.
#[derive(Debug)]
pub struct Row<L, R> {
    /// What was asked for.
    pub label: L,
    /// The measurements.
    pub rounds: Vec<R>,
}

impl<L: Label, R: Round> Row<L, R> {
    /// A metric over all rounds; zero if none has it.
    pub fn spread(&self, metric: &Metric<R>) -> Spread {
        metric.spread(&self.rounds).unwrap_or_else(|| Spread::of([]))
    }

    /// A cell: the median and the uncertainty; empty if no round has the figure.
    pub fn text(&self, metric: &Metric<R>, digits: usize) -> String {
        metric.spread(&self.rounds).map(|it| it.text(digits)).unwrap_or_default()
    }

    /// A cell with the median alone.
    pub fn median(&self, metric: &Metric<R>, digits: usize) -> String {
        let spread = metric.spread(&self.rounds);
        spread.map(|it| format!("{:.digits$}", it.median)).unwrap_or_default()
    }

    /// A cell with the greatest value of all rounds.
    pub fn greatest(&self, metric: &Metric<R>, digits: usize) -> String {
        let spread = metric.spread(&self.rounds);
        spread.map(|it| format!("{:.digits$}", it.max)).unwrap_or_default()
    }

    /// A cell with a median share in percent.
    pub fn percent(&self, metric: &Metric<R>) -> String {
        format!("{:.0} %", self.spread(metric).median * 100.0)
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

/// What JSON says of the metrics of a scenario: unit and direction by key.
pub fn describe<R>(metrics: &[Metric<R>]) -> Value {
    let describe = |it: &Metric<R>| {
        (it.key.to_owned(), serde_json::json!({ "unit": it.unit, "better": it.better }))
    };
    Value::Object(metrics.iter().map(describe).collect())
}

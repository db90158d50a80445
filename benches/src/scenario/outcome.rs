//! The outcome of a scenario, and its section of the report.

use serde_json::{Map, Value};
use signalbox_report::{
    Figure, Headline, Label, Metric, NamedFigure, Palette, Row, Section, describe,
};

use super::Scenario;

/// All rows of a scenario.
#[derive(Debug)]
pub(crate) struct Outcome<S: Scenario> {
    pub(super) parameters: S::Parameters,
    pub(super) rows: Vec<Row<S::Label, S::Round>>,
    /// Systems that failed in some rounds.
    pub(super) failures: Vec<String>,
}

impl<S: Scenario> Outcome<S> {
    /// The section; `None` if nothing was measured.
    pub(crate) fn section(&self) -> anyhow::Result<Option<Section>> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let headline = |metric| Headline::of(metric, &self.rows, S::summary);
        Ok(Some(Section {
            name: S::NAME,
            title: S::TITLE,
            reading: S::READING,
            table: S::table(self),
            charts: S::charts(self),
            relative: S::relative(self),
            headlines: S::METRICS.iter().filter_map(headline).collect(),
            warnings: S::warnings(self).into_iter().chain(self.failures.clone()).collect(),
            json: self.json()?,
        }))
    }

    fn json(&self) -> anyhow::Result<Value> {
        let mut json = match serde_json::to_value(&self.parameters)? {
            Value::Object(parameters) => parameters,
            _ => Map::new(),
        };
        let rows = self.rows.iter().map(|it| it.json(S::METRICS)).collect::<Result<_, _>>()?;
        json.insert("metrics".into(), describe(S::METRICS));
        json.insert("rows".into(), Value::Array(rows));
        if !self.failures.is_empty() {
            json.insert("failures".into(), serde_json::to_value(&self.failures)?);
        }
        Ok(Value::Object(json))
    }

    /// A style for each row.
    pub(super) fn palette(&self) -> Palette {
        Palette::of(self.rows.iter().map(|it| it.label.title()))
    }

    /// One figure of all rows that have it.
    pub(super) fn figures(&self, metric: &Metric<S::Round>) -> Vec<NamedFigure> {
        named(self.rows.iter(), Label::title, metric)
    }
}

/// One figure of those of these rows that have it, by a name.
pub(super) fn named<'a, L: 'a, R: 'a>(
    rows: impl Iterator<Item = &'a Row<L, R>>,
    name: impl Fn(&L) -> String,
    metric: &Metric<R>,
) -> Vec<NamedFigure> {
    let figure = |it: &'a Row<L, R>| -> Option<(String, Figure)> {
        Some((name(&it.label), metric.figure(&it.rounds)?))
    };
    rows.filter_map(figure).collect()
}

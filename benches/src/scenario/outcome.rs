//! The outcome of a scenario, and its section of the report.

use serde_json::{Map, Value};
use signalbox_report::{
    BarGroup, Chart, Headline, Label as _, Metric, NamedRounds, Palette, QuantilePoint,
    RelativeFigure, Row, Section, Table, describe,
};

use super::Scenario;

/// Rows of one group, under its name.
type RowGroup<'a, S> = (String, Vec<&'a ScenarioRow<S>>);

type ScenarioRow<S> = Row<<S as Scenario>::Label, <S as Scenario>::Round>;

/// All rows of a scenario.
pub(crate) struct Outcome<S: Scenario> {
    /// The flags of the measurement; the JSON has those that all measurements share.
    pub(super) scenario: S,
    pub(super) rows: Vec<ScenarioRow<S>>,
    /// Systems that failed in some rounds.
    pub(super) failures: Vec<String>,
}

impl<S: Scenario> Outcome<S> {
    /// The section; `None` if nothing was measured.
    pub(crate) fn section(&self) -> anyhow::Result<Option<Section>> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let headline = |metric| Headline::of(metric, &self.rows);
        Ok(Some(Section {
            name: S::NAME,
            title: S::TITLE,
            reading: S::READING,
            table: Table::of(&self.scenario.heading(), &self.scenario.columns(), &self.rows),
            charts: S::charts(self),
            relative: self.relative(),
            headlines: S::METRICS.iter().filter_map(headline).collect(),
            warnings: S::warnings(self).into_iter().chain(self.failures.clone()).collect(),
            json: self.json()?,
        }))
    }

    fn json(&self) -> anyhow::Result<Value> {
        let mut json = match serde_json::to_value(&self.scenario)? {
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

    /// A style for each row, by its title.
    pub(super) fn palette(&self) -> Palette {
        Palette::of(self.rows.iter().map(|it| it.label.title()))
    }

    /// Rows by group, in the order in which groups come up.
    pub(super) fn groups(&self) -> Vec<RowGroup<'_, S>> {
        let mut groups: Vec<(String, Vec<_>)> = Vec::new();
        for row in &self.rows {
            let name = row.label.group();
            match groups.iter_mut().find(|it| it.0 == name) {
                Some((_, rows)) => rows.push(row),
                None => groups.push((name, vec![row])),
            }
        }
        groups
    }

    /// A bar for each row that has the figure, by group; `None` if no row has it.
    pub(super) fn bars(&self, title: &str, metric: &Metric<S::Round>) -> Option<Chart> {
        self.bars_beside(title, metric, None)
    }

    /// The same with a line at a value to compare with.
    pub(super) fn bars_beside(
        &self,
        title: &str,
        metric: &Metric<S::Round>,
        reference: Option<f64>,
    ) -> Option<Chart> {
        let palette = Palette::of(self.rows.iter().map(|it| it.label.member()));
        let bar = |it: &ScenarioRow<S>| Some((it.label.member(), metric.spread(&it.rounds)?));
        let bars = |rows: Vec<_>| rows.into_iter().filter_map(bar).collect();
        let groups: Vec<BarGroup> =
            self.groups().into_iter().map(|(name, rows)| (name, bars(rows))).collect();
        let any = groups.iter().any(|it| !it.1.is_empty());
        any.then(|| Chart::groups(title, metric.unit(), &palette, groups, reference))
    }

    /// Figures of the rows of each group as multiples of its first row's.
    fn relative(&self) -> Vec<RelativeFigure> {
        let of = |(group, rows): RowGroup<'_, S>| {
            let of = |(name, metric): &(&str, Metric<S::Round>)| {
                let figure =
                    |it: &&ScenarioRow<S>| Some((it.label.member(), metric.figure(&it.rounds)?));
                let figures: Vec<_> = rows.iter().filter_map(figure).collect();
                let suffix = if group.is_empty() { String::new() } else { format!(", {group}") };
                RelativeFigure::of(format!("{name}{suffix}"), metric.better()?, &figures)
            };
            S::RELATIVE.iter().filter_map(of).collect::<Vec<_>>()
        };
        self.groups().into_iter().flat_map(of).collect()
    }

    /// One part of each measurement, by row.
    pub(super) fn parts<'a, T>(
        &'a self,
        pick: impl Fn(&'a S::Round) -> &'a Vec<T>,
    ) -> Vec<NamedRounds<'a, T>> {
        let rounds = |it: &'a ScenarioRow<S>| NamedRounds {
            name: it.label.title(),
            rounds: it.rounds.iter().map(|it| pick(it).as_slice()).collect(),
        };
        self.rows.iter().map(rounds).collect()
    }

    /// Latency by percentile, a line for each row.
    pub(super) fn percentiles(
        &self,
        title: &str,
        pick: impl Fn(&S::Round) -> &Vec<QuantilePoint>,
    ) -> Option<Chart> {
        Chart::percentiles(title, &self.palette(), &self.parts(pick))
    }
}

//! A file printed by `--json`: the run, and its scenarios with their metrics.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Better, Run, Spread};

/// Parts of a scenario that are results, not parameters.
const RESULTS: [&str; 3] = ["metrics", "rows", "failures"];

/// A field of a row that is neither a metric nor part of its label.
const ROUNDS: &str = "rounds";

/// The run of one file.
#[derive(Debug, Serialize)]
pub(super) struct RecordedRun {
    file: String,
    #[serde(flatten)]
    run: Run,
    /// Measurements that have warnings of their own.
    warned: usize,
}

/// A scenario of a run.
pub(super) struct RecordedScenario {
    parameters: BTreeMap<String, Value>,
    metrics: BTreeMap<String, RecordedMetric>,
    pub(super) rows: Vec<RecordedRow>,
    /// Systems that failed in some rounds.
    pub(super) failures: Vec<String>,
}

/// The description of a metric.
#[derive(Deserialize)]
struct RecordedMetric {
    better: Option<Better>,
}

/// A row of a scenario.
pub(super) struct RecordedRow {
    /// Its label: all that was asked for.
    pub(super) name: String,
    pub(super) rounds: usize,
    /// Some of its measurements have warnings.
    pub(super) warned: bool,
    pub(super) figures: BTreeMap<String, Spread>,
}

/// Reads a file.
pub(super) fn read(
    path: &Path,
) -> anyhow::Result<(RecordedRun, BTreeMap<String, RecordedScenario>)> {
    let file = path.display().to_string();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {file}"))?;
    let value: Value = serde_json::from_str(&text).with_context(|| {
        format!("{file} is not JSON; was it printed by signalbox-bench --json?")
    })?;
    let run: Run = serde_json::from_value(value.clone())
        .with_context(|| format!("{file} is not a report: signalbox-bench --json prints one"))?;
    let Some(parts) = value.as_object() else { bail!("{file} is not a report") };
    let mut scenarios = BTreeMap::new();
    for (name, part) in parts {
        let scenario = RecordedScenario::new(part);
        if let Some(scenario) = scenario.with_context(|| format!("{file} has a bad {name}"))? {
            scenarios.insert(name.clone(), scenario);
        }
    }
    Ok((RecordedRun { file, run, warned: warned(&value) }, scenarios))
}

/// Number of lists of warnings that are not empty.
fn warned(value: &Value) -> usize {
    match value {
        Value::Array(parts) => parts.iter().map(warned).sum(),
        Value::Object(parts) => {
            let own = parts.get("warnings").and_then(Value::as_array);
            usize::from(own.is_some_and(|it| !it.is_empty()))
                + parts.values().map(warned).sum::<usize>()
        }
        _ => 0,
    }
}

impl RecordedScenario {
    /// `None` if this is not a scenario: it has no rows or no metrics.
    fn new(value: &Value) -> anyhow::Result<Option<Self>> {
        let (Some(rows), Some(metrics)) =
            (value.get("rows").and_then(Value::as_array), value.get("metrics"))
        else {
            return Ok(None);
        };
        let metrics: BTreeMap<String, RecordedMetric> = serde_json::from_value(metrics.clone())?;
        let rows = rows.iter().filter_map(Value::as_object);
        let rows = rows.map(|it| RecordedRow::new(it, &metrics)).collect();
        let failures = value.get("failures").and_then(Value::as_array);
        let failures = failures.into_iter().flatten().filter_map(Value::as_str);
        let failures = failures.map(str::to_owned).collect();
        let parameters = value.as_object().into_iter().flatten();
        let parameters = parameters.filter(|(name, _)| !RESULTS.contains(&name.as_str()));
        let parameters = parameters.map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(Some(Self { parameters, metrics, rows, failures }))
    }

    /// The direction of a metric, if it has one.
    pub(super) fn better(&self, metric: &str) -> Option<Better> {
        self.metrics.get(metric).and_then(|it| it.better)
    }

    /// Parameters that differ.
    pub(super) fn other_parameters(&self, other: &Self) -> Vec<String> {
        let names = self.parameters.keys().chain(other.parameters.keys());
        let names: std::collections::BTreeSet<_> = names.collect();
        let text = |scenario: &Self, name| {
            scenario.parameters.get(name).map_or_else(|| "none".to_owned(), Value::to_string)
        };
        let differs = |it: &&String| self.parameters.get(*it) != other.parameters.get(*it);
        let names = names.into_iter().filter(differs);
        names.map(|it| format!("{it}: {} and {}", text(self, it), text(other, it))).collect()
    }
}

impl RecordedRow {
    fn new(row: &Map<String, Value>, metrics: &BTreeMap<String, RecordedMetric>) -> Self {
        let is_label = |name: &str| name != ROUNDS && !metrics.contains_key(name);
        let label = row.iter().filter(|(name, _)| is_label(name));
        let label = label.map(|(name, value)| match value {
            Value::String(text) => text.clone(),
            Value::Bool(true) => name.clone(),
            Value::Bool(false) => format!("not {name}"),
            value => format!("{name} {value}"),
        });
        let spread = |value: &Value| serde_json::from_value(value.clone()).ok();
        let figures = row.iter().filter(|(name, _)| metrics.contains_key(*name));
        let figures = figures.filter_map(|(name, value)| Some((name.clone(), spread(value)?)));
        Self {
            name: label.collect::<Vec<_>>().join(", "),
            rounds: row.get(ROUNDS).and_then(Value::as_array).map_or(0, Vec::len),
            warned: row.get(ROUNDS).is_some_and(|it| warned(it) > 0),
            figures: figures.collect(),
        }
    }
}

impl RecordedRun {
    /// Reasons not to compare this run with another.
    pub(super) fn warnings(&self, other: &Self) -> Vec<String> {
        let (a, b) = (&self.run, &other.run);
        let mut warnings = Vec::new();
        for (name, side) in [("A", self), ("B", other)] {
            if side.run.debug_build {
                warnings.push(format!("{name} is a debug build: its figures say nothing"));
            }
            if side.run.interrupted {
                warnings.push(format!("{name} was interrupted: some of its rounds are missing"));
            }
            if side.warned > 0 {
                let count = side.warned;
                warnings.push(format!("{name} has measurements with warnings: {count}"));
            }
        }
        for (part, a, b, consequence) in [
            ("machine", &a.machine, &b.machine, ": the figures compare machines, not gateways"),
            ("benchmark", &a.benchmark, &b.benchmark, ": it may measure in another way"),
            ("settings", &a.settings.join(" "), &b.settings.join(" "), ""),
        ] {
            if a != b {
                let [a, b] = [a, b].map(|it| if it.is_empty() { "none" } else { it });
                warnings.push(format!("not the same {part}{consequence}: {a} and {b}"));
            }
        }
        warnings
    }
}

impl std::fmt::Display for RecordedRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.file, self.run)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(row: &Value) -> RecordedRow {
        let metrics = json!({ "p50_ms": { "unit": "ms", "better": "lower" } });
        let metrics = serde_json::from_value(metrics).unwrap();
        RecordedRow::new(row.as_object().unwrap(), &metrics)
    }

    #[test]
    fn a_row_is_named_by_its_label() {
        let spread = json!({ "median": 2.0, "min": 1.0, "max": 3.0 });
        let row = row(&json!({
            "transport": "quic", "sending": false, "clients": 50, "p50_ms": spread,
            "rounds": [{}, {}],
        }));
        assert_eq!(row.name, "clients 50, not sending, quic");
        assert_eq!(row.rounds, 2);
        assert_eq!(row.figures.keys().collect::<Vec<_>>(), ["p50_ms"]);
    }

    #[test]
    fn rows_under_several_rates_are_distinct() {
        let name = |rate: f64| row(&json!({ "transport": "quic", "rate": rate })).name;
        assert_eq!(name(980.0), "rate 980.0, quic");
        assert_ne!(name(980.0), name(7840.0));
    }
}

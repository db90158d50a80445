//! Figures in the JSON of a scenario: which rows it has, and what was measured of them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::run::warned;
use crate::{difference::Better, stats::Spread};

/// Figures of which more is better.
const HIGHER: [&str; 4] =
    ["requests", "deliveries", "deliveries_per_second", "connects_per_second"];

/// Figures of which less is better. So it is with all that end in one of `TIMES`.
const LOWER: [&str; 15] = [
    "kib_per_connection",
    "kernel_kib_per_connection",
    "buffers_kib_per_connection",
    "gateway_kib",
    "gateway_us_per_delivery",
    "gateway_us_per_request",
    "gateway_us_per_connect",
    "late_percent",
    "senders_per_loss",
    "p99_to_control",
    "p99_to_wss",
    "late_to_loss",
    "ratio",
    "ratio_to_control",
    "retries",
];
const TIMES: [&str; 3] = ["_us", "_ms", "_s"];

/// What became of a run, which nobody asked for.
const OUTCOMES: [&str; 2] = ["rows", "failures"];

/// A load that tells rows apart, though it need not be whole.
const RATE: &str = "rate";

/// How late the benchmark itself was is nobody's merit.
const OWN: &str = "lag_";

/// None of what is neither good nor bad, such as how busy a processor was, or is not known here.
pub(super) fn better(figure: &str) -> Option<Better> {
    let is_time = TIMES.iter().any(|it| figure.ends_with(it)) && !figure.starts_with(OWN);
    if HIGHER.contains(&figure) {
        Some(Better::Higher)
    } else if is_time || LOWER.contains(&figure) {
        Some(Better::Lower)
    } else {
        None
    }
}

/// A scenario of a run.
pub(super) struct Scenario {
    /// What was asked for: all but the rows.
    parameters: BTreeMap<String, Value>,
    pub(super) rows: Vec<Row>,
    /// Systems that did not keep up, for which there are no rows, or not of all rounds.
    pub(super) failures: Vec<String>,
}

/// A row of its table.
pub(super) struct Row {
    /// What it is of: its transport, and whatever else tells it from the others.
    pub(super) name: String,
    pub(super) rounds: usize,
    /// Some of its measurements have warnings.
    pub(super) warned: bool,
    pub(super) figures: BTreeMap<String, Spread>,
}

impl Scenario {
    /// None if this is something else than a scenario: it has no rows.
    pub(super) fn new(value: &Value) -> Option<Self> {
        let rows = value.get("rows")?.as_array()?;
        let rows = rows.iter().filter_map(Value::as_object).map(Row::new).collect();
        let failures = value.get("failures").and_then(Value::as_array);
        let failures = failures.into_iter().flatten().filter_map(Value::as_str);
        let failures = failures.map(str::to_owned).collect();
        let parameters = value.as_object()?.iter();
        let parameters = parameters.filter(|(name, _)| !OUTCOMES.contains(&name.as_str()));
        let parameters = parameters.map(|(name, value)| (name.clone(), value.clone())).collect();
        Some(Self { parameters, rows, failures })
    }

    /// What was asked for differently.
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

impl Row {
    fn new(row: &Map<String, Value>) -> Self {
        let names = row.iter().filter_map(|(name, value)| match value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(true) => Some(name.clone()),
            Value::Bool(false) => Some(format!("not {name}")),
            Value::Number(number) if number.is_u64() || name == RATE => {
                Some(format!("{name} {number}"))
            }
            // Figures, and what follows from them.
            _ => None,
        });
        let figures = row.iter().filter_map(|(name, value)| Some((name.clone(), spread(value)?)));
        Self {
            name: names.collect::<Vec<_>>().join(", "),
            rounds: row.get("rounds").and_then(Value::as_array).map_or(0, Vec::len),
            warned: row.get("rounds").is_some_and(|it| warned(it) > 0),
            figures: figures.collect(),
        }
    }
}

fn spread(value: &Value) -> Option<Spread> {
    let part = |name| value.get(name)?.as_f64();
    Some(Spread { median: part("median")?, min: part("min")?, max: part("max")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_way_is_better_is_known_of_what_is_good_or_bad() {
        for name in ["p99_us", "back_ms", "all_back_s", "kib_per_connection", "late_percent"] {
            assert_eq!(better(name), Some(Better::Lower), "{name}");
        }
        assert_eq!(better("requests"), Some(Better::Higher));
        for name in ["gateway_cores", "generator_cores", "lag_p50_us", "answered", "new"] {
            assert_eq!(better(name), None, "{name}");
        }
    }

    #[test]
    fn a_row_is_named_by_what_is_not_measured() {
        let spread = serde_json::json!({ "median": 2.0, "min": 1.0, "max": 3.0 });
        let row = serde_json::json!({
            "transport": "quic", "talking": false, "clients": 50, "p50_ms": spread,
            "noticed_ms": null, "in_round_trips": 1.5, "rounds": [{}, {}],
        });
        let row = Row::new(row.as_object().unwrap());
        assert_eq!(row.name, "clients 50, not talking, quic");
        assert_eq!(row.rounds, 2);
        assert_eq!(row.figures.keys().collect::<Vec<_>>(), ["p50_ms"]);
    }

    #[test]
    fn rows_under_several_rates_are_told_apart() {
        let row = |rate: f64| {
            let row = serde_json::json!({ "transport": "quic", "connections": 50, "rate": rate });
            Row::new(row.as_object().unwrap()).name
        };
        assert_eq!(row(980.0), "connections 50, rate 980.0, quic");
        assert_ne!(row(980.0), row(7840.0));
    }
}

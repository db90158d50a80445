//! A file that `--json` printed: which run it is of, and the scenarios in it.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::figures::Scenario;

/// Which run it is.
#[derive(Debug, Serialize)]
pub(super) struct Side {
    file: String,
    #[serde(flatten)]
    about: About,
    /// Measurements that have warnings of their own.
    warned: usize,
}

/// What a run says of itself; what older ones do not say is empty.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    gateway: String,
    machine: String,
    #[serde(default)]
    benchmark: String,
    #[serde(default)]
    command: String,
    #[serde(default)]
    started: String,
    #[serde(default)]
    settings: Vec<String>,
    #[serde(default)]
    debug_build: bool,
    #[serde(default)]
    interrupted: bool,
}

/// Reads one.
pub(super) fn read(path: &Path) -> anyhow::Result<(Side, BTreeMap<String, Scenario>)> {
    let file = path.display().to_string();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {file}"))?;
    let value: Value = serde_json::from_str(&text).with_context(|| {
        format!("{file} is not JSON; is it what signalbox-bench --json printed?")
    })?;
    let about: About = serde_json::from_value(value.clone())
        .with_context(|| format!("{file} is not a report: signalbox-bench --json prints one"))?;
    let Some(parts) = value.as_object() else { bail!("{file} is not a report") };
    let scenario = |(name, value): (&String, &Value)| Some((name.clone(), Scenario::new(value)?));
    let scenarios = parts.iter().filter_map(scenario).collect();
    Ok((Side { file, about, warned: warned(&value) }, scenarios))
}

/// How many lists of warnings have something in them.
pub(super) fn warned(value: &Value) -> usize {
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

impl Side {
    /// What speaks against comparing this run with another one.
    pub(super) fn warnings(&self, other: &Self) -> Vec<String> {
        let (a, b) = (&self.about, &other.about);
        let mut warnings = Vec::new();
        for (name, side) in [("A", self), ("B", other)] {
            if side.about.debug_build {
                warnings.push(format!("{name} is of a debug build: its figures say nothing"));
            }
            if side.about.interrupted {
                warnings.push(format!("{name} was interrupted: some of its rounds are missing"));
            }
            if side.warned > 0 {
                let count = side.warned;
                warnings.push(format!("{name} has measurements with warnings: {count}"));
            }
        }
        for (what, a, b, so) in [
            ("machine", &a.machine, &b.machine, ": the figures compare machines, not gateways"),
            ("benchmark", &a.benchmark, &b.benchmark, ": it may measure in another way"),
            ("settings", &a.settings.join(" "), &b.settings.join(" "), ""),
        ] {
            if a != b {
                warnings.push(format!(
                    "not the same {what}{so}: {} and {}",
                    or_none(a),
                    or_none(b)
                ));
            }
        }
        warnings
    }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let About { gateway, machine, command, started, .. } = &self.about;
        write!(f, "{}: {gateway}; {machine}", self.file)?;
        for part in [started, command] {
            if !part.is_empty() {
                write!(f, "; {part}")?;
            }
        }
        Ok(())
    }
}

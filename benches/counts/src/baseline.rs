//! What the hot path cost when somebody last looked, and how much more it may cost now.

use std::{env::consts::ARCH, fmt::Write as _, fs, io, path::PathBuf};

use anyhow::{Context as _, bail};

use crate::callgrind::Cost;

/// How much more something may cost, in percent. Runs of one build differ by half a percent, as hash
/// tables are seeded by chance; changes elsewhere in the code have moved a count by less than one.
const TOLERANCE: f64 = 3.0;

/// How to make a new baseline.
const RENEW: &str = "./check --renew-counts";

/// The compiler of this program, and so of what it counts.
const COMPILER: &str = env!("COMPILER");

/// A committed file: for each case a line with its name and its cost for one round.
pub(crate) struct Baseline {
    compiler: String,
    costs: Vec<(String, Cost)>,
}

/// What a comparison says.
pub(crate) struct Comparison {
    /// Every case, as it was and as it is.
    pub(crate) table: String,
    /// What to do about it.
    pub(crate) verdict: String,
    pub(crate) passed: bool,
}

impl Baseline {
    pub(crate) fn new(costs: Vec<(String, Cost)>) -> Self {
        Self { compiler: COMPILER.to_owned(), costs }
    }

    pub(crate) fn costs(&self) -> &[(String, Cost)] {
        &self.costs
    }

    pub(crate) fn read() -> anyhow::Result<Self> {
        let path = path();
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bail!("no baseline for this kind of processor; to make one: {RENEW}")
            }
            text => text.with_context(|| format!("read {}", path.display()))?,
        };
        Self::parse(&text).with_context(|| format!("{}; to renew it: {RENEW}", path.display()))
    }

    pub(crate) fn write(&self) -> anyhow::Result<PathBuf> {
        let path = path();
        fs::write(&path, self.to_text()).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut compiler = String::new();
        let mut costs = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some(value) = line.strip_prefix("compiler ") {
                compiler = value.trim().to_owned();
                continue;
            }
            let mut words = line.split_whitespace();
            let (Some(name), Some(instructions), Some(allocations), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                bail!("not a name and two numbers: {line}");
            };
            let number = |text: &str| text.parse().with_context(|| format!("{line}: {text}"));
            let cost =
                Cost { instructions: number(instructions)?, allocations: number(allocations)? };
            costs.push((name.to_owned(), cost));
        }
        Ok(Self { compiler, costs })
    }

    fn to_text(&self) -> String {
        let mut text = format!(
            "# What the hot path costs: instructions and allocations for one round of each case of cases.rs.\n\
             # Written by {RENEW}. Not to be edited.\n\
             compiler {}\n",
            self.compiler
        );
        for (name, Cost { instructions, allocations }) in &self.costs {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:<26} {instructions:>9.1} {allocations:>6.2}");
        }
        text
    }

    /// Compares with what is counted now.
    pub(crate) fn compare(&self, now: &[(String, Cost)]) -> Comparison {
        let mut table = format!(
            "{:<26} {:>12} {:>9} {:>8}   {:>11} {:>6} {:>8}\n",
            "", "instructions", "now", "change", "allocations", "now", "change"
        );
        let (mut worse, mut better) = (Vec::new(), Vec::new());
        for (name, now) in now {
            let Some((_, was)) = self.costs.iter().find(|(known, _)| known == name) else {
                worse.push(format!("{name} (not in the baseline)"));
                continue;
            };
            let instructions = change(was.instructions, now.instructions);
            let allocations = change(was.allocations, now.allocations);
            table += &format!(
                "{name:<26} {:>12.1} {:>9.1} {instructions:>+6.1} %   {:>11.2} {:>6.2} {allocations:>+6.1} %\n",
                was.instructions, now.instructions, was.allocations, now.allocations
            );
            if instructions.max(allocations) > TOLERANCE {
                worse.push(name.clone());
            } else if instructions.min(allocations) < -TOLERANCE {
                better.push(name.clone());
            }
        }
        let gone = |(name, _): &&(String, Cost)| !now.iter().any(|(now, _)| now == name);
        worse.extend(
            self.costs.iter().filter(gone).map(|(name, _)| format!("{name} (no such case)")),
        );
        let mut verdict = String::new();
        if !better.is_empty() {
            verdict += &format!("much better: {}\n  to keep it so: {RENEW}\n", better.join(", "));
        }
        if !worse.is_empty() {
            verdict += &format!(
                "more than {TOLERANCE} % worse: {}\n  if that must be, say why in the commit with the new baseline: {RENEW}\n",
                worse.join(", ")
            );
        }
        if self.compiler != COMPILER && !verdict.is_empty() {
            verdict += &format!(
                "the baseline is of {}, this is {COMPILER}; that alone may be why\n",
                self.compiler
            );
        }
        Comparison { table, verdict, passed: worse.is_empty() }
    }
}

/// The baseline for this kind of processor, which stands beside the source.
fn path() -> PathBuf {
    let file = format!("baseline-{ARCH}.txt");
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// By how many percent `now` is more than `was`.
fn change(was: f64, now: f64) -> f64 {
    if now == was { 0.0 } else { (now / was - 1.0) * 100.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(costs: &[(&str, f64, f64)]) -> Vec<(String, Cost)> {
        let cost = |&(name, instructions, allocations): &(&str, _, _)| {
            (name.to_owned(), Cost { instructions, allocations })
        };
        costs.iter().map(cost).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let written = Baseline::new(costs(&[("one", 1234.5, 2.0), ("two", 3.0, 0.25)]));
        let read = Baseline::parse(&written.to_text()).unwrap();
        assert_eq!((read.compiler, read.costs), (written.compiler, written.costs));
        assert!(Baseline::parse("one 2").is_err());
        assert!(Baseline::parse("one two three").is_err());
    }

    #[test]
    fn more_than_the_tolerance_fails_and_much_less_is_said() {
        let baseline = Baseline::new(costs(&[("it", 1000.0, 0.0)]));
        let said = |instructions, allocations| {
            let comparison = baseline.compare(&costs(&[("it", instructions, allocations)]));
            (comparison.passed, comparison.verdict.contains("much better"))
        };
        assert_eq!(said(1029.0, 0.0), (true, false));
        assert_eq!(said(1031.0, 0.0), (false, false));
        assert_eq!(said(971.0, 0.0), (true, false));
        assert_eq!(said(969.0, 0.0), (true, true));
        assert_eq!(said(1000.0, 0.1), (false, false), "one that did not allocate, does");
        assert_eq!(
            said(500.0, 1.0),
            (false, false),
            "less of one is no excuse for more of the other"
        );
    }

    #[test]
    fn cases_and_baseline_must_be_the_same_ones() {
        let baseline = Baseline::new(costs(&[("old", 1.0, 0.0), ("both", 1.0, 0.0)]));
        let Comparison { verdict, passed, .. } =
            baseline.compare(&costs(&[("both", 1.0, 0.0), ("new", 1.0, 0.0)]));
        assert!(!passed);
        assert!(verdict.contains("new (not in the baseline), old (no such case)"), "{verdict}");
    }
}

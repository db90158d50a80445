//! The committed costs, and the comparison with them.

use std::{env::consts::ARCH, fs, path::PathBuf};

use anyhow::{Context as _, bail};

use crate::{callgrind::Cost, cases::SAME_COST};

/// The increase that fails, in percent. Runs of one build differ by up to half a percent, as hash
/// tables have random seeds; changes elsewhere in the code have moved a count by less than one.
const TOLERANCE: f64 = 3.0;

const RENEW: &str = "./check --renew-counts";

/// The compiler of this program: another one generates other instructions.
const COMPILER: &str = env!("COMPILER");

/// The contents of `baseline-ARCH.txt`: a line with the compiler, and one for each case.
///
/// It is parsed by hand. A second user of serde_json in this program would change what is inlined
/// in the code that is counted, by up to 5 %.
pub(crate) struct Baseline {
    compiler: String,
    cases: Vec<(String, Cost)>,
}

/// The result of a comparison.
pub(crate) struct CostComparison {
    /// All cases with both costs.
    pub(crate) table: String,
    /// The counts that differ too much, and the remedy; empty if none do.
    pub(crate) verdict: String,
    pub(crate) passed: bool,
}

impl Baseline {
    pub(crate) fn new(costs: &[(&str, Cost)]) -> Self {
        let cases = costs.iter().map(|(name, cost)| ((*name).to_owned(), *cost)).collect();
        Self { compiler: COMPILER.to_owned(), cases }
    }

    pub(crate) fn read() -> anyhow::Result<Self> {
        let path = path();
        let hint = || format!("no usable baseline in {}; to write one: {RENEW}", path.display());
        let text = fs::read_to_string(&path).with_context(hint)?;
        Self::parse(&text).with_context(hint)
    }

    pub(crate) fn write(&self) -> anyhow::Result<PathBuf> {
        let path = path();
        fs::write(&path, self.to_text()).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let compiler = lines.next().and_then(|line| line.strip_prefix("compiler "));
        let compiler = compiler.context("no compiler in the first line")?.to_owned();
        let case = |line: &str| match *line.split_whitespace().collect::<Vec<_>>() {
            [name, instructions, allocations] => {
                let instructions = instructions.parse()?;
                Ok((name.to_owned(), Cost { instructions, allocations: allocations.parse()? }))
            }
            _ => bail!("not a name and two numbers: {line}"),
        };
        Ok(Self { compiler, cases: lines.map(case).collect::<anyhow::Result<_>>()? })
    }

    fn to_text(&self) -> String {
        let mut text = format!(
            "# Instructions and allocations for one round of each case of cases.rs.\n\
             # Written by {RENEW}; not to be edited.\n\
             compiler {}\n",
            self.compiler
        );
        for (name, Cost { instructions, allocations }) in &self.cases {
            text += &format!("{name:<26} {instructions:>9.1} {allocations:>6.2}\n");
        }
        text
    }

    /// Compares costs with the baseline. The table has them in the same order.
    pub(crate) fn compare(&self, costs: &[(&str, Cost)]) -> CostComparison {
        let mut table = format!(
            "{:<26} {:>12} {:>9} {:>8}   {:>11} {:>6} {:>8}\n",
            "", "instructions", "now", "change", "allocations", "now", "change"
        );
        let (mut worse, mut better) = (Vec::new(), Vec::new());
        for (name, now) in costs {
            let Some((_, before)) = self.cases.iter().find(|(known, _)| known == name) else {
                worse.push(format!("{name} (not in the baseline)"));
                continue;
            };
            let instructions = change(before.instructions, now.instructions);
            let allocations = change(before.allocations, now.allocations);
            table += &format!(
                "{name:<26} {:>12.1} {:>9.1} {instructions:>+6.1} %   {:>11.2} {:>6.2} {allocations:>+6.1} %\n",
                before.instructions, now.instructions, before.allocations, now.allocations
            );
            if instructions.max(allocations) > TOLERANCE {
                worse.push((*name).to_owned());
            } else if instructions.min(allocations) < -TOLERANCE {
                better.push(*name);
            }
        }
        let removed = self.cases.iter().map(|(name, _)| name);
        let removed = removed.filter(|name| !costs.iter().any(|(known, _)| known == name));
        worse.extend(removed.map(|name| format!("{name} (no such case)")));
        let cost = |name| Some(costs.iter().find(|(known, _)| *known == name)?.1);
        let (one, other) = SAME_COST;
        if let (Some(a), Some(b)) = (cost(one), cost(other))
            && change(a.instructions, b.instructions).max(change(a.allocations, b.allocations))
                > TOLERANCE
        {
            worse.push(format!("{other} (than {one})"));
        }
        let mut verdict = String::new();
        if !better.is_empty() {
            verdict += &format!("much better: {}\n  to keep it so: {RENEW}\n", better.join(", "));
        }
        if !worse.is_empty() {
            verdict += &format!(
                "over {TOLERANCE} % worse: {}\n  if it has to be, give the reason in the commit with \
                 the new baseline: {RENEW}\n",
                worse.join(", ")
            );
        }
        if self.compiler != COMPILER && !verdict.is_empty() {
            verdict +=
                &format!("the baseline was counted with {}, this with {COMPILER}\n", self.compiler);
        }
        CostComparison { table, verdict, passed: worse.is_empty() }
    }
}

/// The change in percent. Anything more than nothing is infinitely more.
fn change(before: f64, now: f64) -> f64 {
    if now == before { 0.0 } else { (now / before - 1.0) * 100.0 }
}

/// Processors of another kind have other instructions.
fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("baseline-{ARCH}.txt"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(instructions: f64, allocations: f64) -> Cost {
        Cost { instructions, allocations }
    }

    #[test]
    fn a_baseline_is_read_as_it_was_written() {
        let written = Baseline::new(&[("one", cost(1234.5, 2.0)), ("two", cost(3.0, 0.25))]);
        let read = Baseline::parse(&written.to_text()).unwrap();
        assert_eq!((read.compiler, read.cases), (written.compiler, written.cases));
        assert!(Baseline::parse("compiler c\none 2").is_err());
        assert!(Baseline::parse("compiler c\none two three").is_err());
        assert!(Baseline::parse("one 2 3").is_err());
    }

    #[test]
    fn an_increase_over_the_tolerance_fails_and_a_large_decrease_is_reported() {
        let baseline = Baseline::new(&[("it", cost(1000.0, 0.0))]);
        let compare = |instructions, allocations| {
            let comparison = baseline.compare(&[("it", cost(instructions, allocations))]);
            (comparison.passed, comparison.verdict.contains("much better"))
        };
        assert_eq!(compare(1029.0, 0.0), (true, false));
        assert_eq!(compare(1031.0, 0.0), (false, false));
        assert_eq!(compare(971.0, 0.0), (true, false));
        assert_eq!(compare(969.0, 0.0), (true, true));
        assert_eq!(compare(1000.0, 0.1), (false, false), "it did not allocate before");
        assert_eq!(compare(500.0, 1.0), (false, false), "one does not make up for the other");
    }

    #[test]
    fn a_cluster_costs_a_session_on_one_gateway_nothing() {
        let (alone, in_cluster) = SAME_COST;
        let passed = |instructions, allocations| {
            let costs = [(alone, cost(1000.0, 1.0)), (in_cluster, cost(instructions, allocations))];
            Baseline::new(&costs).compare(&costs).passed
        };
        assert!(passed(1029.0, 1.0));
        assert!(!passed(1031.0, 1.0));
        assert!(!passed(1000.0, 1.1));
    }

    #[test]
    fn cases_must_be_those_of_the_baseline() {
        let baseline = Baseline::new(&[("old", cost(1.0, 0.0)), ("both", cost(1.0, 0.0))]);
        let CostComparison { verdict, passed, .. } =
            baseline.compare(&[("both", cost(1.0, 0.0)), ("new", cost(1.0, 0.0))]);
        assert!(!passed);
        assert!(verdict.contains("new (not in the baseline), old (no such case)"), "{verdict}");
    }
}

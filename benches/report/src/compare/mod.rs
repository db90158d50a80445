//! The comparison of two runs, metric by metric.
//!
//! Compared is the JSON of `--json`, not our types, so that other versions of the benchmark can be
//! compared by the metrics that both have. The JSON says which figures are metrics and in which
//! direction they improve. The separation test decides whether a difference counts, and scenarios
//! with different parameters are not compared.

mod recorded;

use std::{fmt::Write as _, path::Path};

use serde::Serialize;
use signalbox_protocol::Printable;

use self::recorded::{RecordedRow, RecordedRun, RecordedScenario};
use crate::{
    Better, Figure, Separation, Spread, Table,
    report::{WARNINGS, list},
};

/// Two runs side by side.
#[derive(Debug, Serialize)]
pub struct RunComparison {
    a: RecordedRun,
    b: RecordedRun,
    /// Reasons not to compare them at all.
    warnings: Vec<String>,
    /// Parts that only one of them has, or that have different parameters.
    not_compared: Vec<String>,
    figures: Vec<ComparedFigure>,
    /// Number of figures that the separation test would separate by chance if nothing differed.
    expected_by_chance: f64,
}

/// A figure that both runs have.
#[derive(Debug, Serialize)]
struct ComparedFigure {
    scenario: String,
    row: String,
    figure: String,
    a: Spread,
    b: Spread,
    /// Rounds of A and of B.
    rounds: [usize; 2],
    /// The median of B as a multiple of A's; none if that is zero, or one of them is negative.
    ratio: Option<f64>,
    difference: Separation,
    /// The direction in which the figure improves, if it has one.
    better: Option<Better>,
    /// Some of the measurements have warnings.
    warned: bool,
    /// The verdict in words.
    verdict: &'static str,
}

impl RunComparison {
    /// Compares two files.
    ///
    /// # Errors
    /// If a file cannot be read or was not printed by `--json`, or if they have no figure in
    /// common.
    pub fn of(path_a: &Path, path_b: &Path) -> anyhow::Result<Self> {
        let [(a, in_a), (b, in_b)] = [recorded::read(path_a)?, recorded::read(path_b)?];
        let warnings = a.warnings(&b);
        let (mut not_compared, mut figures) = (Vec::new(), Vec::new());
        for name in in_b.keys().filter(|it| !in_a.contains_key(*it)) {
            not_compared.push(format!("{name}: only in B"));
        }
        for (name, a) in &in_a {
            let Some(b) = in_b.get(name) else {
                not_compared.push(format!("{name}: only in A"));
                continue;
            };
            let others = a.other_parameters(b);
            if !others.is_empty() {
                let others = others.join(", ");
                not_compared.push(format!("{name}: not with the same parameters ({others})"));
                continue;
            }
            compare_scenario(name, a, b, &mut figures, &mut not_compared);
        }
        anyhow::ensure!(
            !figures.is_empty(),
            "{} and {} have no figure in common: {}",
            path_a.display(),
            path_b.display(),
            if not_compared.is_empty() {
                "neither has any".into()
            } else {
                not_compared.join("; ")
            }
        );
        let tested = figures.iter().filter(|it| it.difference != Separation::NotKnown);
        let by_chance = |it: &ComparedFigure| Separation::by_chance(it.rounds[0], it.rounds[1]);
        let expected_by_chance = tested.map(by_chance).fold(0.0, std::ops::Add::add);
        Ok(Self { a, b, warnings, not_compared, figures, expected_by_chance })
    }
}

/// All rows that both runs have.
fn compare_scenario(
    name: &str,
    a: &RecordedScenario,
    b: &RecordedScenario,
    figures: &mut Vec<ComparedFigure>,
    not_compared: &mut Vec<String>,
) {
    for (side, scenario) in [("A", a), ("B", b)] {
        let failed = scenario.failures.iter();
        not_compared.extend(failed.map(|it| format!("{name}: failed in {side}: {it}")));
    }
    let only = |side: &str, rows: &[RecordedRow], in_rows: &[RecordedRow]| -> Vec<String> {
        let is_missing = |it: &&RecordedRow| in_rows.iter().all(|other| other.name != it.name);
        let missing = rows.iter().filter(is_missing);
        missing.map(|it| format!("{name}: {}: only in {side}", it.name)).collect()
    };
    not_compared.extend(only("A", &a.rows, &b.rows));
    not_compared.extend(only("B", &b.rows, &a.rows));
    for row in &a.rows {
        let Some(other) = b.rows.iter().find(|it| it.name == row.name) else { continue };
        let missing = |key: &str, side| format!("{name}: {}: {key}: only in {side}", row.name);
        for (key, spread) in &row.figures {
            let better = b.better(key).or(a.better(key));
            match other.figures.get(key) {
                Some(spread_b) => {
                    let compared = ComparedFigure::new(
                        (name, key, better),
                        (row, *spread),
                        (other, *spread_b),
                    );
                    figures.push(compared);
                }
                None => not_compared.push(missing(key, "A")),
            }
        }
        let only_b = other.figures.keys().filter(|it| !row.figures.contains_key(*it));
        not_compared.extend(only_b.map(|it| missing(it, "B")));
    }
}

impl ComparedFigure {
    fn new(
        (scenario, key, better): (&str, &str, Option<Better>),
        (row_a, a): (&RecordedRow, Spread),
        (row_b, b): (&RecordedRow, Spread),
    ) -> Self {
        let figure = |spread, rounds| Figure { spread, rounds };
        let difference = Separation::of(figure(a, row_a.rounds), figure(b, row_b.rounds));
        Self {
            scenario: scenario.to_owned(),
            row: row_a.name.clone(),
            figure: key.to_owned(),
            a,
            b,
            rounds: [row_a.rounds, row_b.rounds],
            // A multiple of a negative value (a difference of two looks) says nothing.
            ratio: (a.median > 0.0 && b.median >= 0.0).then(|| b.median / a.median),
            difference,
            better,
            warned: row_a.warned || row_b.warned,
            verdict: verdict(difference, better, b.median < a.median),
        }
    }
}

fn verdict(difference: Separation, better: Option<Better>, is_less: bool) -> &'static str {
    match (difference, better) {
        (Separation::NotKnown, _) => "one round: noise not known",
        (Separation::WithinTheNoise, _) => "within the noise",
        (Separation::BeyondTheRounds, None) if is_less => "lower",
        (Separation::BeyondTheRounds, None) => "higher",
        (Separation::BeyondTheRounds, Some(better)) => match (better, is_less) {
            (Better::Lower, true) => "lower: better",
            (Better::Lower, false) => "higher: worse",
            (Better::Higher, true) => "lower: worse",
            (Better::Higher, false) => "higher: better",
        },
    }
}

impl RunComparison {
    /// For a terminal, in Markdown.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, side) in [("A", &self.a), ("B", &self.b)] {
            let _ = writeln!(text, "{name}: {}", Printable(side));
        }
        for scenario in self.figures.chunk_by(|a, b| a.scenario == b.scenario) {
            let Some(first) = scenario.first() else { continue };
            let head = ["row: figure", "A", "B", "B ÷ A", "difference"];
            let mut table = Table::new(&first.scenario, head);
            for it in scenario {
                let digits = if it.a.median.max(it.b.median) >= 100.0 { 0 } else { 2 };
                table.row([
                    format!("{}: {}", it.row, it.figure),
                    it.a.text(digits),
                    it.b.text(digits),
                    it.ratio.map(|it| format!("{it:.2}")).unwrap_or_default(),
                    format!("{}{}", it.verdict, if it.warned { " (with warnings)" } else { "" }),
                ]);
            }
            let _ = write!(text, "\n{}", table.markdown());
        }
        list(&mut text, "Not compared", &self.not_compared);
        list(&mut text, WARNINGS, &self.warnings);
        let _ = writeln!(text, "\n{}", self.summary());
        text
    }

    fn summary(&self) -> String {
        let count =
            |difference| self.figures.iter().filter(|it| it.difference == difference).count();
        let [beyond, within, not_known] =
            [Separation::BeyondTheRounds, Separation::WithinTheNoise, Separation::NotKnown]
                .map(count);
        let mut text = format!(
            "{} figures: {beyond} differ by more than their rounds do (every round of one is below\n\
             every round of the other), {within} do not.",
            self.figures.len(),
        );
        if not_known > 0 {
            let _ = write!(text, " {not_known} have a single round: their noise is not known.");
        }
        if not_known == self.figures.len() {
            return text;
        }
        let _ = write!(
            text,
            "\nIf nothing differed, about {:.1} would differ by chance; more rounds (--repeat) reduce\n\
             that. Figures of the same program change by a quarter from one hour to the next: run A and\n\
             B in turn, several times, before you rely on a difference.",
            self.expected_by_chance,
        );
        text
    }
}

#[cfg(test)]
mod tests;

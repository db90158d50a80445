//! `compare`: two runs of the benchmark, figure by figure.
//!
//! What is compared is the JSON of `--json`, not our types, so that runs of other versions of the
//! benchmark can be read as far as they have the same figures. Whether a difference counts is the
//! rule of `difference`, and nothing is compared that was asked for differently.

mod figures;
mod run;

use std::{fmt::Write as _, path::PathBuf};

use serde::Serialize;
use signalbox_protocol::Printable;

use self::{figures::Row, run::Side};
use crate::{
    difference::{Better, Difference},
    report::{Table, with_spread},
};

/// Sets two runs of the benchmark side by side: what `--json` printed before, and after.
#[derive(Debug, Clone, clap::Args)]
pub struct Compare {
    /// The run to compare with.
    #[arg(value_name = "A.json")]
    a: PathBuf,
    /// The run that is compared.
    #[arg(value_name = "B.json")]
    b: PathBuf,
}

/// Two runs side by side.
#[derive(Debug, Serialize)]
pub struct Comparison {
    a: Side,
    b: Side,
    /// What speaks against comparing them at all.
    warnings: Vec<String>,
    /// What only one of them has, or has in another way.
    not_compared: Vec<String>,
    figures: Vec<Compared>,
    /// How many of the figures would be beyond their rounds by chance, were nothing different.
    expected_by_chance: f64,
}

/// A figure that both runs have.
#[derive(Debug, Serialize)]
struct Compared {
    scenario: String,
    row: String,
    figure: String,
    /// The median and the extremes of the rounds.
    a: crate::stats::Spread,
    b: crate::stats::Spread,
    /// How many there were.
    rounds: [usize; 2],
    /// The median of B as a multiple of that of A; none if that is zero, or one of them is below.
    ratio: Option<f64>,
    difference: Difference,
    /// Which way is better; none if that cannot be said.
    better: Option<Better>,
    /// Some of the measurements have warnings.
    warned: bool,
    /// All that in a word.
    verdict: &'static str,
}

impl Compare {
    /// Compares.
    ///
    /// # Errors
    /// If a file cannot be read, or is not what `--json` prints, or if they have no figure in common.
    pub fn run(&self) -> anyhow::Result<Comparison> {
        let [(a, in_a), (b, in_b)] = [run::read(&self.a)?, run::read(&self.b)?];
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
            let only = |side: &str, rows: &[Row], in_rows: &[Row]| -> Vec<String> {
                let is_missing = |it: &&Row| in_rows.iter().all(|other| other.name != it.name);
                let missing = rows.iter().filter(is_missing);
                missing.map(|it| format!("{name}: {}: only in {side}", it.name)).collect()
            };
            for (side, scenario) in [("A", a), ("B", b)] {
                let failed = scenario.failures.iter();
                not_compared.extend(failed.map(|it| format!("{name}: failed in {side}: {it}")));
            }
            not_compared.extend(only("A", &a.rows, &b.rows));
            not_compared.extend(only("B", &b.rows, &a.rows));
            for row in &a.rows {
                if let Some(other) = b.rows.iter().find(|it| it.name == row.name) {
                    compare(name, row, other, &mut figures, &mut not_compared);
                }
            }
        }
        anyhow::ensure!(
            !figures.is_empty(),
            "{} and {} have no figure in common: {}",
            self.a.display(),
            self.b.display(),
            if not_compared.is_empty() {
                "neither has any".into()
            } else {
                not_compared.join("; ")
            }
        );
        let told = figures.iter().filter(|it| it.difference != Difference::NotKnown);
        let by_chance = |it: &Compared| Difference::by_chance(it.rounds[0], it.rounds[1]);
        let expected_by_chance = told.map(by_chance).fold(0.0, std::ops::Add::add);
        Ok(Comparison { a, b, warnings, not_compared, figures, expected_by_chance })
    }
}

/// All figures that both rows have.
fn compare(
    scenario: &str,
    a: &Row,
    b: &Row,
    figures: &mut Vec<Compared>,
    not_compared: &mut Vec<String>,
) {
    let missing = |name: &str, side| format!("{scenario}: {}: {name}: only in {side}", a.name);
    for (name, spread) in &a.figures {
        let Some(other) = b.figures.get(name) else {
            not_compared.push(missing(name, "A"));
            continue;
        };
        let figure = |spread, rounds| crate::difference::Figure { spread, rounds };
        let difference = Difference::of(figure(*spread, a.rounds), figure(*other, b.rounds));
        let better = figures::better(name);
        let is_less = other.median < spread.median;
        figures.push(Compared {
            scenario: scenario.to_owned(),
            row: a.name.clone(),
            figure: name.clone(),
            a: *spread,
            b: *other,
            rounds: [a.rounds, b.rounds],
            // Of what can be below zero, as a difference of two looks, a multiple says nothing.
            ratio: (spread.median > 0.0 && other.median >= 0.0)
                .then(|| other.median / spread.median),
            difference,
            better,
            warned: a.warned || b.warned,
            verdict: verdict(difference, better, is_less),
        });
    }
    let only_b = b.figures.keys().filter(|it| !a.figures.contains_key(*it));
    not_compared.extend(only_b.map(|it| missing(it, "B")));
}

fn verdict(difference: Difference, better: Option<Better>, is_less: bool) -> &'static str {
    match (difference, better) {
        (Difference::NotKnown, _) => "one round: noise not known",
        (Difference::WithinTheNoise, _) => "within the noise",
        (Difference::BeyondTheRounds, None) if is_less => "lower",
        (Difference::BeyondTheRounds, None) => "higher",
        (Difference::BeyondTheRounds, Some(better)) => match (better, is_less) {
            (Better::Lower, true) => "lower: better",
            (Better::Lower, false) => "higher: worse",
            (Better::Higher, true) => "lower: worse",
            (Better::Higher, false) => "higher: better",
        },
    }
}

impl Comparison {
    /// For a terminal, in Markdown.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, side) in [("A", &self.a), ("B", &self.b)] {
            let _ = writeln!(text, "{name}: {}", Printable(side));
        }
        for scenario in self.figures.chunk_by(|a, b| a.scenario == b.scenario) {
            let Some(first) = scenario.first() else { continue };
            let mut table = Table::new(&first.scenario);
            table.row(["row: figure", "A", "B", "B ÷ A", "difference"]);
            for it in scenario {
                let digits = if it.a.median.max(it.b.median) >= 100.0 { 0 } else { 2 };
                table.row([
                    &format!("{}: {}", it.row, it.figure),
                    &with_spread(it.a, digits),
                    &with_spread(it.b, digits),
                    &it.ratio.map(|it| format!("{it:.2}")).unwrap_or_default(),
                    &format!("{}{}", it.verdict, if it.warned { " (with warnings)" } else { "" }),
                ]);
            }
            let _ = write!(text, "\n{}", table.markdown());
        }
        list(&mut text, "Not compared:", &self.not_compared);
        list(&mut text, "Not to be trusted without a second look:", &self.warnings);
        let _ = writeln!(text, "\n{}", self.summary());
        text
    }

    fn summary(&self) -> String {
        let count =
            |difference| self.figures.iter().filter(|it| it.difference == difference).count();
        let [beyond, within, not_known] =
            [Difference::BeyondTheRounds, Difference::WithinTheNoise, Difference::NotKnown]
                .map(count);
        let mut text = format!(
            "{} figures: {beyond} differ by more than their rounds do (every round of the one is below\n\
             every round of the other), {within} do not.",
            self.figures.len(),
        );
        if not_known > 0 {
            let _ = write!(text, " Of {not_known} there was a single round: noise is not known.");
        }
        if not_known == self.figures.len() {
            return text;
        }
        let _ = write!(
            text,
            "\nWere nothing different, about {:.1} would differ by chance; more rounds (--repeat) make that\n\
             less. Two runs are two hours, and the same program moves by a quarter from one hour to the\n\
             next: run A and B in turn, several times, before you believe it.",
            self.expected_by_chance,
        );
        text
    }
}

fn list(text: &mut String, title: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{title}\n");
    for item in items {
        let _ = writeln!(text, "- {}", Printable(item));
    }
}

#[cfg(test)]
mod tests;

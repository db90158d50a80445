//! The order of measurements: round after round, every second one in reverse.

use signalbox_loadgen::output::note;
use signalbox_report::{Label, Round as _, Row};

use super::{Outcome, Scenario};
use crate::Bench;

impl<S: Scenario> Outcome<S> {
    /// Measures each row once in each round.
    pub(super) async fn measure(
        scenario: &S,
        bench: &Bench,
        repeat: usize,
        labels: Vec<S::Label>,
        measure: impl AsyncFn(&S::Label, usize) -> anyhow::Result<S::Round>,
    ) -> anyhow::Result<Self> {
        let groups = (0..labels.len()).map(|it| vec![it]).collect();
        let each = async |labels: &[S::Label], round| {
            let mut measured = Vec::new();
            for label in labels {
                measured.push(measure(label, round).await?);
            }
            Ok(measured)
        };
        Self::measure_groups(scenario, bench, repeat, (labels, groups), each).await
    }

    /// Measures groups of rows, those of one group at the same time. Every second round runs in
    /// reverse, so that a machine that becomes slower or faster does so for all rows alike.
    pub(super) async fn measure_groups(
        scenario: &S,
        bench: &Bench,
        repeat: usize,
        (labels, groups): (Vec<S::Label>, Vec<Vec<usize>>),
        measure: impl AsyncFn(&[S::Label], usize) -> anyhow::Result<Vec<S::Round>>,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(repeat > 0, "--repeat must be at least 1");
        let rows = labels.into_iter().map(|label| Row { label, rounds: Vec::new() }).collect();
        let mut all = Self { scenario: scenario.clone(), rows, failures: Vec::new() };
        'rounds: for round in 0..repeat {
            for group in in_order(&groups, round) {
                let labels: Vec<_> =
                    group.iter().filter_map(|it| Some(all.rows.get(*it)?.label.clone())).collect();
                let measured = bench.unless_interrupted(measure(&labels, round)).await;
                match measured {
                    Ok(None) => break 'rounds,
                    Ok(Some(measured)) => all.record(group, measured, round, repeat),
                    Err(error) if labels.iter().any(Label::may_fail) => {
                        all.fail(&labels, &error, round, repeat);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        all.rows.retain(|it| !it.rounds.is_empty());
        Ok(all)
    }

    fn record(&mut self, group: &[usize], measured: Vec<S::Round>, round: usize, repeat: usize) {
        for (index, measured) in group.iter().zip(measured) {
            let Some(row) = self.rows.get_mut(*index) else { continue };
            note(format_args!(
                "{} {}/{repeat}  {:<40} {}",
                S::NAME,
                round + 1,
                row.label.title(),
                measured.progress()
            ));
            for warning in measured.warnings() {
                note(format_args!("  warning: {warning}"));
            }
            row.rounds.push(measured);
        }
    }

    /// Records a failure as a result, for another system that cannot keep up.
    fn fail(&mut self, labels: &[S::Label], error: &anyhow::Error, round: usize, repeat: usize) {
        let titles: Vec<_> = labels.iter().map(Label::title).collect();
        let (title, error) = (titles.join(", "), format!("{error:#}"));
        let why = error.lines().next().unwrap_or_default();
        note(format_args!("{} {}/{repeat}  {title}: {why}", S::NAME, round + 1));
        self.failures.push(format!("{title}, round {}: {why}", round + 1));
    }
}

/// The order of a round.
pub(super) fn in_order<T>(items: &[T], round: usize) -> Vec<&T> {
    let mut items: Vec<_> = items.iter().collect();
    if !round.is_multiple_of(2) {
        items.reverse();
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_round_runs_backwards() {
        assert_eq!(in_order(&[1, 2, 3], 0), [&1, &2, &3]);
        assert_eq!(in_order(&[1, 2, 3], 1), [&3, &2, &1]);
    }
}

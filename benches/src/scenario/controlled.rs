//! Signals beside an attack, and beside its control: the same attack, at the same time, on another
//! gateway. An attack takes processor time from the measuring machine, which its control takes as well.

use signalbox_loadgen::load::Measured;
use signalbox_report::{Chart, Label, Metric, NamedRounds, Palette, QuantilePoint, Round, Row};

use super::{Outcome, Scenario};

/// The label of a row that may have a control.
pub(super) trait ControlledLabel: Label + PartialEq + Sized {
    /// The row that loads the machine in the same way, and not the gateway.
    fn control(&self) -> Option<Self>;
}

/// A round of signals beside an attack or its control.
pub(super) trait ControlledRound: Round + Sized {
    const P50: Metric<Self> =
        Metric::lower("p50_us", "µs", |it| Some(it.signals().latency_us.p50));
    const P99: Metric<Self> =
        Metric::lower("p99_us", "µs", |it| Some(it.signals().latency_us.p99));
    /// The p99 of each round as a multiple of its control's.
    const P99_TO_CONTROL: Metric<Self> =
        Metric::lower("p99_to_control", "×", ControlledRound::p99_to_control);
    const LAG: Metric<Self> =
        Metric::neutral("lag_p99_us", "µs", |it| Some(it.signals().lag_us.p99));
    const GATEWAY: Metric<Self> =
        Metric::neutral("gateway_cores", "cores", |it| it.signals().gateway_cores);

    /// The measured signals.
    fn signals(&self) -> &Measured;

    /// The p99 as a multiple of the control's in the same round.
    fn p99_to_control(&self) -> Option<f64>;

    fn set_p99_to_control(&mut self, ratio: f64);
}

/// Compares each attack with its own control, round by round.
pub(super) fn compare_with_controls<L: ControlledLabel, R: ControlledRound>(
    rows: &mut [Row<L, R>],
) {
    let p99s = |row: &Row<L, R>| -> Vec<f64> {
        row.rounds.iter().map(|it| it.signals().latency_us.p99).collect()
    };
    let known: Vec<_> = rows.iter().map(p99s).collect();
    let position = |label: &L| rows.iter().position(|row| row.label == *label);
    let controls: Vec<_> = rows.iter().map(|row| position(&row.label.control()?)).collect();
    for (row, control) in rows.iter_mut().zip(controls) {
        let Some(p99s) = control.and_then(|it| known.get(it)) else { continue };
        for (round, control) in row.rounds.iter_mut().zip(p99s) {
            round.set_p99_to_control(round.signals().latency_us.p99 / control);
        }
    }
}

/// The latency of signals by percentile: a chart for each group, with a curve for each row.
pub(super) fn latency_charts<S: Scenario<Round: ControlledRound>>(
    outcome: &Outcome<S>,
    titles: impl IntoIterator<Item = String>,
) -> Vec<Option<Chart>> {
    let palette = Palette::of(titles);
    let charts = outcome.groups().into_iter().map(|(group, rows)| {
        let curves: Vec<_> = rows.into_iter().map(curve).collect();
        Chart::percentiles(&format!("Latency by percentile: {group}"), &palette, &curves)
    });
    charts.collect()
}

/// The latency of signals by percentile, in each round.
fn curve<L: Label, R: ControlledRound>(row: &Row<L, R>) -> NamedRounds<'_, QuantilePoint> {
    let rounds = row.rounds.iter().map(|it| it.signals().curve.as_slice()).collect();
    NamedRounds { name: row.label.member(), rounds }
}

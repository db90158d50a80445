//! Scenarios with signals at a fixed rate (`latency`, `fanout`, `mesh`): their rows, figures and
//! charts.

use serde::Serialize;
use signalbox_loadgen::{
    files::allow_files,
    load::{self, Load, Measured},
    system::System,
};
use signalbox_netem::Impairment;
use signalbox_report::{Chart, Column, Contender, Label, Metric};

use super::{Outcome, Scenario};
use crate::Bench;

pub(super) const CPU: Metric<Measured> =
    Metric::lower("gateway_us_per_delivery", "µs", |it| it.gateway_us_per_delivery);
pub(super) const P50: Metric<Measured> =
    Metric::lower("p50_us", "µs", |it| Some(it.latency_us.p50));
pub(super) const P90: Metric<Measured> =
    Metric::lower("p90_us", "µs", |it| Some(it.latency_us.p90));
pub(super) const P99: Metric<Measured> =
    Metric::lower("p99_us", "µs", |it| Some(it.latency_us.p99));
pub(super) const P999: Metric<Measured> =
    Metric::lower("p999_us", "µs", |it| Some(it.latency_us.p999));
pub(super) const MAX: Metric<Measured> =
    Metric::lower("max_us", "µs", |it| Some(it.latency_us.max));
pub(super) const QUIET_P99: Metric<Measured> =
    Metric::lower("quiet_p99_us", "µs", |it| it.quiet_us.map(|us| us.p99));
/// The lateness of the generator itself.
pub(super) const LAG: Metric<Measured> =
    Metric::neutral("lag_p50_us", "µs", |it| Some(it.lag_us.p50));
pub(super) const GENERATOR: Metric<Measured> =
    Metric::neutral("generator_cores", "cores", |it| Some(it.generator_cores));

/// A system under a load.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LoadLabel {
    #[serde(rename = "transport")]
    pub(super) system: System,
    /// Connections at the target.
    pub(super) connections: usize,
    /// Signals per second, of all senders together.
    pub(super) rate: f64,
    /// Distinguishes its load from those of other rows; empty if all have the same.
    #[serde(skip)]
    pub(super) variant: String,
    /// The load in the summary of a run.
    #[serde(skip)]
    pub(super) load_name: String,
    #[serde(skip)]
    pub(super) load: Load,
}

impl Label for LoadLabel {
    fn title(&self) -> String {
        format!("{}{}", self.system.title(), self.variant)
    }

    fn group(&self) -> String {
        self.variant.trim_start_matches(", ").to_owned()
    }

    fn member(&self) -> String {
        self.system.title()
    }

    fn summary(&self) -> Option<(Contender, String, String)> {
        Some((self.system.contender()?, self.system.title(), self.load_name.clone()))
    }

    /// Whether failure is a result, as for another system that cannot keep up.
    fn may_fail(&self) -> bool {
        matches!(self.system, System::Peer(_))
    }
}

impl LoadLabel {
    /// A row for each load and system. A load has a name, which rows show if there are several.
    pub(super) fn all(systems: &[System], loads: &[(Load, String)]) -> Vec<Self> {
        let label = |system: &System, (load, name): &(Load, String)| Self {
            system: system.clone(),
            connections: load.connections,
            rate: load.rate,
            variant: if loads.len() > 1 { name.clone() } else { String::new() },
            load_name: name.clone(),
            load: *load,
        };
        let of = |it| systems.iter().map(move |system| label(system, it));
        loads.iter().flat_map(of).collect()
    }
}

/// Measures rows, each with a process and a network of its own.
pub(super) async fn run<S: Scenario<Label = LoadLabel, Round = Measured>>(
    scenario: &S,
    bench: &Bench,
    repeat: usize,
    labels: Vec<LoadLabel>,
    network: Impairment,
) -> anyhow::Result<Outcome<S>> {
    anyhow::ensure!(labels.iter().all(|it| it.rate > 0.0), "the rate must be above 0");
    let most = labels.iter().map(|it| it.connections).max().unwrap_or_default();
    allow_files(most as u64 + 100)?;
    let measure = async |it: &LoadLabel, _| once(bench, &it.system, &it.load, network).await;
    Outcome::measure(scenario, bench, repeat, labels, measure).await
}

/// One measurement, with everything its own.
pub(super) async fn once(
    bench: &Bench,
    system: &System,
    load: &Load,
    network: Impairment,
) -> anyhow::Result<Measured> {
    let emulation = network.start()?;
    let running = system.start(&bench.launcher, emulation.as_ref()).await?;
    let inside = emulation.as_ref().map(|it| it.client().enter()).transpose()?;
    let target = running.target().await?;
    let load = Load { connections: system.connections(load.connections), ..*load };
    let measured = load::measure(target, running.processes(), &load, &[]).await?;
    drop(inside);
    running.stop().await?;
    Ok(measured)
}

/// In a title; empty for the plain loopback.
pub(super) fn over(network: Impairment) -> String {
    let words = network.to_string();
    if words.is_empty() { words } else { format!(", over a network with {words}") }
}

/// The columns of loads with many receivers.
pub(super) fn columns(has_hot: bool) -> Vec<Column<LoadLabel, Measured>> {
    let quiet = has_hot.then(|| Column::spread("p99 µs of the quiet", &QUIET_P99, 0));
    let first = [
        Column::title("transport"),
        Column::spread("p50 µs", &P50, 0),
        Column::spread("p99 µs", &P99, 0),
    ];
    let last = [
        Column::spread("gateway CPU µs per delivery", &CPU, 2),
        Column::percent("generator's use of its thread", &GENERATOR),
    ];
    first.into_iter().chain(quiet).chain(last).collect()
}

pub(super) fn charts<S>(outcome: &Outcome<S>) -> Vec<Chart>
where
    S: Scenario<Label = LoadLabel, Round = Measured>,
{
    let charts = [
        outcome.percentiles("Latency by percentile", |it| &it.curve),
        outcome.bars("Processor time per delivery", &CPU),
        outcome.bars("p99 of the quiet senders' signals", &QUIET_P99),
    ];
    let over_time = Chart::timelines("Over time", &outcome.parts(|it| &it.timeline));
    charts.into_iter().flatten().chain(over_time).collect()
}

/// Figures of the summary.
pub(super) const RELATIVE: &[(&str, Metric<Measured>)] =
    &[("p50", P50), ("p99", P99), ("p99 of the quiet", QUIET_P99), ("CPU per delivery", CPU)];

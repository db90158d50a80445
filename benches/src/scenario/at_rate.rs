//! Scenarios with signals at a fixed rate (`latency`, `fanout`, `mesh`): their rows, figures and
//! charts.

use serde::Serialize;
use signalbox_loadgen::{
    files::allow_files,
    load::{self, Load, Measured},
    system::System,
};
use signalbox_netem::Impairment;
use signalbox_report::{Better, Chart, Label, Metric, NamedRounds, RelativeFigure, Row, Table};

use super::{Outcome, Scenario, SummaryEntry, outcome::named, rounds::Measuring};
use crate::Bench;

pub(super) const CPU: Metric<Measured> =
    Metric::lower("gateway_us_per_delivery", "µs", |it: &Measured| it.gateway_us_per_delivery);
pub(super) const P50: Metric<Measured> =
    Metric::lower("p50_us", "µs", |it: &Measured| Some(it.latency_us.p50));
pub(super) const P90: Metric<Measured> =
    Metric::lower("p90_us", "µs", |it: &Measured| Some(it.latency_us.p90));
pub(super) const P99: Metric<Measured> =
    Metric::lower("p99_us", "µs", |it: &Measured| Some(it.latency_us.p99));
pub(super) const P999: Metric<Measured> =
    Metric::lower("p999_us", "µs", |it: &Measured| Some(it.latency_us.p999));
pub(super) const MAX: Metric<Measured> =
    Metric::lower("max_us", "µs", |it: &Measured| Some(it.latency_us.max));
pub(super) const QUIET_P99: Metric<Measured> =
    Metric::lower("quiet_p99_us", "µs", |it: &Measured| it.quiet_us.map(|us| us.p99));
/// The lateness of the generator itself.
pub(super) const LAG: Metric<Measured> =
    Metric::neutral("lag_p50_us", "µs", |it: &Measured| Some(it.lag_us.p50));
pub(super) const GENERATOR: Metric<Measured> =
    Metric::neutral("generator_cores", "cores", |it: &Measured| Some(it.generator_cores));
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

    pub(super) fn summary(&self) -> Option<SummaryEntry> {
        Some((self.system.contender()?, self.system.title(), self.load_name.clone()))
    }

    /// That another system cannot keep up is a result.
    pub(super) fn may_fail(&self) -> bool {
        matches!(self.system, System::Peer(_))
    }
}

/// The common parameters of these scenarios.
#[derive(Debug, Serialize)]
pub(crate) struct LoadParameters {
    /// Connections and rate that all rows have in common, in words.
    pub(super) load: String,
    /// Hot senders of a mesh; `None` if all senders are alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hot_senders: Option<usize>,
    /// Length of a measurement.
    pub(super) seconds: f64,
    /// The network between gateway and clients.
    pub(super) network: Impairment,
}

/// Measures rows, each with a process and a network of its own.
pub(super) async fn run<S>(
    bench: &Bench,
    repeat: usize,
    labels: Vec<LoadLabel>,
    parameters: LoadParameters,
) -> anyhow::Result<Outcome<S>>
where
    S: Scenario<Label = LoadLabel, Round = Measured, Parameters = LoadParameters>,
{
    anyhow::ensure!(labels.iter().all(|it| it.rate > 0.0), "the rate must be above 0");
    let most = labels.iter().map(|it| it.connections).max().unwrap_or_default();
    allow_files(most as u64 + 100)?;
    let network = parameters.network;
    let Measuring { rows, failures } =
        Measuring::<S>::rows(bench, repeat, labels, async |it, _| {
            once(bench, &it.system, &it.load, network).await
        })
        .await?;
    Ok(Outcome { parameters, rows, failures })
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
    let measured = load::measure(target, running.process(), &load, &[]).await?;
    drop(inside);
    running.stop().await?;
    Ok(measured)
}

/// In a title; empty for the plain loopback.
pub(super) fn over(network: Impairment) -> String {
    let words = network.to_string();
    if words.is_empty() { words } else { format!(", over a network with {words}") }
}

/// The table of loads with many receivers.
pub(super) fn table(
    title: &str,
    parameters: &LoadParameters,
    rows: &[Row<LoadLabel, Measured>],
) -> Table {
    let has_hot = parameters.hot_senders.is_some();
    let quiet = has_hot.then_some("p99 µs of the quiet");
    let head = ["transport", "p50 µs", "p99 µs"].into_iter().chain(quiet);
    let head = head.chain(["gateway CPU µs per delivery", "generator's use of its thread"]);
    let title = format!("{title} {}{}", parameters.load, over(parameters.network));
    let mut table = Table::new(title, head);
    for row in rows {
        let quiet = has_hot.then(|| row.text(&QUIET_P99, 0));
        let cells = [row.label.title(), row.text(&P50, 0), row.text(&P99, 0)].into_iter();
        table.row(cells.chain(quiet).chain([row.text(&CPU, 2), row.percent(&GENERATOR)]));
    }
    table
}

pub(super) fn charts<S>(outcome: &Outcome<S>) -> Vec<Chart>
where
    S: Scenario<Label = LoadLabel, Round = Measured>,
{
    let palette = outcome.palette();
    let curves = curves(&outcome.rows, |it| &it.curve);
    let mut charts: Vec<_> =
        Chart::percentiles("Latency by percentile", &palette, &curves).into_iter().collect();
    for (title, metric) in
        [("Processor time per delivery", &CPU), ("p99 of the quiet senders' signals", &QUIET_P99)]
    {
        let figures = outcome.figures(metric);
        if !figures.is_empty() {
            charts.push(Chart::bars(title, "µs", &palette, &figures));
        }
    }
    charts.extend(Chart::timelines("Over time", &self::curves(&outcome.rows, |it| &it.timeline)));
    charts
}

/// One part of each measurement, by row.
pub(super) fn curves<'a, L: Label, R, T>(
    rows: &'a [Row<L, R>],
    pick: impl Fn(&'a R) -> &'a Vec<T>,
) -> Vec<NamedRounds<'a, T>> {
    let rounds = |it: &'a Row<L, R>| NamedRounds {
        name: it.label.title(),
        rounds: it.rounds.iter().map(|it| pick(it).as_slice()).collect(),
    };
    rows.iter().map(rounds).collect()
}

/// Systems beside each other, one load after the other: figures under another load say nothing.
pub(super) fn relative<S>(outcome: &Outcome<S>) -> Vec<RelativeFigure>
where
    S: Scenario<Label = LoadLabel, Round = Measured>,
{
    let figures = [
        ("p50", &P50),
        ("p99", &P99),
        ("p99 of the quiet", &QUIET_P99),
        ("CPU per delivery", &CPU),
    ];
    let same = outcome.rows.chunk_by(|a, b| a.label.variant == b.label.variant);
    let of = |rows: &[Row<LoadLabel, Measured>]| {
        let variant = rows.first().map(|it| it.label.variant.clone()).unwrap_or_default();
        let of = |(figure, metric): (&str, &Metric<Measured>)| {
            let rows = named(rows.iter(), |it| it.system.title(), metric);
            RelativeFigure::of(format!("{figure}{variant}"), Better::Lower, &rows)
        };
        figures.into_iter().filter_map(of).collect::<Vec<_>>()
    };
    same.flat_map(of).collect()
}

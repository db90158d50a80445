//! `latency`: one sender, one receiver, one signal at a time.

use clap::ValueEnum as _;
use signalbox_loadgen::{
    baseline::BaselineKind,
    load::{Measured, Pattern},
    system::{System, Systems},
    transport::TransportVariant,
};
use signalbox_netem::Impairment;
use signalbox_report::{Chart, Label as _, Metric, RelativeFigure, Table};

use super::{
    Outcome, Rounds, Scenario, SummaryEntry,
    at_rate::{self, CPU, GENERATOR, LAG, LoadLabel, LoadParameters, MAX, P50, P90, P99, P999},
};
use crate::{Bench, all::All};

/// Latency and CPU of single signals from one connection to another.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Latency {
    #[command(flatten)]
    systems: Systems,
    /// Signals per second.
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    rate: u32,
    /// Measure baselines too: echoes without a relay, over UDP, TCP, TLS and QUIC.
    #[arg(long)]
    baselines: bool,
    #[command(flatten)]
    rounds: Rounds,
    #[command(flatten)]
    impairment: Impairment,
}

impl Scenario for Latency {
    const NAME: &'static str = "latency";
    const TITLE: &'static str = "Latency";
    const READING: &'static str = include_str!("reading.md");
    const METRICS: &'static [Metric<Measured>] =
        &[CPU, P50.headline("a lone signal's latency, p50"), P90, P99, P999, MAX, LAG, GENERATOR];

    type Parameters = LoadParameters;
    type Label = LoadLabel;
    type Round = Measured;

    async fn run(&self, bench: &Bench) -> anyhow::Result<Outcome<Self>> {
        let load = self.rounds.load(2, Pattern::ToOne, f64::from(self.rate));
        let mut systems = self.systems.all()?;
        let baselines = BaselineKind::ALL.into_iter().filter(|_| self.baselines);
        systems.extend(baselines.map(System::Baseline));
        let labels = LoadLabel::all(&systems, &[(load, String::new())]);
        let parameters = LoadParameters {
            load: format!("{} signals per second", self.rate),
            hot_senders: None,
            seconds: self.rounds.duration().as_secs_f64(),
            network: self.impairment,
        };
        at_rate::run(bench, self.rounds.repeat, labels, parameters).await
    }

    fn adapt(&mut self, all: &All) -> bool {
        self.systems.compare_with.clone_from(&all.compare_with);
        self.systems.transport = TransportVariant::value_variants().to_vec();
        self.baselines = true;
        all.shorten(&mut self.rounds, Self::NAME)
    }

    fn remote(&self) -> Option<String> {
        self.systems.elsewhere()
    }

    fn table(outcome: &Outcome<Self>) -> Table {
        let LoadParameters { load, network, .. } = &outcome.parameters;
        let over = at_rate::over(*network);
        let mut table = Table::new(
            format!("Latency: one sender, one receiver, {load}, one at a time{over}"),
            [
                "transport",
                "p50 µs",
                "p90 µs",
                "p99 µs",
                "p99.9 µs",
                "max µs",
                "gateway CPU µs per signal",
                "generator late by µs (p50)",
            ],
        );
        for row in &outcome.rows {
            let figures = [&P50, &P90, &P99, &P999, &MAX, &CPU, &LAG];
            let figures = figures.map(|metric| row.text(metric, 0));
            table.row([row.label.title()].into_iter().chain(figures));
        }
        table
    }

    fn charts(outcome: &Outcome<Self>) -> Vec<Chart> {
        at_rate::charts(outcome)
    }

    fn relative(outcome: &Outcome<Self>) -> Vec<RelativeFigure> {
        at_rate::relative(outcome)
    }

    fn summary(label: &LoadLabel) -> Option<SummaryEntry> {
        label.summary()
    }

    fn may_fail(label: &LoadLabel) -> bool {
        label.may_fail()
    }
}

//! `latency`: one sender, one receiver, one signal at a time.

use clap::ValueEnum as _;
use serde::Serialize;
use signalbox_loadgen::{
    baseline::BaselineKind,
    load::{Measured, Pattern},
    system::{System, Systems},
    transport::TransportVariant,
};
use signalbox_netem::Impairment;
use signalbox_report::{Chart, Column, Metric};

use super::{
    Columns, Outcome, Rounds, Scenario,
    at_rate::{self, CPU, GENERATOR, LAG, LoadLabel, MAX, P50, P90, P99, P999},
};
use crate::{Bench, all::All};

/// Latency and CPU of single signals from one connection to another.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Latency {
    #[command(flatten)]
    #[serde(skip)]
    systems: Systems,
    /// Signals per second.
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    rate: u32,
    /// Measure baselines too: echoes without a relay, over UDP, TCP, TLS and QUIC.
    #[arg(long)]
    #[serde(skip)]
    baselines: bool,
    #[command(flatten)]
    #[serde(flatten)]
    rounds: Rounds,
    #[command(flatten)]
    #[serde(rename = "network")]
    impairment: Impairment,
}

impl Scenario for Latency {
    const NAME: &'static str = "latency";
    const TITLE: &'static str = "Latency";
    const READING: &'static str = include_str!("reading.md");
    const METRICS: &'static [Metric<Measured>] =
        &[CPU, P50.headline("a lone signal's latency, p50"), P90, P99, P999, MAX, LAG, GENERATOR];

    const RELATIVE: &'static [(&'static str, Metric<Self::Round>)] = at_rate::RELATIVE;

    type Label = LoadLabel;
    type Round = Measured;

    async fn run(&self, bench: &Bench) -> anyhow::Result<Outcome<Self>> {
        let load = self.rounds.load(2, Pattern::ToOne, f64::from(self.rate));
        let mut systems = self.systems.all()?;
        let baselines = BaselineKind::ALL.into_iter().filter(|_| self.baselines);
        systems.extend(baselines.map(System::Baseline));
        let labels = LoadLabel::all(&systems, &[(load, String::new())]);
        at_rate::run(self, bench, self.rounds.repeat, labels, self.impairment).await
    }

    fn adapt(&mut self, all: &All) -> bool {
        self.systems.compare_with.clone_from(&all.compare_with);
        self.systems.transport = TransportVariant::value_variants().to_vec();
        self.baselines = true;
        self.rounds.adapt(Self::NAME, all)
    }

    fn remote(&self) -> Option<String> {
        self.systems.elsewhere()
    }

    fn heading(&self) -> String {
        let (rate, over) = (self.rate, at_rate::over(self.impairment));
        format!("Latency: one sender, one receiver, {rate} signals per second, one at a time{over}")
    }

    fn columns(&self) -> Columns<Self> {
        vec![
            Column::title("transport"),
            Column::spread("p50 µs", &P50, 0),
            Column::spread("p90 µs", &P90, 0),
            Column::spread("p99 µs", &P99, 0),
            Column::spread("p99.9 µs", &P999, 0),
            Column::spread("max µs", &MAX, 0),
            Column::spread("gateway CPU µs per signal", &CPU, 0),
            Column::spread("generator late by µs (p50)", &LAG, 0),
        ]
    }

    fn charts(outcome: &Outcome<Self>) -> Vec<Chart> {
        at_rate::charts(outcome)
    }
}

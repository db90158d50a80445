//! `fanout`: one sender, many receivers.

use serde::Serialize;
use signalbox_loadgen::{
    load::{Measured, Pattern},
    system::Systems,
    transport::TransportVariant,
};
use signalbox_netem::Impairment;
use signalbox_report::{Chart, Metric};

use super::{
    Columns, Outcome, Rounds, Scenario,
    at_rate::{self, CPU, GENERATOR, LAG, LoadLabel, MAX, P50, P90, P99, P999},
};
use crate::{Bench, all::All};

/// Latency and CPU per delivery from one connection to many.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Fanout {
    #[command(flatten)]
    #[serde(skip)]
    systems: Systems,
    /// Connections in the session, one number or several. One of them sends; all of them receive,
    /// the sender included.
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', default_value = "100")]
    #[serde(skip)]
    receivers: Vec<u32>,
    /// Deliveries per second, to all receivers together.
    #[arg(long, value_name = "NUMBER", default_value_t = 20_000)]
    deliveries: u32,
    #[command(flatten)]
    #[serde(flatten)]
    rounds: Rounds,
    #[command(flatten)]
    #[serde(rename = "network")]
    impairment: Impairment,
}

impl Scenario for Fanout {
    const NAME: &'static str = "fanout";
    const TITLE: &'static str = "Fan-out";
    const READING: &'static str = include_str!("reading.md");
    const METRICS: &'static [Metric<Measured>] =
        &[CPU.headline("fan-out: CPU per delivery"), P50, P90, P99, P999, MAX, LAG, GENERATOR];

    const RELATIVE: &'static [(&'static str, Metric<Self::Round>)] = at_rate::RELATIVE;

    type Label = LoadLabel;
    type Round = Measured;

    async fn run(&self, bench: &Bench) -> anyhow::Result<Outcome<Self>> {
        anyhow::ensure!(self.receivers.iter().all(|it| *it > 0), "--receivers must be at least 1");
        let load = |receivers: &u32| {
            let rate = f64::from(self.deliveries) / f64::from(*receivers);
            let load = self.rounds.load(*receivers as usize, Pattern::ToAll, rate);
            (load, format!(", to {receivers}"))
        };
        let loads: Vec<_> = self.receivers.iter().map(load).collect();
        let labels = LoadLabel::all(&self.systems.all()?, &loads);
        at_rate::run(self, bench, self.rounds.repeat, labels, self.impairment).await
    }

    fn adapt(&mut self, all: &All) -> bool {
        self.systems.compare_with.clone_from(&all.compare_with);
        self.systems.transport =
            vec![TransportVariant::Quic, TransportVariant::WebTransport, TransportVariant::Wss];
        self.receivers = vec![10, 100, 1000, 5000];
        self.rounds.adapt(Self::NAME, all)
    }

    fn remote(&self) -> Option<String> {
        self.systems.elsewhere()
    }

    fn heading(&self) -> String {
        let to = match self.receivers.as_slice() {
            [receivers] => format!("to {receivers} connections"),
            _ => "to several numbers of connections".into(),
        };
        let (deliveries, over) = (self.deliveries, at_rate::over(self.impairment));
        format!("Fan-out: one sender {to}, {deliveries} deliveries per second{over}")
    }

    fn columns(&self) -> Columns<Self> {
        at_rate::columns(false)
    }

    fn charts(outcome: &Outcome<Self>) -> Vec<Chart> {
        at_rate::charts(outcome)
    }
}

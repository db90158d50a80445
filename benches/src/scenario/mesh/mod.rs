//! `mesh`: all connections send to all.

use serde::Serialize;
use signalbox_loadgen::{
    load::{Measured, Pattern},
    system::Systems,
};
use signalbox_netem::Impairment;
use signalbox_report::{Chart, Metric};

use super::{
    Columns, Outcome, Rounds, Scenario,
    at_rate::{self, CPU, GENERATOR, LAG, LoadLabel, MAX, P50, P90, P99, P999, QUIET_P99},
};
use crate::{Bench, all::All};

/// Latency and CPU per delivery when all connections signal to all.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Mesh {
    #[command(flatten)]
    #[serde(skip)]
    systems: Systems,
    /// Connections in the session. All of them send, and receive the signals of all of them.
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    connections: u32,
    /// Deliveries per second, to all together; one number or several.
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', default_value = "49000")]
    #[serde(skip)]
    deliveries: Vec<u32>,
    /// Senders of nearly all signals; the others' signals have a figure of their own. Without it,
    /// all send at the same rate.
    #[arg(long, value_name = "NUMBER")]
    hot_senders: Option<u32>,
    /// Share of the signals that the others send.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, requires = "hot_senders")]
    quiet_share: f64,
    #[command(flatten)]
    #[serde(flatten)]
    rounds: Rounds,
    #[command(flatten)]
    #[serde(rename = "network")]
    impairment: Impairment,
}

impl Mesh {
    fn pattern(&self) -> anyhow::Result<Pattern> {
        let Some(hot) = self.hot_senders else { return Ok(Pattern::Mesh) };
        let some = (1..self.connections).contains(&hot);
        anyhow::ensure!(some, "--hot-senders must be at least 1 and less than --connections");
        let share = self.quiet_share;
        anyhow::ensure!(share > 0.0 && share < 1.0, "--quiet-share must be between 0 and 1");
        Ok(Pattern::Mixed { hot: hot as usize, quiet_share: share })
    }
}

impl Scenario for Mesh {
    const NAME: &'static str = "mesh";
    const TITLE: &'static str = "Mesh";
    const READING: &'static str = include_str!("reading.md");
    const METRICS: &'static [Metric<Measured>] = &[
        CPU.headline("mesh: CPU per delivery"),
        P50.headline("mesh: p50"),
        P90,
        P99.headline("mesh: p99"),
        P999,
        MAX,
        QUIET_P99,
        LAG,
        GENERATOR,
    ];

    const RELATIVE: &'static [(&'static str, Metric<Self::Round>)] = at_rate::RELATIVE;

    type Label = LoadLabel;
    type Round = Measured;

    async fn run(&self, bench: &Bench) -> anyhow::Result<Outcome<Self>> {
        anyhow::ensure!(self.connections > 0, "--connections must be at least 1");
        let pattern = self.pattern()?;
        let load = |deliveries: &u32| {
            let rate = f64::from(*deliveries) / f64::from(self.connections);
            let load = self.rounds.load(self.connections as usize, pattern, rate);
            (load, format!(", {deliveries}/s"))
        };
        let loads: Vec<_> = self.deliveries.iter().map(load).collect();
        let labels = LoadLabel::all(&self.systems.all()?, &loads);
        at_rate::run(self, bench, self.rounds.repeat, labels, self.impairment).await
    }

    fn adapt(&mut self, all: &All) -> bool {
        self.systems.compare_with.clone_from(&all.compare_with);
        self.deliveries = vec![49_000, 392_000, 784_000];
        self.rounds.adapt(Self::NAME, all)
    }

    fn remote(&self) -> Option<String> {
        self.systems.elsewhere()
    }

    fn heading(&self) -> String {
        let rate = match self.deliveries.as_slice() {
            [deliveries] => format!("{deliveries} deliveries per second"),
            _ => "several rates of deliveries".into(),
        };
        let hot = self.hot_senders.map(|hot| format!(", {hot} of them hot")).unwrap_or_default();
        let (connections, over) = (self.connections, at_rate::over(self.impairment));
        format!("Mesh: all talk to all, {connections} connections{hot}, {rate}{over}")
    }

    fn columns(&self) -> Columns<Self> {
        at_rate::columns(self.hot_senders.is_some())
    }

    fn charts(outcome: &Outcome<Self>) -> Vec<Chart> {
        at_rate::charts(outcome)
    }
}

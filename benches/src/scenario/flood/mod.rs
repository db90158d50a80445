//! `flood`: the latency of signals while a flood of requests without a credential hits the gateway.
//!
//! A flood needs processor time, which it takes from the measuring machine. So each flood has a
//! control: the same flood, at the same time, to another gateway.

use serde::Serialize;
use signalbox_loadgen::{
    files::allow_files,
    load::{self, Measured, Pattern},
    transport::TransportVariant,
    usage::GENERATOR_LIMIT,
    worker::{FloodGenerator, FloodProgress},
};
use signalbox_report::{
    Chart, Column, Label, Metric, NamedRounds, Palette, QuantilePoint, Round, Row,
};

use super::{Columns, Outcome, Rounds, Scenario};
use crate::{Bench, all::All};

/// Share of the requests that must be answered; a warning says if fewer are.
const ANSWERED: f64 = 0.95;

const P50: Metric<FloodMeasured> =
    Metric::lower("p50_us", "µs", |it| Some(it.signals.latency_us.p50));
const P99: Metric<FloodMeasured> =
    Metric::lower("p99_us", "µs", |it| Some(it.signals.latency_us.p99));
/// The p99 of each round as a multiple of its control's.
const P99_TO_CONTROL: Metric<FloodMeasured> =
    Metric::lower("p99_to_control", "×", |it| it.p99_to_control);
const LAG: Metric<FloodMeasured> =
    Metric::neutral("lag_p99_us", "µs", |it| Some(it.signals.lag_us.p99));
const GATEWAY: Metric<FloodMeasured> =
    Metric::neutral("gateway_cores", "cores", |it| it.signals.gateway_cores);
const ANSWERS: Metric<FloodMeasured> = Metric::neutral("answered", "/s", |it| Some(it.answered));

/// Latency of signals while a flood of unauthenticated requests hits the gateway.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Flood {
    /// Transports of the two clients to measure side by side.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "quic,wss")]
    #[serde(skip)]
    transport: Vec<TransportVariant>,
    /// Signals per second: enough for a p99 of a few seconds.
    #[arg(long, value_name = "NUMBER", default_value_t = 500)]
    rate: u32,
    /// Requests per second over kept-alive connections.
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    requests: u32,
    /// Requests per second, each over a new connection.
    #[arg(long, value_name = "NUMBER", default_value_t = 500)]
    fresh: u32,
    /// Kept-alive connections of the flood, or new ones at a time.
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    flood_connections: u32,
    #[command(flatten)]
    #[serde(flatten)]
    rounds: Rounds,
}

/// The flood while signals are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Attack {
    /// No flood.
    Quiet,
    /// Requests over kept-alive connections, to another gateway.
    KeptAliveControl,
    /// The same to the measured gateway.
    KeptAlive,
    /// Requests over new connections, to another gateway.
    FreshControl,
    /// The same to the measured gateway.
    Fresh,
}

impl Attack {
    const ALL: [Self; 5] =
        [Self::Quiet, Self::KeptAliveControl, Self::KeptAlive, Self::FreshControl, Self::Fresh];

    /// For tables.
    fn title(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::KeptAliveControl => "control: kept-alive, to another gateway",
            Self::KeptAlive => "kept-alive",
            Self::FreshControl => "control: new connections, to another gateway",
            Self::Fresh => "new connections",
        }
    }

    fn is_fresh(self) -> bool {
        matches!(self, Self::Fresh | Self::FreshControl)
    }

    /// To another gateway than the measured one.
    fn is_control(self) -> bool {
        matches!(self, Self::KeptAliveControl | Self::FreshControl)
    }

    /// The flood that loads the machine in the same way, and not the gateway.
    fn control(self) -> Option<Self> {
        match self {
            Self::KeptAlive => Some(Self::KeptAliveControl),
            Self::Fresh => Some(Self::FreshControl),
            _ => None,
        }
    }
}

/// A transport under a flood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FloodLabel {
    transport: TransportVariant,
    attack: Attack,
}

impl Label for FloodLabel {
    fn title(&self) -> String {
        format!("{}: {}", self.group(), self.member())
    }

    fn group(&self) -> String {
        self.transport.title().to_owned()
    }

    fn member(&self) -> String {
        self.attack.title().to_owned()
    }
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FloodMeasured {
    /// The signals between the two clients.
    #[serde(flatten)]
    signals: Measured,
    /// Requests per second that were answered, each with 403.
    answered: f64,
    /// TLS handshakes per second for them.
    connected: f64,
    /// Use that the flooding process made of its one thread.
    flood_cores: f64,
    /// The p99 as a multiple of the control's in the same round.
    p99_to_control: Option<f64>,
}

impl Round for FloodMeasured {
    fn warnings(&self) -> Vec<String> {
        self.signals.warnings.clone()
    }

    fn progress(&self) -> String {
        format!(
            "p50 {:.0} µs, p99 {:.0} µs, gateway {:.2} cores, {:.0} responses/s, others {:.2}",
            self.signals.latency_us.p50,
            self.signals.latency_us.p99,
            self.signals.gateway_cores.unwrap_or_default(),
            self.answered,
            self.signals.other_cores,
        )
    }
}

impl Scenario for Flood {
    const NAME: &'static str = "flood";
    const TITLE: &'static str = "Flood";
    const READING: &'static str = include_str!("reading.md");
    const METRICS: &'static [Metric<FloodMeasured>] =
        &[P50, P99, P99_TO_CONTROL, LAG, GATEWAY, ANSWERS];

    type Label = FloodLabel;
    type Round = FloodMeasured;

    async fn run(&self, bench: &Bench) -> anyhow::Result<Outcome<Self>> {
        anyhow::ensure!(self.rate > 0, "--rate must be at least 1");
        anyhow::ensure!(self.flood_connections > 0, "--flood-connections must be at least 1");
        anyhow::ensure!(self.fresh > 0, "--fresh must be at least 1");
        // The gateway closes a connection without a request for some seconds.
        anyhow::ensure!(
            self.requests >= self.flood_connections,
            "--requests must be at least --flood-connections: one per second for each"
        );
        allow_files(u64::from(self.flood_connections) + 100)?;
        let of = |transport: &TransportVariant| {
            let transport = *transport;
            Attack::ALL.map(|attack| FloodLabel { transport, attack })
        };
        let labels = self.transport.iter().flat_map(of).collect();
        let measure = async |label: &FloodLabel, _| self.measure(bench, label).await;
        let repeat = self.rounds.repeat;
        let mut outcome = Outcome::measure(self, bench, repeat, labels, measure).await?;
        compare_with_controls(&mut outcome.rows);
        Ok(outcome)
    }

    fn adapt(&mut self, all: &All) -> bool {
        self.rounds.adapt(Self::NAME, all);
        self.rounds.repeat = all.rounds(Self::NAME, 2);
        self.rounds.repeat > 0
    }

    fn heading(&self) -> String {
        format!(
            "Flood: {} requests per second without a credential over {} kept-alive connections, \
             or {} over new ones, beside {} signals per second",
            self.requests, self.flood_connections, self.fresh, self.rate
        )
    }

    fn columns(&self) -> Columns<Self> {
        vec![
            Column::title("transport: flood"),
            Column::spread("p50 µs", &P50, 0),
            Column::spread("p99 µs", &P99, 0),
            Column::spread("p99 ÷ its control's", &P99_TO_CONTROL, 2),
            Column::spread("generator late by µs (p99)", &LAG, 0),
            Column::median("gateway CPU, cores", &GATEWAY, 2),
            Column::median("requests answered/s", &ANSWERS, 0),
        ]
    }

    fn charts(outcome: &Outcome<Self>) -> Vec<Chart> {
        let title = "p99 as a multiple of its control's: 1 is no harm";
        let bars = [
            outcome.bars("p99 of the others' signals under a flood", &P99),
            outcome.bars_beside(title, &P99_TO_CONTROL, Some(1.0)),
        ];
        let palette = Palette::of(Attack::ALL.map(|it| it.title().to_owned()));
        let percentiles = |(transport, rows): (String, Vec<_>)| {
            let curves: Vec<_> = rows.into_iter().map(curve).collect();
            Chart::percentiles(&format!("Latency by percentile: {transport}"), &palette, &curves)
        };
        let curves = outcome.groups().into_iter().map(percentiles);
        bars.into_iter().chain(curves).flatten().collect()
    }
}

impl Flood {
    /// Both gateways run in every measurement, whichever of the two is flooded.
    async fn measure(&self, bench: &Bench, label: &FloodLabel) -> anyhow::Result<FloodMeasured> {
        let FloodLabel { transport, attack } = *label;
        let gateway = bench.launcher.start().await?;
        let other = bench.launcher.start().await?;
        let load = self.rounds.load(2, Pattern::ToOne, f64::from(self.rate));
        let target = gateway.target(transport)?;
        let process = Some(gateway.process());
        let flooded = if attack.is_control() { &other } else { &gateway };
        let asked = if attack.is_fresh() { self.fresh } else { self.requests };
        let measured = if attack == Attack::Quiet {
            let signals = load::measure(target, process, &load, &[other.pid()]).await?;
            FloodMeasured {
                signals,
                answered: 0.0,
                connected: 0.0,
                flood_cores: 0.0,
                p99_to_control: None,
            }
        } else {
            let connections = self.flood_connections;
            let mut flood =
                FloodGenerator::start(flooded, asked, connections, attack.is_fresh()).await?;
            let further: Vec<u32> = [other.pid()].into_iter().chain(flood.pid()).collect();
            let before = flood.progress().await?;
            let signals = load::measure(target, process, &load, &further).await?;
            let after = flood.progress().await?;
            flood.stop().await?;
            evaluate(signals, &before, &after, asked)
        };
        gateway.stop().await?;
        other.stop().await?;
        Ok(measured)
    }
}

fn evaluate(
    signals: Measured,
    before: &FloodProgress,
    after: &FloodProgress,
    asked: u32,
) -> FloodMeasured {
    let seconds = (after.at_ns - before.at_ns) as f64 / 1e9;
    let mut measured = FloodMeasured {
        signals,
        answered: (after.answered - before.answered) as f64 / seconds,
        connected: (after.connected - before.connected) as f64 / seconds,
        flood_cores: after.cpu_ns.saturating_sub(before.cpu_ns) as f64 / 1e9 / seconds,
        p99_to_control: None,
    };
    let FloodMeasured { answered, flood_cores, .. } = measured;
    let warnings = &mut measured.signals.warnings;
    if answered < f64::from(asked) * ANSWERED {
        warnings.push(format!("only {answered:.0} of {asked} requests per second were answered"));
    }
    if flood_cores > GENERATOR_LIMIT {
        warnings.push(format!("the flood used {:.0} % of its thread", flood_cores * 100.0));
    }
    measured
}

/// The latency of signals by percentile, in each round of a flood.
fn curve(row: &Row<FloodLabel, FloodMeasured>) -> NamedRounds<'_, QuantilePoint> {
    let rounds = row.rounds.iter().map(|it| it.signals.curve.as_slice()).collect();
    NamedRounds { name: row.label.member(), rounds }
}

/// Compares each flood with its own control, round by round.
fn compare_with_controls(rows: &mut [Row<FloodLabel, FloodMeasured>]) {
    let p99s = |row: &Row<FloodLabel, FloodMeasured>| -> Vec<f64> {
        row.rounds.iter().map(|it| it.signals.latency_us.p99).collect()
    };
    let known: Vec<_> = rows.iter().map(|row| (row.label.clone(), p99s(row))).collect();
    for row in rows {
        let Some(attack) = row.label.attack.control() else { continue };
        let control = FloodLabel { attack, ..row.label };
        let Some((_, controls)) = known.iter().find(|it| it.0 == control) else { continue };
        for (round, control) in row.rounds.iter_mut().zip(controls) {
            round.p99_to_control = Some(round.signals.latency_us.p99 / control);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(at_ns: u64, answered: u64, cpu_ns: u64) -> FloodProgress {
        FloodProgress { at_ns, answered, connected: answered / 10, cpu_ns }
    }

    #[test]
    fn each_flood_is_compared_round_by_round_with_its_own_control() {
        let p99s = |attack| match attack {
            Attack::Quiet => [1.0, 1.0],
            Attack::KeptAliveControl => [100.0, 200.0],
            Attack::KeptAlive => [150.0, 300.0],
            Attack::FreshControl => [400.0, 100.0],
            Attack::Fresh => [400.0, 300.0],
        };
        let none = progress(0, 0, 0);
        let after = progress(1_000_000_000, 0, 0);
        let round = |p99| evaluate(Measured::with_p99(p99), &none, &after, 0);
        let transport = TransportVariant::Quic;
        let mut rows = Attack::ALL.map(|attack| Row {
            label: FloodLabel { transport, attack },
            rounds: p99s(attack).map(round).to_vec(),
        });
        compare_with_controls(&mut rows);
        let ratios: Vec<_> = rows
            .iter()
            .map(|row| P99_TO_CONTROL.spread(&row.rounds).map(|it| (it.min, it.max)))
            .collect();
        assert_eq!(ratios, [None, None, Some((1.5, 1.5)), None, Some((1.0, 3.0))]);
    }

    #[test]
    fn a_flood_that_is_weaker_than_asked_causes_a_warning() {
        let before = progress(1_000_000_000, 1000, 0);
        let signals = || Measured::with_p99(1.0);
        let full = evaluate(signals(), &before, &progress(3_000_000_000, 21_000, 0), 10_000);
        assert_eq!((full.answered, full.connected), (10_000.0, 1000.0));
        assert_eq!(full.signals.warnings, [""; 0]);
        let after = progress(3_000_000_000, 19_000, 1_900_000_000);
        let weak = evaluate(signals(), &before, &after, 10_000);
        assert_eq!(weak.signals.warnings.len(), 2, "{:?}", weak.signals.warnings);
    }
}

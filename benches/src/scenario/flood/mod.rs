//! `flood`: signals, joins and returning clients while a flood of strangers hits the gateway.
//!
//! A flood needs processor time, which it takes from the measuring machine. So each flood has a
//! control: the same flood, at the same time, to another gateway.

mod attack;
mod joins;

use std::time::Duration;

use serde::Serialize;
use signalbox_loadgen::{
    clock::{nanos, now_ns},
    files::allow_files,
    load::{self, Measured, PAUSE, Pattern},
    transport::TransportVariant,
    usage::GENERATOR_LIMIT,
    worker::{FloodGenerator, FloodKind, FloodOrder, FloodProgress, ReconnectSwarm, SwarmResult},
};
use signalbox_report::{Chart, Column, Metric, Round};

use self::{
    attack::{Attack, FloodLabel},
    joins::{Joins, join_during},
};
use super::{
    Columns, Outcome, Rounds, Scenario,
    controlled::{ControlledRound, compare_with_controls, latency_charts},
};
use crate::{Bench, all::All};

/// Share of the requests that must be sent; a warning says if fewer are.
const SENT: f64 = 0.95;

/// Time for the measuring clients to join and for the flood to begin, before the warm-up.
const BEGINNING: Duration = Duration::from_secs(2);

/// Time over which the returning clients begin to resume.
const RETURN: Duration = Duration::from_millis(500);

const JOINS: Metric<FloodMeasured> =
    Metric::higher("joins_in_time", "of 1", |it| Some(it.joins.in_time));
const JOIN_P99: Metric<FloodMeasured> =
    Metric::lower("join_p99_ms", "ms", |it| Some(it.joins.joined_us.p99 / 1e3));
const RETURN_MAX: Metric<FloodMeasured> =
    Metric::lower("return_max_ms", "ms", |it| Some(it.returned.as_ref()?.each_us.max / 1e3));
const ANSWERS: Metric<FloodMeasured> = Metric::neutral("answered", "/s", |it| Some(it.answered));
const REFUSALS: Metric<FloodMeasured> = Metric::neutral("refused", "/s", |it| Some(it.refused));

/// Signals, joins and returning clients while a flood of strangers hits the gateway.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Flood {
    /// Transports of the two clients to measure side by side.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "quic,wss")]
    #[serde(skip)]
    transport: Vec<TransportVariant>,
    /// Kinds of floods.
    #[arg(
        long = "attack",
        value_name = "KIND",
        value_delimiter = ',',
        default_value = "kept-alive,fresh,initials,half-open"
    )]
    #[serde(skip)]
    attacks: Vec<FloodKind>,
    /// Addresses from which each flood comes, at most 250.
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', default_value = "1")]
    #[serde(skip)]
    addresses: Vec<u32>,
    /// Signals per second: enough for a p99 of a few seconds.
    #[arg(long, value_name = "NUMBER", default_value_t = 500)]
    rate: u32,
    /// Requests per second over kept-alive connections.
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    requests: u32,
    /// Requests per second, each over a new connection.
    #[arg(long, value_name = "NUMBER", default_value_t = 500)]
    fresh: u32,
    /// QUIC Initials per second.
    #[arg(long, value_name = "NUMBER", default_value_t = 2000)]
    initials: u32,
    /// Connections that are held open.
    #[arg(long, value_name = "NUMBER", default_value_t = 1500)]
    held: u32,
    /// Kept-alive connections of the flood, or new ones at a time.
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    flood_connections: u32,
    /// Clients that have lost their links before the flood and resume during it.
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    returning: usize,
    #[command(flatten)]
    #[serde(flatten)]
    rounds: Rounds,
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FloodMeasured {
    /// The signals between the two clients.
    #[serde(flatten)]
    signals: Measured,
    /// Clients that joined meanwhile.
    joins: Joins,
    /// Clients that resumed meanwhile; `None` if not all of them could.
    returned: Option<SwarmResult>,
    /// Requests per second that were answered as they should be, or packets sent.
    answered: f64,
    /// Requests and connections per second that the gateway refused or closed.
    refused: f64,
    /// Connections per second that were established for them.
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
            "p50 {:.0} µs, p99 {:.0} µs, joins in time {:.0} %, gateway {:.2} cores, {:.0} \
             answered/s, {:.0} refused/s",
            self.signals.latency_us.p50,
            self.signals.latency_us.p99,
            self.joins.in_time * 100.0,
            self.signals.gateway_cores.unwrap_or_default(),
            self.answered,
            self.refused,
        )
    }
}

impl ControlledRound for FloodMeasured {
    fn signals(&self) -> &Measured {
        &self.signals
    }

    fn p99_to_control(&self) -> Option<f64> {
        self.p99_to_control
    }

    fn set_p99_to_control(&mut self, ratio: f64) {
        self.p99_to_control = Some(ratio);
    }
}

impl Scenario for Flood {
    const NAME: &'static str = "flood";
    const TITLE: &'static str = "Flood";
    const READING: &'static str = include_str!("reading.md");
    const METRICS: &'static [Metric<FloodMeasured>] = &[
        FloodMeasured::P50,
        FloodMeasured::P99,
        FloodMeasured::P99_TO_CONTROL,
        JOINS,
        JOIN_P99,
        RETURN_MAX,
        FloodMeasured::LAG,
        FloodMeasured::GATEWAY,
        ANSWERS,
        REFUSALS,
    ];

    type Label = FloodLabel;
    type Round = FloodMeasured;

    async fn run(&self, bench: &Bench) -> anyhow::Result<Outcome<Self>> {
        anyhow::ensure!(self.rate > 0, "--rate must be at least 1");
        anyhow::ensure!(self.flood_connections > 0, "--flood-connections must be at least 1");
        anyhow::ensure!(self.fresh > 0, "--fresh must be at least 1");
        anyhow::ensure!(self.initials > 0, "--initials must be at least 1");
        anyhow::ensure!(
            self.addresses.iter().all(|it| (1..=250).contains(it)),
            "--addresses must be from 1 to 250"
        );
        // The gateway closes a connection without a request for some seconds.
        anyhow::ensure!(
            self.requests >= self.flood_connections,
            "--requests must be at least --flood-connections: one per second for each"
        );
        // The gateway has those of its clients that wait, too.
        allow_files(u64::from(self.flood_connections.max(self.held)) + 8192)?;
        let attacks = Attack::all(self);
        let of = |transport: &TransportVariant| {
            let transport = *transport;
            attacks.iter().map(move |attack| FloodLabel { transport, attack: *attack })
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
            "Flood: {} requests per second over {} kept-alive connections, {} over new ones, {} \
             QUIC Initials per second, or {} held connections, beside {} signals per second",
            self.requests, self.flood_connections, self.fresh, self.initials, self.held, self.rate
        )
    }

    fn columns(&self) -> Columns<Self> {
        vec![
            Column::title("transport: flood"),
            Column::spread("p50 µs", &FloodMeasured::P50, 0),
            Column::spread("p99 µs", &FloodMeasured::P99, 0),
            Column::spread("p99 ÷ its control's", &FloodMeasured::P99_TO_CONTROL, 2),
            Column::percent("joins in 500 ms", &JOINS),
            Column::spread("join p99 ms", &JOIN_P99, 0),
            Column::spread("last return ms", &RETURN_MAX, 0),
            Column::spread("generator late by µs (p99)", &FloodMeasured::LAG, 0),
            Column::median("gateway CPU, cores", &FloodMeasured::GATEWAY, 2),
            Column::median("answered/s", &ANSWERS, 0),
            Column::median("refused/s", &REFUSALS, 0),
        ]
    }

    fn charts(outcome: &Outcome<Self>) -> Vec<Chart> {
        let title = "p99 as a multiple of its control's: 1 is no harm";
        let bars = [
            outcome.bars("p99 of the others' signals under a flood", &FloodMeasured::P99),
            outcome.bars_beside(title, &FloodMeasured::P99_TO_CONTROL, Some(1.0)),
            outcome.bars("Joins within half a second", &JOINS),
        ];
        let titles = Attack::all(&outcome.scenario).into_iter().map(Attack::title);
        let curves = latency_charts(outcome, titles);
        bars.into_iter().chain(curves).flatten().collect()
    }
}

impl Flood {
    /// Both gateways run in every measurement, whichever of the two is flooded.
    async fn measure(&self, bench: &Bench, label: &FloodLabel) -> anyhow::Result<FloodMeasured> {
        let FloodLabel { transport, attack } = *label;
        let gateway = bench.launcher.start_limited().await?;
        let other = bench.launcher.start_limited().await?;
        let mut load = self.rounds.load(2, Pattern::ToOne, f64::from(self.rate));
        load.warm_up += BEGINNING;
        let target = gateway.target(transport)?;
        let process = Some(gateway.process());
        let flooded = if attack.is_control { &other } else { &gateway };
        let tickets = ReconnectSwarm::join_and_lose(&gateway, transport, self.returning).await?;
        let mut swarm = ReconnectSwarm::prepare(&gateway, transport, tickets).await?;
        let order = attack.order(self);
        let mut flood = match order {
            Some(order) => Some(FloodGenerator::prepare(flooded, order).await?),
            None => None,
        };
        let pids = [Some(other.pid()), swarm.pid(), flood.as_ref().and_then(FloodGenerator::pid)];
        let further: Vec<u32> = pids.into_iter().flatten().collect();
        swarm.resume(now_ns() + nanos(PAUSE + load.warm_up), RETURN).await?;
        let measuring = load::measure(target, process, &load, &further);
        let flooding = async {
            // The measuring clients have joined by then.
            tokio::time::sleep(PAUSE).await;
            begin(&mut flood).await
        };
        let measuring = async { tokio::join!(measuring, flooding) };
        let joining = join_during(gateway.target(transport)?, BEGINNING, measuring);
        let ((signals, before), joins) = joining.await;
        let before = before?;
        let after = progress(&mut flood).await?;
        // If a client's time to resume is over, the swarm ends with an error.
        let returned = swarm.result().await.ok();
        let mut measured = evaluate(signals?, joins, &before, &after, order);
        if returned.is_none() {
            measured.signals.warnings.push("not all returning clients could resume".into());
        }
        measured.returned = returned;
        if let Some(flood) = flood {
            flood.stop().await?;
        }
        gateway.stop().await?;
        other.stop().await?;
        Ok(measured)
    }
}

/// Begins the flood, if there is one.
async fn begin(flood: &mut Option<FloodGenerator>) -> anyhow::Result<FloodProgress> {
    match flood {
        Some(flood) => flood.begin().await,
        None => progress(flood).await,
    }
}

/// The progress of the flood, if there is one.
async fn progress(flood: &mut Option<FloodGenerator>) -> anyhow::Result<FloodProgress> {
    match flood {
        Some(flood) => flood.progress().await,
        None => Ok(FloodProgress { at_ns: now_ns(), ..FloodProgress::default() }),
    }
}

fn evaluate(
    signals: Measured,
    joins: Joins,
    before: &FloodProgress,
    after: &FloodProgress,
    order: Option<FloodOrder>,
) -> FloodMeasured {
    let seconds = (after.at_ns - before.at_ns) as f64 / 1e9;
    let per_second = |of: fn(&FloodProgress) -> u64| (of(after) - of(before)) as f64 / seconds;
    let mut measured = FloodMeasured {
        signals,
        joins,
        returned: None,
        answered: per_second(|it| it.answered),
        refused: per_second(|it| it.refused),
        connected: per_second(|it| it.connected),
        flood_cores: after.cpu_ns.saturating_sub(before.cpu_ns) as f64 / 1e9 / seconds,
        p99_to_control: None,
    };
    let FloodMeasured { answered, refused, flood_cores, .. } = measured;
    let warnings = &mut measured.signals.warnings;
    if let Some(order) = order.filter(|it| !it.kind.is_held())
        && answered + refused < f64::from(order.rate) * SENT
    {
        let sent = answered + refused;
        warnings.push(format!("only {sent:.0} of {} requests per second were sent", order.rate));
    }
    if flood_cores > GENERATOR_LIMIT {
        warnings.push(format!("the flood used {:.0} % of its thread", flood_cores * 100.0));
    }
    measured
}

#[cfg(test)]
mod tests {
    use signalbox_loadgen::latencies::Latencies;
    use signalbox_report::Row;

    use super::*;

    fn progress(at_ns: u64, answered: u64, cpu_ns: u64) -> FloodProgress {
        FloodProgress { at_ns, answered, refused: 0, connected: answered / 10, cpu_ns }
    }

    fn joins() -> Joins {
        Joins { attempts: 1, in_time: 1.0, failed: 0.0, joined_us: Latencies::new().percentiles() }
    }

    fn flood(arguments: &[&str]) -> Flood {
        let command = <Flood as clap::Args>::augment_args(clap::Command::new("flood"));
        let matches = command.get_matches_from([&["flood"][..], arguments].concat());
        <Flood as clap::FromArgMatches>::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn each_flood_is_compared_round_by_round_with_its_own_control() {
        let flood = flood(&["--attack", "kept-alive,initials", "--addresses", "1,200"]);
        let attacks = Attack::all(&flood);
        let titles: Vec<_> = attacks.iter().map(|it| it.title()).collect();
        assert_eq!(
            titles[..4],
            [
                "quiet",
                "control: kept-alive requests from 1 address",
                "kept-alive requests from 1 address",
                "control: kept-alive requests from 200 addresses",
            ]
        );
        assert_eq!(attacks.len(), 9);
        let none = progress(0, 0, 0);
        let after = progress(1_000_000_000, 0, 0);
        let round = |p99| evaluate(Measured::with_p99(p99), joins(), &none, &after, None);
        let transport = TransportVariant::Quic;
        let mut rows: Vec<_> = attacks
            .into_iter()
            .zip(1_u32..)
            .map(|(attack, number)| Row {
                label: FloodLabel { transport, attack },
                rounds: vec![round(f64::from(number)), round(10.0)],
            })
            .collect();
        compare_with_controls(&mut rows);
        let ratios: Vec<_> = rows
            .iter()
            .map(|row| FloodMeasured::P99_TO_CONTROL.spread(&row.rounds).map(|it| (it.min, it.max)))
            .collect();
        assert_eq!(ratios[..5], [None, None, Some((1.0, 1.5)), None, Some((1.0, 1.25))]);
    }

    #[test]
    fn a_flood_that_is_weaker_than_asked_causes_a_warning() {
        let before = progress(1_000_000_000, 1000, 0);
        let signals = || Measured::with_p99(1.0);
        let order =
            FloodOrder { kind: FloodKind::KeptAlive, rate: 10_000, connections: 50, addresses: 1 };
        let after = progress(3_000_000_000, 21_000, 0);
        let full = evaluate(signals(), joins(), &before, &after, Some(order));
        assert_eq!((full.answered, full.connected), (10_000.0, 1000.0));
        assert_eq!(full.signals.warnings, [""; 0]);
        let after = progress(3_000_000_000, 19_000, 1_900_000_000);
        let weak = evaluate(signals(), joins(), &before, &after, Some(order));
        assert_eq!(weak.signals.warnings.len(), 2, "{:?}", weak.signals.warnings);
    }
}

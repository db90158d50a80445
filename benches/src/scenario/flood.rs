//! The scenario with strangers: what requests without a credential do to the signals of others.
//!
//! The strangers need processors, too, and here they take them from the machine that measures. So
//! each flood is set beside a control: the same flood, at the same time, to another gateway.

use serde::Serialize;

use super::{Rounds, order};
use crate::{
    flooder::{Flood as Running, Progress},
    gateway::{Launcher, allow_files},
    load::{self, Measured, Pattern},
    output::note,
    stats::Spread,
    transport::Transport,
    usage::GENERATOR_LIMIT,
};

/// Share of the requests that must be answered for a flood to be the one that was asked for.
const ANSWERED: f64 = 0.95;

/// What a flood of requests without a credential does to the latency of signals.
#[derive(Debug, Clone, clap::Args)]
pub struct Flood {
    /// Transports of the two clients to set side by side.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "quic,wss")]
    pub transport: Vec<Transport>,
    /// Signals per second: enough for a p99 of a few seconds.
    #[arg(long, value_name = "NUMBER", default_value_t = 500)]
    pub rate: u32,
    /// Requests per second over connections that are kept alive.
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    pub requests: u32,
    /// Requests per second, each over a new connection.
    #[arg(long, value_name = "NUMBER", default_value_t = 500)]
    pub fresh: u32,
    /// Connections that flood, or new ones at a time.
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    pub flood_connections: u32,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as this command's own description")]
    pub rounds: Rounds,
}

/// What goes on while signals are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attack {
    /// Nothing.
    Quiet,
    /// Requests over kept-alive connections, to another gateway.
    KeptAliveElsewhere,
    /// The same to the gateway that is measured.
    KeptAlive,
    /// Requests over new connections, to another gateway.
    FreshElsewhere,
    /// The same to the gateway that is measured.
    Fresh,
}

impl Attack {
    const ALL: [Self; 5] =
        [Self::Quiet, Self::KeptAliveElsewhere, Self::KeptAlive, Self::FreshElsewhere, Self::Fresh];

    /// For tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::KeptAliveElsewhere => "control: kept-alive, to another gateway",
            Self::KeptAlive => "kept-alive",
            Self::FreshElsewhere => "control: new connections, to another gateway",
            Self::Fresh => "new connections",
        }
    }

    fn is_fresh(self) -> bool {
        matches!(self, Self::Fresh | Self::FreshElsewhere)
    }

    fn is_elsewhere(self) -> bool {
        matches!(self, Self::KeptAliveElsewhere | Self::FreshElsewhere)
    }

    /// The same load on the machine, without its being on the gateway.
    fn control(self) -> Option<Self> {
        match self {
            Self::KeptAlive => Some(Self::KeptAliveElsewhere),
            Self::Fresh => Some(Self::FreshElsewhere),
            _ => None,
        }
    }
}

/// All rounds.
#[derive(Debug, Serialize)]
pub struct FloodResult {
    /// `flood`.
    pub scenario: &'static str,
    /// Signals per second.
    pub rate: u32,
    /// Requests per second over kept-alive connections.
    pub requests: u32,
    /// Requests per second over new connections.
    pub fresh: u32,
    /// Connections that flood.
    pub flood_connections: u32,
    /// Length of a measurement.
    pub seconds: f64,
    /// A row for each transport and flood.
    pub rows: Vec<FloodRow>,
}

/// All rounds of one transport with one flood.
#[derive(Debug, Serialize)]
pub struct FloodRow {
    /// The transport.
    pub transport: Transport,
    /// The flood.
    pub attack: Attack,
    /// Latency of signals: half of all are at most this, in microseconds.
    pub p50_us: Spread,
    /// 99 %.
    pub p99_us: Spread,
    /// The 99 % of each round as a multiple of its control's.
    pub p99_to_control: Option<Spread>,
    /// How late the measuring side itself was with one signal in a hundred; it is in the latency.
    pub lag_p99_us: Spread,
    /// Processors that the gateway kept busy.
    pub gateway_cores: Spread,
    /// Requests per second that were answered.
    pub answered: Spread,
    /// The single measurements.
    pub rounds: Vec<FloodMeasured>,
}

/// What came of one measurement.
#[derive(Debug, Clone, Serialize)]
pub struct FloodMeasured {
    /// The signals between the two clients.
    #[serde(flatten)]
    pub signals: Measured,
    /// Requests per second that were answered, each with 403.
    pub answered: f64,
    /// TLS handshakes per second for them.
    pub connected: f64,
    /// Use that the flooding process made of its one thread.
    pub flood_cores: f64,
}

impl FloodRow {
    fn new(
        transport: Transport,
        attack: Attack,
        rounds: Vec<FloodMeasured>,
        control: Option<&[FloodMeasured]>,
    ) -> Self {
        let spread = |pick: fn(&FloodMeasured) -> f64| Spread::of(rounds.iter().map(pick));
        let p99 = |it: &FloodMeasured| it.signals.latency_us.p99;
        let ratios = |control: &[FloodMeasured]| {
            Spread::of(rounds.iter().zip(control).map(|(it, control)| p99(it) / p99(control)))
        };
        Self {
            transport,
            attack,
            p50_us: spread(|it| it.signals.latency_us.p50),
            p99_us: spread(p99),
            p99_to_control: control.map(ratios),
            lag_p99_us: spread(|it| it.signals.lag_us.p99),
            gateway_cores: spread(|it| it.signals.gateway_cores.unwrap_or_default()),
            answered: spread(|it| it.answered),
            rounds,
        }
    }

    /// All that was said against its measurements.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        let title = format!("{}, {}", self.transport.title(), self.attack.title());
        super::by_round(title, self.rounds.iter().map(|it| &it.signals.warnings))
    }
}

type Done = Vec<(Transport, Attack, Vec<FloodMeasured>)>;

impl Flood {
    /// Measures.
    ///
    /// # Errors
    /// If a gateway cannot be run, a signal is lost, or a request is answered with anything but
    /// a refusal.
    pub async fn run(&self, launcher: &Launcher) -> anyhow::Result<FloodResult> {
        anyhow::ensure!(self.rounds.repeat > 0, "--repeat must be at least 1");
        anyhow::ensure!(self.rate > 0, "--rate must be at least 1");
        anyhow::ensure!(self.flood_connections > 0, "--flood-connections must be at least 1");
        anyhow::ensure!(self.fresh > 0, "--fresh must be at least 1");
        // A connection without a request for some seconds is closed, which is not to be measured.
        anyhow::ensure!(
            self.requests >= self.flood_connections,
            "--requests must be at least --flood-connections: one per second for each"
        );
        allow_files(u64::from(self.flood_connections) + 100)?;
        let mut done: Done = Vec::new();
        for transport in &self.transport {
            done.extend(Attack::ALL.map(|attack| (*transport, attack, Vec::new())));
        }
        'rounds: for round in 0..self.rounds.repeat {
            for transport in order(&self.transport, round) {
                for attack in order(&Attack::ALL, round) {
                    let measuring = self.measure(launcher, transport, attack);
                    let Some(measured) = launcher.unless_interrupted(measuring).await? else {
                        break 'rounds;
                    };
                    note(format_args!(
                        "flood {}/{}  {}, {}: p50 {:.0} µs, p99 {:.0} µs, gateway {:.2} cores, \
                         {:.0} answers/s, others {:.2}",
                        round + 1,
                        self.rounds.repeat,
                        transport.title(),
                        attack.title(),
                        measured.signals.latency_us.p50,
                        measured.signals.latency_us.p99,
                        measured.signals.gateway_cores.unwrap_or_default(),
                        measured.answered,
                        measured.signals.other_cores,
                    ));
                    for warning in &measured.signals.warnings {
                        note(format_args!("  warning: {warning}"));
                    }
                    let row = done.iter_mut().find(|it| (it.0, it.1) == (transport, attack));
                    if let Some((_, _, rounds)) = row {
                        rounds.push(measured);
                    }
                }
            }
        }
        done.retain(|(_, _, rounds)| !rounds.is_empty());
        Ok(FloodResult {
            scenario: "flood",
            rate: self.rate,
            requests: self.requests,
            fresh: self.fresh,
            flood_connections: self.flood_connections,
            seconds: self.rounds.duration().as_secs_f64(),
            rows: rows(&done),
        })
    }

    /// Both gateways run in every measurement, whichever of them is flooded.
    async fn measure(
        &self,
        launcher: &Launcher,
        transport: Transport,
        attack: Attack,
    ) -> anyhow::Result<FloodMeasured> {
        let gateway = launcher.start().await?;
        let other = launcher.start().await?;
        let load = self.rounds.load(2, Pattern::ToOne, f64::from(self.rate));
        let room = gateway.room(transport)?;
        let process = Some(gateway.process());
        let target = if attack.is_elsewhere() { &other } else { &gateway };
        let asked = if attack.is_fresh() { self.fresh } else { self.requests };
        let measured = if attack == Attack::Quiet {
            let signals = load::measure(room, process, &load, &[other.pid()]).await?;
            FloodMeasured { signals, answered: 0.0, connected: 0.0, flood_cores: 0.0 }
        } else {
            let connections = self.flood_connections;
            let mut flood = Running::start(target, asked, connections, attack.is_fresh()).await?;
            let beside: Vec<u32> = [other.pid()].into_iter().chain(flood.pid()).collect();
            let before = flood.progress().await?;
            let signals = load::measure(room, process, &load, &beside).await?;
            let after = flood.progress().await?;
            flood.stop().await?;
            evaluate(signals, &before, &after, asked)
        };
        gateway.stop().await?;
        other.stop().await?;
        Ok(measured)
    }
}

fn evaluate(signals: Measured, before: &Progress, after: &Progress, asked: u32) -> FloodMeasured {
    let seconds = (after.at_ns - before.at_ns) as f64 / 1e9;
    let mut measured = FloodMeasured {
        signals,
        answered: (after.answered - before.answered) as f64 / seconds,
        connected: (after.connected - before.connected) as f64 / seconds,
        flood_cores: after.cpu_ns.saturating_sub(before.cpu_ns) as f64 / 1e9 / seconds,
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

fn rows(done: &Done) -> Vec<FloodRow> {
    let rounds = |transport: Transport, attack: Attack| {
        let mut found = done.iter().filter(|it| (it.0, it.1) == (transport, attack));
        found.next().map(|it| it.2.as_slice())
    };
    let row = |(transport, attack, own): &(Transport, Attack, Vec<FloodMeasured>)| {
        let control = attack.control().and_then(|control| rounds(*transport, control));
        FloodRow::new(*transport, *attack, own.clone(), control)
    };
    done.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tests::measured as signals;

    fn progress(at_ns: u64, answered: u64, cpu_ns: u64) -> Progress {
        Progress { at_ns, answered, connected: answered / 10, cpu_ns }
    }

    #[test]
    fn each_flood_is_compared_round_by_round_with_its_own_control() {
        let p99s = |attack| match attack {
            Attack::Quiet => [1.0, 1.0],
            Attack::KeptAliveElsewhere => [100.0, 200.0],
            Attack::KeptAlive => [150.0, 300.0],
            Attack::FreshElsewhere => [400.0, 100.0],
            Attack::Fresh => [400.0, 300.0],
        };
        let none = progress(0, 0, 0);
        let round = |p99| evaluate(signals(p99), &none, &progress(1_000_000_000, 0, 0), 0);
        let done = Attack::ALL
            .map(|attack| (Transport::Quic, attack, p99s(attack).map(round).to_vec()))
            .to_vec();
        let ratios: Vec<_> =
            rows(&done).iter().map(|row| row.p99_to_control.map(|it| (it.min, it.max))).collect();
        assert_eq!(ratios, [None, None, Some((1.5, 1.5)), None, Some((1.0, 3.0))]);
    }

    #[test]
    fn a_flood_that_is_weaker_than_asked_is_said() {
        let before = progress(1_000_000_000, 1000, 0);
        let full = evaluate(signals(1.0), &before, &progress(3_000_000_000, 21_000, 0), 10_000);
        assert_eq!((full.answered, full.connected), (10_000.0, 1000.0));
        assert_eq!(full.signals.warnings, [""; 0]);
        let after = progress(3_000_000_000, 19_000, 1_900_000_000);
        let weak = evaluate(signals(1.0), &before, &after, 10_000);
        assert_eq!(weak.signals.warnings.len(), 2, "{:?}", weak.signals.warnings);
    }
}

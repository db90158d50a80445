//! The scenarios with signals at a fixed rate: `latency` (a lone signal at a time), `fanout` (one
//! to many) and `mesh` (all to all).

use std::time::Duration;

use serde::Serialize;
use signalbox_netem::Impairment;

use super::{order, time};
use crate::{
    floors::Floor,
    gateway::{Launcher, allow_files},
    load::{self, Load, Measured, Pattern},
    output::note,
    stats::Spread,
    system::{System, Systems},
};

/// One sender, one receiver, one signal at a time.
#[derive(Debug, Clone, clap::Args)]
pub struct Latency {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as this command's own description")]
    pub systems: Systems,
    /// Signals per second.
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    pub rate: u32,
    /// Measure echoes without a relay, too: one hop there and back over UDP, TCP, TLS and QUIC.
    #[arg(long)]
    pub floors: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as this command's own description")]
    pub rounds: Rounds,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as this command's own description")]
    pub impairment: Impairment,
}

/// One sender, many receivers.
#[derive(Debug, Clone, clap::Args)]
pub struct Fanout {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as this command's own description")]
    pub systems: Systems,
    /// Connections in the session, one number or several. One of them sends; all of them receive,
    /// the sender included.
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', default_value = "100")]
    pub receivers: Vec<u32>,
    /// Deliveries per second, to all receivers together.
    #[arg(long, value_name = "NUMBER", default_value_t = 20_000)]
    pub deliveries: u32,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as this command's own description")]
    pub rounds: Rounds,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as this command's own description")]
    pub impairment: Impairment,
}

/// All talk to all.
#[derive(Debug, Clone, clap::Args)]
pub struct Mesh {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as this command's own description")]
    pub systems: Systems,
    /// Connections in the session. All of them send, and receive what all of them send.
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    pub connections: u32,
    /// Deliveries per second, to all together; one number or several.
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', default_value = "49000")]
    pub deliveries: Vec<u32>,
    /// How many send nearly everything; the others' signals have a figure of their own. Without
    /// it all send alike.
    #[arg(long, value_name = "NUMBER")]
    pub hot: Option<u32>,
    /// Share of the signals that the others send, beside the hot.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, requires = "hot")]
    pub quiet_share: f64,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as this command's own description")]
    pub rounds: Rounds,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as this command's own description")]
    pub impairment: Impairment,
}

/// How long and how often.
#[derive(Debug, Clone, clap::Args)]
pub struct Rounds {
    /// Length of one measurement in seconds, without its warm-up.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Seconds of load before it, which do not count.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    pub warm_up: f64,
    /// Rounds over all transports.
    #[arg(long, value_name = "ROUNDS", default_value_t = 3)]
    pub repeat: usize,
}

/// All rounds of a scenario.
#[derive(Debug, Serialize)]
pub struct SignalsResult {
    /// `latency`, `fanout` or `mesh`.
    pub scenario: &'static str,
    /// What the rows have in common, in words: how many connections, at which rate.
    pub load: String,
    /// How many of a mesh are hot; none if all send alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hot: Option<usize>,
    /// Length of a measurement.
    pub seconds: f64,
    /// What the network between gateway and clients was like.
    pub network: Impairment,
    /// A row for each system and load.
    pub rows: Vec<SignalsRow>,
    /// What became of other systems that did not keep up, for which there is no row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
}

/// All rounds of one system under one load.
#[derive(Debug, Serialize)]
pub struct SignalsRow {
    /// The system, and how clients are connected to it.
    #[serde(rename = "transport")]
    pub system: System,
    /// Connections in the session.
    pub connections: usize,
    /// Signals per second, of all senders together.
    pub rate: f64,
    /// What tells its load from those of other rows; empty if all have the same.
    #[serde(skip)]
    pub variant: String,
    /// The gateway's processor time for each delivery, in microseconds; none if it runs elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_us_per_delivery: Option<Spread>,
    /// Latency: half of all are at most this, in microseconds.
    pub p50_us: Spread,
    /// 90 %.
    pub p90_us: Spread,
    /// 99 %.
    pub p99_us: Spread,
    /// 99.9 %.
    pub p999_us: Spread,
    /// The longest.
    pub max_us: Spread,
    /// 99 % of the signals of quiet senders, where others are hot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet_p99_us: Option<Spread>,
    /// How late the generator itself was, at most times.
    pub lag_p50_us: Spread,
    /// Use that the generator made of its thread.
    pub generator_cores: Spread,
    /// The single measurements.
    pub rounds: Vec<Measured>,
}

impl SignalsRow {
    fn new((system, load, variant): (System, Load, String), rounds: Vec<Measured>) -> Self {
        let spread = |pick: fn(&Measured) -> f64| Spread::of(rounds.iter().map(pick));
        let known = |pick: fn(&Measured) -> Option<f64>| Spread::known(rounds.iter().map(pick));
        Self {
            gateway_us_per_delivery: known(|it| it.gateway_us_per_delivery),
            p50_us: spread(|it| it.latency_us.p50),
            p90_us: spread(|it| it.latency_us.p90),
            p99_us: spread(|it| it.latency_us.p99),
            p999_us: spread(|it| it.latency_us.p999),
            max_us: spread(|it| it.latency_us.max),
            quiet_p99_us: known(|it| it.quiet_us.map(|us| us.p99)),
            lag_p50_us: spread(|it| it.lag_us.p50),
            generator_cores: spread(|it| it.generator_cores),
            connections: load.connections,
            rate: load.rate,
            system,
            variant,
            rounds,
        }
    }

    /// For tables and charts.
    pub(crate) fn title(&self) -> String {
        format!("{}{}", self.system.title(), self.variant)
    }

    /// All that was said against its measurements.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        super::by_round(self.title(), self.rounds.iter().map(|it| &it.warnings))
    }
}

impl Latency {
    /// Measures.
    ///
    /// # Errors
    /// If the gateway cannot be run or anything is lost.
    pub async fn run(&self, launcher: &Launcher) -> anyhow::Result<SignalsResult> {
        let load = self.rounds.load(2, Pattern::ToOne, f64::from(self.rate));
        let mut systems = self.systems.all()?;
        systems.extend(Floor::ALL.into_iter().filter(|_| self.floors).map(System::Floor));
        let common = format!("{} signals per second", self.rate);
        let plan =
            Plan { scenario: "latency", systems, loads: vec![(load, String::new())], common };
        plan.run(launcher, self.rounds.repeat, self.impairment).await
    }
}

impl Fanout {
    /// Measures.
    ///
    /// # Errors
    /// If the gateway cannot be run or anything is lost.
    pub async fn run(&self, launcher: &Launcher) -> anyhow::Result<SignalsResult> {
        anyhow::ensure!(self.receivers.iter().all(|it| *it > 0), "--receivers must be at least 1");
        let loads = self.receivers.iter().map(|receivers| {
            let rate = f64::from(self.deliveries) / f64::from(*receivers);
            let load = self.rounds.load(*receivers as usize, Pattern::ToAll, rate);
            (load, format!(", to {receivers}"))
        });
        let loads = several(loads.collect());
        let to = match self.receivers.as_slice() {
            [receivers] => format!("to {receivers} connections"),
            _ => "to so many connections".into(),
        };
        let common = format!("{to}, {} deliveries per second", self.deliveries);
        let plan = Plan { scenario: "fanout", systems: self.systems.all()?, loads, common };
        plan.run(launcher, self.rounds.repeat, self.impairment).await
    }
}

/// Where all have the same load, none of them needs to be told from another.
fn several(mut loads: Vec<(Load, String)>) -> Vec<(Load, String)> {
    if let [(_, variant)] = loads.as_mut_slice() {
        variant.clear();
    }
    loads
}

impl Mesh {
    /// Measures.
    ///
    /// # Errors
    /// If the gateway cannot be run or anything is lost.
    pub async fn run(&self, launcher: &Launcher) -> anyhow::Result<SignalsResult> {
        anyhow::ensure!(self.connections > 0, "--connections must be at least 1");
        let pattern = match self.hot {
            None => Pattern::Mesh,
            Some(hot) => {
                let some = (1..self.connections).contains(&hot);
                anyhow::ensure!(some, "--hot must leave somebody quiet, and not everybody");
                let share = self.quiet_share;
                anyhow::ensure!(share > 0.0 && share < 1.0, "--quiet-share is between 0 and 1");
                Pattern::Mixed { hot: hot as usize, quiet_share: share }
            }
        };
        let loads = self.deliveries.iter().map(|deliveries| {
            let rate = f64::from(*deliveries) / f64::from(self.connections);
            let load = self.rounds.load(self.connections as usize, pattern, rate);
            (load, format!(", {deliveries}/s"))
        });
        let loads = several(loads.collect());
        let rate = match self.deliveries.as_slice() {
            [deliveries] => format!("{deliveries} deliveries per second"),
            _ => "so many deliveries per second".into(),
        };
        let hot = self.hot.map(|hot| format!(", {hot} of them hot")).unwrap_or_default();
        let common = format!("{} connections{hot}, {rate}", self.connections);
        let plan = Plan { scenario: "mesh", systems: self.systems.all()?, loads, common };
        plan.run(launcher, self.rounds.repeat, self.impairment).await
    }
}

impl Rounds {
    pub(super) fn warm_up(&self) -> Duration {
        time(self.warm_up)
    }

    pub(super) fn duration(&self) -> Duration {
        time(self.seconds)
    }

    pub(super) fn load(&self, connections: usize, pattern: Pattern, rate: f64) -> Load {
        let (warm_up, duration) = (self.warm_up(), self.duration());
        Load { connections, pattern, rate, warm_up, duration }
    }
}

/// Which measurements there are.
struct Plan {
    scenario: &'static str,
    systems: Vec<System>,
    /// Each with what tells it from the others.
    loads: Vec<(Load, String)>,
    common: String,
}

impl Plan {
    /// Round after round, each system under each load in turn, each measurement with a process
    /// and a network of its own.
    async fn run(
        self,
        launcher: &Launcher,
        repeat: usize,
        network: Impairment,
    ) -> anyhow::Result<SignalsResult> {
        let Self { scenario, systems, loads, common } = self;
        anyhow::ensure!(repeat > 0, "--repeat must be at least 1");
        anyhow::ensure!(loads.iter().all(|it| it.0.rate > 0.0), "the rate must be above 0");
        let most = loads.iter().map(|it| it.0.connections).max().unwrap_or_default();
        allow_files(most as u64 + 100)?;
        let pattern = loads.first().map(|it| it.0.pattern);
        let seconds = loads.first().map_or(0.0, |it| it.0.duration.as_secs_f64());
        let mut rows = Vec::new();
        for (load, variant) in loads {
            rows.extend(systems.iter().map(|it| ((it.clone(), load, variant.clone()), Vec::new())));
        }
        let mut failures = Vec::new();
        'rounds: for round in 0..repeat {
            for index in order(&(0..rows.len()).collect::<Vec<_>>(), round) {
                let Some(((system, load, variant), rounds)) = rows.get_mut(index) else { continue };
                let title = format!("{}{variant}", system.title());
                let measuring = once(launcher, system, load, network);
                let measured = match launcher.unless_interrupted(measuring).await {
                    // That another system cannot keep up is a result, too.
                    Err(error) if matches!(system, System::Peer(_)) => {
                        let error = format!("{error:#}");
                        let why = error.lines().next().unwrap_or_default();
                        note(format_args!("{scenario} {}/{repeat}  {title}: {why}", round + 1));
                        failures.push(format!("{title}, round {}: {why}", round + 1));
                        continue;
                    }
                    Ok(Some(measured)) => measured,
                    Ok(None) => break 'rounds,
                    Err(error) => return Err(error),
                };
                note(format_args!(
                    "{scenario} {}/{repeat}  {title:<40} p50 {:.0} µs, p99 {:.0} µs{}",
                    round + 1,
                    measured.latency_us.p50,
                    measured.latency_us.p99,
                    measured
                        .gateway_us_per_delivery
                        .map(|us| format!(", gateway {us:.1} µs per delivery"))
                        .unwrap_or_default()
                ));
                for warning in &measured.warnings {
                    note(format_args!("  warning: {warning}"));
                }
                rounds.push(measured);
            }
        }
        let rows = rows.into_iter().filter(|(_, rounds)| !rounds.is_empty());
        Ok(SignalsResult {
            scenario,
            load: common,
            hot: match pattern {
                Some(Pattern::Mixed { hot, .. }) => Some(hot),
                _ => None,
            },
            seconds,
            network,
            rows: rows.map(|(what, rounds)| SignalsRow::new(what, rounds)).collect(),
            failures,
        })
    }
}

/// One measurement, with everything its own.
pub(super) async fn once(
    launcher: &Launcher,
    system: &System,
    load: &Load,
    network: Impairment,
) -> anyhow::Result<Measured> {
    let emulation = network.start()?;
    let running = system.start(launcher, emulation.as_ref()).await?;
    let inside = emulation.as_ref().map(|it| it.client().enter()).transpose()?;
    let room = running.room().await?;
    let load = Load { connections: system.connections(load.connections), ..*load };
    let measured = load::measure(room, running.process(), &load, &[]).await?;
    drop(inside);
    running.stop().await?;
    Ok(measured)
}

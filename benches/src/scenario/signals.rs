//! The scenarios with signals at a fixed rate: `latency` (a lone signal at a time), `fanout` (one
//! to many) and `mesh` (all to all).

use std::time::Duration;

use serde::Serialize;

use super::{order, time};
use crate::{
    emulation::Impairment,
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
    /// Connections in the session. One of them sends; all of them receive, the sender included.
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub receivers: u32,
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
    /// Deliveries per second, to all together.
    #[arg(long, value_name = "NUMBER", default_value_t = 49_000)]
    pub deliveries: u32,
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
    /// Connections in the session.
    pub connections: usize,
    /// Signals per second, of all senders together.
    pub rate: f64,
    /// How many of a mesh are hot; none if all send alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hot: Option<usize>,
    /// Length of a measurement.
    pub seconds: f64,
    /// What the network between gateway and clients was like.
    pub network: Impairment,
    /// A row for each system.
    pub rows: Vec<SignalsRow>,
}

/// All rounds of one system.
#[derive(Debug, Serialize)]
pub struct SignalsRow {
    /// The system, and how clients are connected to it.
    #[serde(rename = "transport")]
    pub system: System,
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
    fn new(system: System, rounds: Vec<Measured>) -> Self {
        let spread = |pick: fn(&Measured) -> f64| Spread::of(rounds.iter().map(pick));
        let known = |pick: fn(&Measured) -> Option<f64>| {
            let values: Option<Vec<_>> = rounds.iter().map(pick).collect();
            values.map(Spread::of)
        };
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
            system,
            rounds,
        }
    }

    /// All that was said against its measurements.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        super::by_round(self.system.title(), self.rounds.iter().map(|it| &it.warnings))
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
        run("latency", launcher, &load, systems, self.rounds.repeat, self.impairment).await
    }
}

impl Fanout {
    /// Measures.
    ///
    /// # Errors
    /// If the gateway cannot be run or anything is lost.
    pub async fn run(&self, launcher: &Launcher) -> anyhow::Result<SignalsResult> {
        anyhow::ensure!(self.receivers > 0, "--receivers must be at least 1");
        let rate = f64::from(self.deliveries) / f64::from(self.receivers);
        let load = self.rounds.load(self.receivers as usize, Pattern::ToAll, rate);
        let systems = self.systems.all()?;
        run("fanout", launcher, &load, systems, self.rounds.repeat, self.impairment).await
    }
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
        let rate = f64::from(self.deliveries) / f64::from(self.connections);
        let load = self.rounds.load(self.connections as usize, pattern, rate);
        let systems = self.systems.all()?;
        run("mesh", launcher, &load, systems, self.rounds.repeat, self.impairment).await
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

/// Round after round, each system in turn, each measurement with a process and a network of its
/// own.
async fn run(
    scenario: &'static str,
    launcher: &Launcher,
    load: &Load,
    systems: Vec<System>,
    repeat: usize,
    network: Impairment,
) -> anyhow::Result<SignalsResult> {
    anyhow::ensure!(repeat > 0, "--repeat must be at least 1");
    anyhow::ensure!(load.rate > 0.0, "the rate must be above 0");
    allow_files(load.connections as u64 + 100)?;
    let mut done: Vec<Vec<Measured>> = systems.iter().map(|_| Vec::new()).collect();
    let indexed: Vec<usize> = (0..systems.len()).collect();
    for round in 0..repeat {
        for index in order(&indexed, round) {
            let (Some(system), Some(rounds)) = (systems.get(index), done.get_mut(index)) else {
                continue;
            };
            let measured = once(launcher, system, load, network).await?;
            note(format_args!(
                "{scenario} {}/{repeat}  {:<32} p50 {:.0} µs, p99 {:.0} µs{}",
                round + 1,
                system.title(),
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
    let rows = systems.into_iter().zip(done).map(|(system, it)| SignalsRow::new(system, it));
    Ok(SignalsResult {
        scenario,
        connections: load.connections,
        rate: load.rate,
        hot: match load.pattern {
            Pattern::Mixed { hot, .. } => Some(hot),
            _ => None,
        },
        seconds: load.duration.as_secs_f64(),
        network,
        rows: rows.collect(),
    })
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

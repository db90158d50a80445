//! The scenarios with signals: `latency` (a lone signal at a time) and `fanout` (one to many).

use std::time::Duration;

use serde::Serialize;

use super::{order, time};
use crate::{
    emulation::Impairment,
    gateway::{Launcher, allow_files},
    load::{self, Load, Measured},
    output::note,
    stats::Spread,
    transport::Transport,
};

/// One sender, one receiver, one signal at a time.
#[derive(Debug, Clone, clap::Args)]
pub struct Latency {
    /// Transports to set side by side.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "quic,quic-single,wss,wss-json"
    )]
    pub transport: Vec<Transport>,
    /// Signals per second.
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    pub rate: u32,
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
    /// Transports to set side by side.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "quic,wss")]
    pub transport: Vec<Transport>,
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
    /// `latency` or `fanout`.
    pub scenario: &'static str,
    /// Connections in the session.
    pub connections: usize,
    /// Signals per second.
    pub rate: f64,
    /// Length of a measurement.
    pub seconds: f64,
    /// What the network between gateway and clients was like.
    pub network: Impairment,
    /// A row for each transport.
    pub rows: Vec<SignalsRow>,
}

/// All rounds of one transport.
#[derive(Debug, Serialize)]
pub struct SignalsRow {
    /// The transport.
    pub transport: Transport,
    /// The gateway's processor time for each delivery, in microseconds.
    pub gateway_us_per_delivery: Spread,
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
    /// How late the generator itself was, at most times.
    pub lag_p50_us: Spread,
    /// Use that the generator made of its thread.
    pub generator_cores: Spread,
    /// The single measurements.
    pub rounds: Vec<Measured>,
}

impl SignalsRow {
    fn new(transport: Transport, rounds: Vec<Measured>) -> Self {
        let spread = |pick: fn(&Measured) -> f64| Spread::of(rounds.iter().map(pick));
        Self {
            transport,
            gateway_us_per_delivery: spread(|it| it.gateway_us_per_delivery),
            p50_us: spread(|it| it.latency_us.p50),
            p90_us: spread(|it| it.latency_us.p90),
            p99_us: spread(|it| it.latency_us.p99),
            p999_us: spread(|it| it.latency_us.p999),
            max_us: spread(|it| it.latency_us.max),
            lag_p50_us: spread(|it| it.lag_us.p50),
            generator_cores: spread(|it| it.generator_cores),
            rounds,
        }
    }

    /// All that was said against its measurements.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        super::by_round(self.transport.title(), self.rounds.iter().map(|it| &it.warnings))
    }
}

impl Latency {
    /// Measures.
    ///
    /// # Errors
    /// If the gateway cannot be run or anything is lost.
    pub async fn run(&self, launcher: &Launcher) -> anyhow::Result<SignalsResult> {
        let (connections, to_one, rate) = (2, true, f64::from(self.rate));
        let load = self.rounds.load(connections, to_one, rate);
        let Self { transport, impairment, rounds: Rounds { repeat, .. }, .. } = self;
        rounds("latency", launcher, load, transport, *repeat, *impairment).await
    }
}

impl Fanout {
    /// Measures.
    ///
    /// # Errors
    /// If the gateway cannot be run or anything is lost.
    pub async fn run(&self, launcher: &Launcher) -> anyhow::Result<SignalsResult> {
        anyhow::ensure!(self.receivers > 0, "--receivers must be at least 1");
        allow_files(u64::from(self.receivers) + 100)?;
        let rate = f64::from(self.deliveries) / f64::from(self.receivers);
        let load = self.rounds.load(self.receivers as usize, false, rate);
        let Self { transport, impairment, rounds: Rounds { repeat, .. }, .. } = self;
        rounds("fanout", launcher, load, transport, *repeat, *impairment).await
    }
}

impl Rounds {
    pub(super) fn warm_up(&self) -> Duration {
        time(self.warm_up)
    }

    pub(super) fn duration(&self) -> Duration {
        time(self.seconds)
    }

    pub(super) fn load(
        &self,
        connections: usize,
        to_one: bool,
        rate: f64,
    ) -> impl Fn(Transport) -> Load {
        let (warm_up, duration) = (self.warm_up(), self.duration());
        move |transport| Load { transport, connections, to_one, rate, warm_up, duration }
    }
}

/// Round after round, each transport in turn, each measurement with a gateway and a network of
/// its own.
async fn rounds(
    scenario: &'static str,
    launcher: &Launcher,
    load: impl Fn(Transport) -> Load,
    transports: &[Transport],
    repeat: usize,
    network: Impairment,
) -> anyhow::Result<SignalsResult> {
    anyhow::ensure!(repeat > 0, "--repeat must be at least 1");
    let mut done: Vec<(Transport, Vec<Measured>)> =
        transports.iter().map(|it| (*it, Vec::new())).collect();
    for round in 0..repeat {
        for transport in order(transports, round) {
            let load = load(transport);
            anyhow::ensure!(load.rate > 0.0, "the rate must be above 0");
            let emulation = network.start()?;
            let gateway = launcher.start_in(emulation.as_ref()).await?;
            let inside = emulation.as_ref().map(|it| it.client().enter()).transpose()?;
            let measured = load::measure(&gateway, &load, &[]).await?;
            drop(inside);
            gateway.stop().await?;
            note(format_args!(
                "{scenario} {}/{repeat}  {:<30} p50 {:.0} µs, p99 {:.0} µs, gateway {:.1} µs per \
                 delivery",
                round + 1,
                transport.title(),
                measured.latency_us.p50,
                measured.latency_us.p99,
                measured.gateway_us_per_delivery,
            ));
            for warning in &measured.warnings {
                note(format_args!("  warning: {warning}"));
            }
            if let Some((_, rounds)) = done.iter_mut().find(|(it, _)| *it == transport) {
                rounds.push(measured);
            }
        }
    }
    let example = transports.first().map(|it| load(*it));
    Ok(SignalsResult {
        scenario,
        connections: example.map_or(0, |it| it.connections),
        rate: example.map_or(0.0, |it| it.rate),
        seconds: example.map_or(0.0, |it| it.duration.as_secs_f64()),
        network,
        rows: done
            .into_iter()
            .map(|(transport, rounds)| SignalsRow::new(transport, rounds))
            .collect(),
    })
}

//! `churn`: how many clients a second can come and go.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use serde::Serialize;
use tokio::task::JoinSet;

use super::{order, signals::Rounds};
use crate::{
    gateway::{Launcher, allow_files},
    output::note,
    process::Process,
    room::Room,
    stats::{Latencies, Percentiles, Spread},
    system::{System, Systems},
    usage::Usage,
};

/// Clients that connect, join, and leave.
#[derive(Debug, Clone, clap::Args)]
pub struct Churn {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as this command's own description")]
    pub systems: Systems,
    /// Clients that come and go at the same time.
    #[arg(long, value_name = "NUMBER", default_value_t = 16)]
    pub clients: u32,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as this command's own description")]
    pub rounds: Rounds,
}

/// All rounds.
#[derive(Debug, Serialize)]
pub struct ChurnResult {
    /// `churn`.
    pub scenario: &'static str,
    /// Clients at the same time.
    pub clients: u32,
    /// Length of a measurement.
    pub seconds: f64,
    /// A row for each system.
    pub rows: Vec<ChurnRow>,
}

/// All rounds of one system.
#[derive(Debug, Serialize)]
pub struct ChurnRow {
    /// The system.
    #[serde(rename = "transport")]
    pub system: System,
    /// Clients that joined in a second.
    pub connects_per_second: Spread,
    /// What the gateway used for each of them, to its end; in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_us_per_connect: Option<Spread>,
    /// From dialling to being in, half of all; in microseconds.
    pub p50_us: Spread,
    /// 99 %.
    pub p99_us: Spread,
    /// Processors that the gateway kept busy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_cores: Option<Spread>,
    /// Use that the generator made of its thread.
    pub generator_cores: Spread,
    /// The single measurements.
    pub rounds: Vec<ChurnMeasured>,
}

/// What came of one measurement.
#[derive(Debug, Clone, Serialize)]
pub struct ChurnMeasured {
    /// Clients that joined in a second.
    pub connects_per_second: f64,
    /// From dialling to being in.
    pub joined_us: Percentiles,
    /// Of the gateway, for each; none if it runs elsewhere.
    pub gateway_us_per_connect: Option<f64>,
    /// Processors that it kept busy.
    pub gateway_cores: Option<f64>,
    /// Use that the generator made of its thread.
    pub generator_cores: f64,
    /// Why the figures are not to be trusted.
    pub warnings: Vec<String>,
}

impl ChurnRow {
    fn new(system: System, rounds: Vec<ChurnMeasured>) -> Self {
        let spread = |pick: fn(&ChurnMeasured) -> f64| Spread::of(rounds.iter().map(pick));
        let known =
            |pick: fn(&ChurnMeasured) -> Option<f64>| Spread::known(rounds.iter().map(pick));
        Self {
            connects_per_second: spread(|it| it.connects_per_second),
            gateway_us_per_connect: known(|it| it.gateway_us_per_connect),
            p50_us: spread(|it| it.joined_us.p50),
            p99_us: spread(|it| it.joined_us.p99),
            gateway_cores: known(|it| it.gateway_cores),
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

impl Churn {
    /// Measures.
    ///
    /// # Errors
    /// If a system cannot be run, or a client cannot join.
    pub async fn run(&self, launcher: &Launcher) -> anyhow::Result<ChurnResult> {
        anyhow::ensure!(self.rounds.repeat > 0, "--repeat must be at least 1");
        anyhow::ensure!(self.clients > 0, "--clients must be at least 1");
        allow_files(2 * u64::from(self.clients) + 100)?;
        let systems = self.systems.all()?;
        let mut done: Vec<Vec<ChurnMeasured>> = systems.iter().map(|_| Vec::new()).collect();
        let indexed: Vec<usize> = (0..systems.len()).collect();
        'rounds: for round in 0..self.rounds.repeat {
            for index in order(&indexed, round) {
                let (Some(system), Some(rounds)) = (systems.get(index), done.get_mut(index)) else {
                    continue;
                };
                let measuring = async {
                    let running = system.start(launcher, None).await?;
                    let measured = self.measure(running.room().await?, running.process()).await?;
                    running.stop().await?;
                    Ok(measured)
                };
                let Some(measured) = launcher.unless_interrupted(measuring).await? else {
                    break 'rounds;
                };
                note(format_args!(
                    "churn {}/{}  {:<32} {:.0} connects/s, p50 {:.0} µs",
                    round + 1,
                    self.rounds.repeat,
                    system.title(),
                    measured.connects_per_second,
                    measured.joined_us.p50,
                ));
                for warning in &measured.warnings {
                    note(format_args!("  warning: {warning}"));
                }
                rounds.push(measured);
            }
        }
        let rows = systems.into_iter().zip(done).filter(|(_, rounds)| !rounds.is_empty());
        let rows = rows.map(|(system, it)| ChurnRow::new(system, it));
        Ok(ChurnResult {
            scenario: "churn",
            clients: self.clients,
            seconds: self.rounds.seconds,
            rows: rows.collect(),
        })
    }

    async fn measure(
        &self,
        room: Room,
        process: Option<&Process>,
    ) -> anyhow::Result<ChurnMeasured> {
        let (room, joined) = (Arc::new(room), Arc::new(AtomicU64::new(0)));
        let latencies = Arc::new(parking_lot::Mutex::new(Latencies::new()));
        let mut tasks = JoinSet::new();
        for number in 0..self.clients {
            let (room, joined, latencies) = (room.clone(), joined.clone(), latencies.clone());
            tasks.spawn(async move {
                loop {
                    let since = std::time::Instant::now();
                    // Leaving is dropping it: what a client that is closed does.
                    drop(room.join(number).await?);
                    let ns = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    latencies.lock().record(ns);
                    joined.fetch_add(1, Ordering::Relaxed);
                }
                #[expect(unreachable_code, reason = "it is how the loop's errors get a type")]
                anyhow::Ok(())
            });
        }
        let mut wait = async |time: Duration| {
            tokio::select! {
                () = tokio::time::sleep(time) => anyhow::Ok(()),
                ended = tasks.join_next() => match ended.context("nobody comes")?? {
                    Ok(()) => anyhow::bail!("a client stopped coming and going"),
                    Err(error) => Err(error.context("a client could not join")),
                },
            }
        };
        wait(self.rounds.warm_up()).await?;
        *latencies.lock() = Latencies::new();
        let (before, count) = (Usage::now(process, &[])?, joined.load(Ordering::Relaxed));
        wait(self.rounds.duration()).await?;
        let used = Usage::now(process, &[])?.since(&before);
        let count = joined.load(Ordering::Relaxed) - count;
        let each = used.gateway * 1e6 / count.max(1) as f64;
        Ok(ChurnMeasured {
            connects_per_second: count as f64 / used.seconds,
            joined_us: latencies.lock().percentiles(),
            gateway_us_per_connect: process.map(|_| each),
            gateway_cores: process.map(|_| used.gateway_cores()),
            generator_cores: used.generator_cores(),
            warnings: used.warnings(),
        })
    }
}

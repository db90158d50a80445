//! `churn`: clients that connect and leave all the time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use serde::Serialize;
use signalbox_loadgen::{
    files::allow_files,
    latencies::Latencies,
    process::Process,
    system::{System, Systems},
    target::Target,
    usage::Usage,
};
use signalbox_report::{Chart, Column, Contender, Label, Metric, Percentiles, Round};
use tokio::task::JoinSet;

use super::{Columns, Outcome, Rounds, Scenario};
use crate::{Bench, all::All};

const CONNECTS: Metric<ChurnMeasured> =
    Metric::higher("connects_per_second", "/s", |it| Some(it.connects_per_second));
const CPU: Metric<ChurnMeasured> =
    Metric::lower("gateway_us_per_connect", "µs", |it| it.gateway_us_per_connect);
const P50: Metric<ChurnMeasured> = Metric::lower("p50_us", "µs", |it| Some(it.joined_us.p50));
const P99: Metric<ChurnMeasured> = Metric::lower("p99_us", "µs", |it| Some(it.joined_us.p99));
const GATEWAY: Metric<ChurnMeasured> =
    Metric::neutral("gateway_cores", "cores", |it| it.gateway_cores);
const GENERATOR: Metric<ChurnMeasured> =
    Metric::neutral("generator_cores", "cores", |it| Some(it.generator_cores));

/// Connects per second.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Churn {
    #[command(flatten)]
    #[serde(skip)]
    systems: Systems,
    /// Clients that connect and leave at the same time.
    #[arg(long, value_name = "NUMBER", default_value_t = 16)]
    clients: u32,
    #[command(flatten)]
    #[serde(flatten)]
    rounds: Rounds,
}

/// A system.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ChurnLabel {
    #[serde(rename = "transport")]
    system: System,
}

impl Label for ChurnLabel {
    fn title(&self) -> String {
        self.system.title()
    }

    fn summary(&self) -> Option<(Contender, String, String)> {
        Some((self.system.contender()?, self.system.title(), String::new()))
    }
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ChurnMeasured {
    /// Clients that joined in a second.
    connects_per_second: f64,
    /// Time from dialling to the end of joining.
    joined_us: Percentiles,
    /// Processor time of the gateway for each client; `None` if it runs elsewhere.
    gateway_us_per_connect: Option<f64>,
    /// Processors that it kept busy.
    gateway_cores: Option<f64>,
    /// Use that the generator made of its thread.
    generator_cores: f64,
    /// Reasons not to trust the figures.
    warnings: Vec<String>,
}

impl Round for ChurnMeasured {
    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    fn progress(&self) -> String {
        format!("{:.0} connects/s, p50 {:.0} µs", self.connects_per_second, self.joined_us.p50)
    }
}

impl Scenario for Churn {
    const NAME: &'static str = "churn";
    const TITLE: &'static str = "Churn";
    const READING: &'static str = include_str!("reading.md");
    const METRICS: &'static [Metric<ChurnMeasured>] =
        &[CONNECTS, CPU.headline("CPU per connect"), P50, P99, GATEWAY, GENERATOR];

    const RELATIVE: &'static [(&'static str, Metric<Self::Round>)] =
        &[("connects per second", CONNECTS), ("p99 until in", P99), ("CPU per connect", CPU)];

    type Label = ChurnLabel;
    type Round = ChurnMeasured;

    async fn run(&self, bench: &Bench) -> anyhow::Result<Outcome<Self>> {
        anyhow::ensure!(self.clients > 0, "--clients must be at least 1");
        allow_files(2 * u64::from(self.clients) + 100)?;
        let labels = self.systems.all()?.into_iter().map(|system| ChurnLabel { system }).collect();
        let measure = async |label: &ChurnLabel, _| {
            let running = label.system.start(&bench.launcher, None).await?;
            let measured = self.measure(running.target().await?, &running.processes()).await?;
            running.stop().await?;
            Ok(measured)
        };
        Outcome::measure(self, bench, self.rounds.repeat, labels, measure).await
    }

    fn adapt(&mut self, all: &All) -> bool {
        self.systems.compare_with.clone_from(&all.compare_with);
        self.rounds.adapt(Self::NAME, all)
    }

    fn remote(&self) -> Option<String> {
        self.systems.elsewhere()
    }

    fn heading(&self) -> String {
        let clients = self.clients;
        format!("Churn: {clients} clients at a time connect with a full handshake, join, and leave")
    }

    fn columns(&self) -> Columns<Self> {
        vec![
            Column::title("transport"),
            Column::spread("connects/s", &CONNECTS, 0),
            Column::spread("from dialling to being in, p50 µs", &P50, 0),
            Column::spread("p99 µs", &P99, 0),
            Column::spread("gateway CPU µs per connect", &CPU, 0),
            Column::spread("gateway's use of processors", &GATEWAY, 2),
            Column::percent("generator's use of its thread", &GENERATOR),
        ]
    }

    fn charts(outcome: &Outcome<Self>) -> Vec<Chart> {
        let charts = [
            outcome.bars("Connects per second", &CONNECTS),
            outcome.bars("From dialling to being in, p99", &P99),
            outcome.bars("Processor time per connect", &CPU),
        ];
        charts.into_iter().flatten().collect()
    }
}

impl Churn {
    /// All clients connect and leave for the time of a measurement.
    async fn measure(
        &self,
        target: Target,
        processes: &[&Process],
    ) -> anyhow::Result<ChurnMeasured> {
        let (target, joined) = (Arc::new(target), Arc::new(AtomicU64::new(0)));
        let latencies = Arc::new(parking_lot::Mutex::new(Latencies::new()));
        let mut tasks = JoinSet::new();
        for number in 0..self.clients {
            let (target, joined, latencies) = (target.clone(), joined.clone(), latencies.clone());
            tasks.spawn(async move {
                loop {
                    let since = std::time::Instant::now();
                    // Dropping a client closes its connection, as a closed browser tab does.
                    drop(target.join(number).await?);
                    let ns = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    latencies.lock().record(ns);
                    joined.fetch_add(1, Ordering::Relaxed);
                }
                #[expect(unreachable_code, reason = "gives the loop's errors a type")]
                anyhow::Ok(())
            });
        }
        let mut wait = async |time: Duration| {
            tokio::select! {
                () = tokio::time::sleep(time) => anyhow::Ok(()),
                ended = tasks.join_next() => match ended.context("there is no client")?? {
                    Ok(()) => anyhow::bail!("a client stopped connecting"),
                    Err(error) => Err(error.context("a client could not join")),
                },
            }
        };
        wait(self.rounds.warm_up()).await?;
        *latencies.lock() = Latencies::new();
        let usage = || Usage::now(processes.iter().copied(), &[]);
        let (before, count) = (usage()?, joined.load(Ordering::Relaxed));
        wait(self.rounds.duration()).await?;
        let used = usage()?.since(&before);
        let count = joined.load(Ordering::Relaxed) - count;
        let is_ours = !processes.is_empty();
        let each = used.gateway * 1e6 / count.max(1) as f64;
        Ok(ChurnMeasured {
            connects_per_second: count as f64 / used.seconds,
            joined_us: latencies.lock().percentiles(),
            gateway_us_per_connect: is_ours.then_some(each),
            gateway_cores: is_ours.then(|| used.gateway_cores()),
            generator_cores: used.generator_cores(),
            warnings: used.warnings(),
        })
    }
}

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
use signalbox_report::{Better, Chart, Label, Metric, Percentiles, RelativeFigure, Round, Table};
use tokio::task::JoinSet;

use super::{Outcome, Rounds, Scenario, SummaryEntry, rounds::Measuring};
use crate::{Bench, all::All};

const CONNECTS: Metric<ChurnMeasured> =
    Metric::higher("connects_per_second", "/s", |it: &ChurnMeasured| Some(it.connects_per_second));
const CPU: Metric<ChurnMeasured> =
    Metric::lower("gateway_us_per_connect", "µs", |it: &ChurnMeasured| it.gateway_us_per_connect);
const P50: Metric<ChurnMeasured> =
    Metric::lower("p50_us", "µs", |it: &ChurnMeasured| Some(it.joined_us.p50));
const P99: Metric<ChurnMeasured> =
    Metric::lower("p99_us", "µs", |it: &ChurnMeasured| Some(it.joined_us.p99));
const GATEWAY: Metric<ChurnMeasured> =
    Metric::neutral("gateway_cores", "cores", |it: &ChurnMeasured| it.gateway_cores);
const GENERATOR: Metric<ChurnMeasured> =
    Metric::neutral("generator_cores", "cores", |it: &ChurnMeasured| Some(it.generator_cores));

/// Connects per second.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Churn {
    #[command(flatten)]
    systems: Systems,
    /// Clients that connect and leave at the same time.
    #[arg(long, value_name = "NUMBER", default_value_t = 16)]
    clients: u32,
    #[command(flatten)]
    rounds: Rounds,
}

/// The common parameters.
#[derive(Debug, Serialize)]
pub(crate) struct ChurnParameters {
    /// Clients at the same time.
    clients: u32,
    /// Length of a measurement.
    seconds: f64,
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
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ChurnMeasured {
    /// Clients that joined in a second.
    connects_per_second: f64,
    /// From dialling to the end of joining.
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

    type Parameters = ChurnParameters;
    type Label = ChurnLabel;
    type Round = ChurnMeasured;

    async fn run(&self, bench: &Bench) -> anyhow::Result<Outcome<Self>> {
        anyhow::ensure!(self.clients > 0, "--clients must be at least 1");
        allow_files(2 * u64::from(self.clients) + 100)?;
        let labels = self.systems.all()?.into_iter().map(|system| ChurnLabel { system }).collect();
        let measure = async |label: &ChurnLabel, _| {
            let running = label.system.start(&bench.launcher, None).await?;
            let measured = self.measure(running.target().await?, running.process()).await?;
            running.stop().await?;
            Ok(measured)
        };
        let Measuring { rows, failures } =
            Measuring::<Self>::rows(bench, self.rounds.repeat, labels, measure).await?;
        let parameters = ChurnParameters { clients: self.clients, seconds: self.rounds.seconds };
        Ok(Outcome { parameters, rows, failures })
    }

    fn adapt(&mut self, all: &All) -> bool {
        self.systems.compare_with.clone_from(&all.compare_with);
        all.shorten(&mut self.rounds, Self::NAME)
    }

    fn remote(&self) -> Option<String> {
        self.systems.elsewhere()
    }

    fn table(outcome: &Outcome<Self>) -> Table {
        let clients = outcome.parameters.clients;
        let mut table = Table::new(
            format!(
                "Churn: {clients} clients at a time connect with a full handshake, join, and leave"
            ),
            [
                "transport",
                "connects/s",
                "from dialling to being in, p50 µs",
                "p99 µs",
                "gateway CPU µs per connect",
                "gateway's use of processors",
                "generator's use of its thread",
            ],
        );
        for row in &outcome.rows {
            table.row([
                row.label.title(),
                row.text(&CONNECTS, 0),
                row.text(&P50, 0),
                row.text(&P99, 0),
                row.text(&CPU, 0),
                row.text(&GATEWAY, 2),
                row.percent(&GENERATOR),
            ]);
        }
        table
    }

    fn charts(outcome: &Outcome<Self>) -> Vec<Chart> {
        let palette = outcome.palette();
        let charts = [
            ("Connects per second", "/s", &CONNECTS),
            ("From dialling to being in, p99", "µs", &P99),
            ("Processor time per connect", "µs", &CPU),
        ];
        let charts = charts.map(|(title, unit, metric)| (title, unit, outcome.figures(metric)));
        let charts = charts.into_iter().filter(|it| !it.2.is_empty());
        charts.map(|(title, unit, rows)| Chart::bars(title, unit, &palette, &rows)).collect()
    }

    fn relative(outcome: &Outcome<Self>) -> Vec<RelativeFigure> {
        let figures = [
            RelativeFigure::of("connects per second", Better::Higher, &outcome.figures(&CONNECTS)),
            RelativeFigure::of("p99 until in", Better::Lower, &outcome.figures(&P99)),
            RelativeFigure::of("CPU per connect", Better::Lower, &outcome.figures(&CPU)),
        ];
        figures.into_iter().flatten().collect()
    }

    fn summary(label: &ChurnLabel) -> Option<SummaryEntry> {
        Some((label.system.contender()?, label.system.title(), String::new()))
    }
}

impl Churn {
    /// All clients connect and leave for the time of a measurement.
    async fn measure(
        &self,
        target: Target,
        process: Option<&Process>,
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

//! `capacity`: the highest rate at which one sender's signals still reach many in time.
//!
//! Rates rise by a factor until one is too high, then the last step is halved. A rate is sustained
//! if every signal arrives and 99 % of them within the bound; above the capacity the backlog grows
//! all the time, so the bound is soon exceeded. A rate is too high when it failed twice in a row:
//! one pause of a busy machine is not the system's fault.

use serde::Serialize;
use signalbox_loadgen::{
    files::allow_files,
    load::{Measured, Pattern},
    output::note,
    system::{System, Systems},
};
use signalbox_netem::Impairment;
use signalbox_report::{Chart, Column, Contender, Label, Metric, Round, Row};

use super::{Columns, Outcome, Rounds, Scenario, at_rate::once};
use crate::{Bench, all::All};

/// Factor between two rates.
const STEP: f64 = 1.5;

/// Failures in a row that make a rate too high.
const ATTEMPTS: u32 = 2;

/// Seconds of load before an attempt.
const WARM_UP: f64 = 0.5;

/// No system and no generator reaches higher rates.
const MAX_DELIVERIES: f64 = 50_000_000.0;

/// Length of an attempt in `all`, in seconds: there are many.
const SECONDS_IN_ALL: f64 = 1.5;

const RATE: Metric<SustainedRate> =
    Metric::higher("deliveries_per_second", "/s", |it| Some(it.deliveries_per_second));
const CPU: Metric<SustainedRate> =
    Metric::lower("gateway_us_per_delivery", "µs", |it| it.measured.gateway_us_per_delivery);
const GATEWAY: Metric<SustainedRate> =
    Metric::neutral("gateway_cores", "cores", |it| it.measured.gateway_cores);
const GENERATOR: Metric<SustainedRate> =
    Metric::neutral("generator_cores", "cores", |it| Some(it.measured.generator_cores));

/// Highest rate from one connection to many with bounded latency.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Capacity {
    #[command(flatten)]
    #[serde(skip)]
    systems: Systems,
    /// Connections in the session; one number or several.
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', default_value = "100,1000")]
    #[serde(skip)]
    receivers: Vec<u32>,
    /// Deliveries per second of the first attempt.
    #[arg(long, value_name = "NUMBER", default_value_t = 50_000)]
    #[serde(skip)]
    from: u32,
    /// Milliseconds within which 99 % must have arrived.
    #[arg(long, value_name = "MS", default_value_t = 50.0)]
    #[serde(rename = "bound_ms")]
    bound: f64,
    /// Length of an attempt in seconds, without its warm-up.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Searches for each system.
    #[arg(long, value_name = "ROUNDS", default_value_t = 3)]
    #[serde(skip)]
    repeat: usize,
}

/// A system with a number of receivers.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CapacityLabel {
    #[serde(rename = "transport")]
    system: System,
    receivers: u32,
}

impl Label for CapacityLabel {
    fn title(&self) -> String {
        format!("{} to {}", self.system.title(), self.receivers)
    }

    fn group(&self) -> String {
        format!("to {} receivers", self.receivers)
    }

    fn member(&self) -> String {
        self.system.title()
    }

    fn summary(&self) -> Option<(Contender, String, String)> {
        let load = format!(", to {}", self.receivers);
        Some((self.system.contender()?, self.system.title(), load))
    }

    fn may_fail(&self) -> bool {
        matches!(self.system, System::Peer(_))
    }
}

/// The highest rate that was sustained.
#[derive(Debug, Serialize)]
pub(crate) struct SustainedRate {
    deliveries_per_second: f64,
    /// The measurement at that rate.
    #[serde(flatten)]
    measured: Measured,
}

impl Round for SustainedRate {
    fn warnings(&self) -> Vec<String> {
        self.measured.warnings.clone()
    }

    fn progress(&self) -> String {
        let (rate, cores) = (self.deliveries_per_second, self.measured.generator_cores);
        format!("{rate:.0} deliveries/s, generator {cores:.2} of its thread")
    }
}

impl Scenario for Capacity {
    const NAME: &'static str = "capacity";
    const TITLE: &'static str = "Capacity";
    const READING: &'static str = include_str!("reading.md");
    const METRICS: &'static [Metric<SustainedRate>] =
        &[RATE.headline("highest rate"), CPU, GATEWAY, GENERATOR];

    const RELATIVE: &'static [(&'static str, Metric<Self::Round>)] = &[("deliveries/s", RATE)];

    type Label = CapacityLabel;
    type Round = SustainedRate;

    async fn run(&self, bench: &Bench) -> anyhow::Result<Outcome<Self>> {
        anyhow::ensure!(self.from > 0, "--from must be at least 1");
        anyhow::ensure!(self.receivers.iter().all(|it| *it > 0), "--receivers must be at least 1");
        allow_files(u64::from(self.receivers.iter().copied().max().unwrap_or_default()) + 100)?;
        let systems = self.systems.all()?;
        let of = |system: &System| {
            let label = |it: &u32| CapacityLabel { system: system.clone(), receivers: *it };
            self.receivers.iter().map(label).collect::<Vec<_>>()
        };
        let labels = systems.iter().flat_map(of).collect();
        let search = async |it: &CapacityLabel, _| self.search(bench, it).await;
        Outcome::measure(self, bench, self.repeat, labels, search).await
    }

    fn adapt(&mut self, all: &All) -> bool {
        self.repeat = all.rounds(Self::NAME, 1);
        self.seconds = SECONDS_IN_ALL;
        self.systems.compare_with.clone_from(&all.compare_with);
        self.repeat > 0
    }

    fn remote(&self) -> Option<String> {
        self.systems.elsewhere()
    }

    fn heading(&self) -> String {
        format!("Capacity: highest rate from one sender to many with p99 under {} ms", self.bound)
    }

    fn columns(&self) -> Columns<Self> {
        vec![
            Column::new("transport", |row: &Row<CapacityLabel, _>| row.label.system.title()),
            Column::new("receivers", |row: &Row<CapacityLabel, _>| row.label.receivers.to_string()),
            Column::spread("deliveries/s", &RATE, 0),
            Column::spread("gateway CPU µs per delivery", &CPU, 2),
            Column::spread("gateway's use of processors", &GATEWAY, 2),
            Column::percent("generator's use of its thread", &GENERATOR),
        ]
    }

    fn charts(outcome: &Outcome<Self>) -> Vec<Chart> {
        let charts = [
            outcome.bars("Highest rate that was sustained, deliveries", &RATE),
            outcome.bars("Processor time per delivery at that rate", &CPU),
        ];
        charts.into_iter().flatten().collect()
    }
}

impl Capacity {
    /// The highest rate that is sustained.
    async fn search(&self, bench: &Bench, label: &CapacityLabel) -> anyhow::Result<SustainedRate> {
        let mut rate = f64::from(self.from);
        let mut best = self.attempt(bench, label, rate).await.map_err(|why| {
            anyhow::anyhow!(
                "{} does not sustain {rate:.0} deliveries/s ({why}): lower --from",
                label.title()
            )
        })?;
        // Half a step is a ratio too.
        let mut step = STEP;
        while step > STEP.sqrt() - 0.01 && rate * step <= MAX_DELIVERIES {
            match self.attempt(bench, label, rate * step).await {
                Ok(measured) => {
                    rate *= step;
                    best = measured;
                    if step < STEP {
                        break;
                    }
                }
                Err(_) => step = step.sqrt(),
            }
        }
        Ok(SustainedRate { deliveries_per_second: rate, measured: best })
    }

    /// One rate; or the reason why it was too high the last time.
    async fn attempt(
        &self,
        bench: &Bench,
        label: &CapacityLabel,
        deliveries: f64,
    ) -> Result<Measured, String> {
        let rounds = Rounds { seconds: self.seconds, warm_up: WARM_UP, repeat: 1 };
        let rate = deliveries / f64::from(label.receivers);
        let load = rounds.load(label.receivers as usize, Pattern::ToAll, rate);
        let title = label.title();
        let mut why = String::new();
        for _ in 0..ATTEMPTS {
            why = match once(bench, &label.system, &load, Impairment::default()).await {
                Ok(measured) if measured.latency_us.p99 <= self.bound * 1e3 => {
                    note(format_args!("  {title} at {deliveries:.0}/s: sustained"));
                    return Ok(measured);
                }
                Ok(measured) => format!("p99 was {:.0} ms", measured.latency_us.p99 / 1e3),
                // A system that cannot keep up may lose signals, or its clients.
                Err(error) => format!("{error:#}").lines().next().unwrap_or_default().to_owned(),
            };
            note(format_args!("  {title} at {deliveries:.0}/s: {why}"));
        }
        Err(why)
    }
}

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
use signalbox_report::{
    BarGroup, Better, Chart, Label, Metric, Palette, RelativeFigure, Round, Row, Table,
};

use super::{
    Outcome, Rounds, Scenario, SummaryEntry, at_rate::once, outcome::named, rounds::Measuring,
};
use crate::{Bench, all::All};

/// From one rate to the next.
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
    Metric::higher("deliveries_per_second", "/s", |it: &SustainedRate| {
        Some(it.deliveries_per_second)
    });
const CPU: Metric<SustainedRate> =
    Metric::lower("gateway_us_per_delivery", "µs", |it: &SustainedRate| {
        it.measured.gateway_us_per_delivery
    });
const GATEWAY: Metric<SustainedRate> =
    Metric::neutral("gateway_cores", "cores", |it: &SustainedRate| it.measured.gateway_cores);
const GENERATOR: Metric<SustainedRate> =
    Metric::neutral("generator_cores", "cores", |it: &SustainedRate| {
        Some(it.measured.generator_cores)
    });

/// Highest rate from one connection to many with bounded latency.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Capacity {
    #[command(flatten)]
    systems: Systems,
    /// Connections in the session; one number or several.
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', default_value = "100,1000")]
    receivers: Vec<u32>,
    /// Deliveries per second of the first attempt.
    #[arg(long, value_name = "NUMBER", default_value_t = 50_000)]
    from: u32,
    /// Milliseconds within which 99 % must have arrived.
    #[arg(long, value_name = "MS", default_value_t = 50.0)]
    bound: f64,
    /// Length of an attempt in seconds, without its warm-up.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Searches for each system.
    #[arg(long, value_name = "ROUNDS", default_value_t = 3)]
    repeat: usize,
}

/// The common parameters.
#[derive(Debug, Serialize)]
pub(crate) struct CapacityParameters {
    /// Milliseconds within which 99 % must have arrived.
    bound_ms: f64,
    /// Length of an attempt.
    seconds: f64,
}

/// A system with so many receivers.
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

    type Parameters = CapacityParameters;
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
        let Measuring { rows, failures } =
            Measuring::<Self>::rows(bench, self.repeat, labels, search).await?;
        let parameters = CapacityParameters { bound_ms: self.bound, seconds: self.seconds };
        Ok(Outcome { parameters, rows, failures })
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

    fn table(outcome: &Outcome<Self>) -> Table {
        let bound = outcome.parameters.bound_ms;
        let mut table = Table::new(
            format!("Capacity: highest rate from one sender to many with p99 under {bound} ms"),
            [
                "transport",
                "receivers",
                "deliveries/s",
                "gateway CPU µs per delivery",
                "gateway's use of processors",
                "generator's use of its thread",
            ],
        );
        for row in &outcome.rows {
            table.row([
                row.label.system.title(),
                row.label.receivers.to_string(),
                row.text(&RATE, 0),
                row.text(&CPU, 2),
                row.text(&GATEWAY, 2),
                row.percent(&GENERATOR),
            ]);
        }
        table
    }

    fn charts(outcome: &Outcome<Self>) -> Vec<Chart> {
        let palette = Palette::of(outcome.rows.iter().map(|it| it.label.system.title()));
        let groups = |metric: &Metric<SustainedRate>| -> Vec<BarGroup> {
            let group = |receivers: u32| {
                let bars = figures(outcome, receivers, metric);
                let bars = bars.into_iter().map(|(name, it)| (name, it.spread)).collect();
                (format!("to {receivers} receivers"), bars)
            };
            receivers(outcome).into_iter().map(group).collect()
        };
        let title = "Highest rate that was sustained, deliveries";
        let mut charts = vec![Chart::groups(title, "/s", &palette, groups(&RATE), None)];
        let costs = groups(&CPU);
        if costs.iter().any(|it| !it.1.is_empty()) {
            let title = "Processor time per delivery at that rate";
            charts.push(Chart::groups(title, "µs", &palette, costs, None));
        }
        charts
    }

    fn relative(outcome: &Outcome<Self>) -> Vec<RelativeFigure> {
        let of = |receivers: u32| {
            let rows = figures(outcome, receivers, &RATE);
            RelativeFigure::of(format!("deliveries/s to {receivers}"), Better::Higher, &rows)
        };
        receivers(outcome).into_iter().filter_map(of).collect()
    }

    fn summary(label: &CapacityLabel) -> Option<SummaryEntry> {
        let load = format!(", to {}", label.receivers);
        Some((label.system.contender()?, label.system.title(), load))
    }

    fn may_fail(label: &CapacityLabel) -> bool {
        matches!(label.system, System::Peer(_))
    }
}

/// Numbers of receivers, in order.
fn receivers(outcome: &Outcome<Capacity>) -> Vec<u32> {
    let mut receivers: Vec<_> = outcome.rows.iter().map(|it| it.label.receivers).collect();
    receivers.sort_unstable();
    receivers.dedup();
    receivers
}

/// The systems with so many receivers.
fn figures(
    outcome: &Outcome<Capacity>,
    receivers: u32,
    metric: &Metric<SustainedRate>,
) -> Vec<signalbox_report::NamedFigure> {
    let is_of = |it: &&Row<CapacityLabel, _>| it.label.receivers == receivers;
    named(outcome.rows.iter().filter(is_of), |it| it.system.title(), metric)
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

//! `capacity`: the highest rate at which one sender's signals still reach many in time.
//!
//! Rates rise by a factor until one is too high, then the last step is halved. A rate is kept if
//! every signal arrives and 99 % of them within the bound; at a rate that is too high the backlog
//! grows for as long as it lasts, so that the bound is soon passed. It is too high when it was so
//! twice in a row: a single pause of a busy machine is not the system's.

use serde::Serialize;
use signalbox_netem::Impairment;

use super::{
    order,
    signals::{Rounds, once},
};
use crate::{
    gateway::{Launcher, allow_files},
    load::{Measured, Pattern},
    output::note,
    stats::Spread,
    system::{System, Systems},
};

/// From one rate to the next.
const STEP: f64 = 1.5;

/// How often in a row a rate must be too high.
const ATTEMPTS: u32 = 2;

/// Seconds of load before an attempt.
const WARM_UP: f64 = 0.5;

/// Rates beyond which no system and no generator will come.
const MAX_DELIVERIES: f64 = 50_000_000.0;

/// The highest sustained rate from one sender to many.
#[derive(Debug, Clone, clap::Args)]
pub struct Capacity {
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as this command's own description")]
    pub systems: Systems,
    /// Connections in the session; one value or several.
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', default_value = "100,1000")]
    pub receivers: Vec<u32>,
    /// Deliveries per second of the first attempt.
    #[arg(long, value_name = "NUMBER", default_value_t = 50_000)]
    pub from: u32,
    /// Milliseconds within which 99 % must have arrived.
    #[arg(long, value_name = "MS", default_value_t = 50.0)]
    pub bound: f64,
    /// Length of an attempt in seconds, without its warm-up.
    #[arg(long, default_value_t = 2.0)]
    pub seconds: f64,
    /// Searches for each system.
    #[arg(long, value_name = "ROUNDS", default_value_t = 3)]
    pub repeat: usize,
}

/// All searches.
#[derive(Debug, Serialize)]
pub struct CapacityResult {
    /// `capacity`.
    pub scenario: &'static str,
    /// Milliseconds within which 99 % must have arrived.
    pub bound_ms: f64,
    /// Length of an attempt.
    pub seconds: f64,
    /// A row for each system and number of receivers.
    pub rows: Vec<CapacityRow>,
    /// What became of other systems that did not even keep the first rate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
}

/// All searches of one system with so many receivers.
#[derive(Debug, Serialize)]
pub struct CapacityRow {
    /// The system.
    #[serde(rename = "transport")]
    pub system: System,
    /// Connections in the session.
    pub receivers: u32,
    /// Highest rate that was kept.
    pub deliveries_per_second: Spread,
    /// What the gateway used for a delivery at that rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_us_per_delivery: Option<Spread>,
    /// Use that the gateway made of processors at that rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_cores: Option<Spread>,
    /// Use that the generator made of its thread at that rate; where it is near 1, the generator
    /// was the limit and the system can do more.
    pub generator_cores: Spread,
    /// The measurements at the highest rates.
    pub rounds: Vec<Measured>,
}

/// A system, its receivers, and the highest rates that were found.
type Place = (System, u32, Vec<(f64, Measured)>);

impl CapacityRow {
    /// All that was said against its measurements.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        let title = format!("{} to {}", self.system.title(), self.receivers);
        super::by_round(title, self.rounds.iter().map(|it| &it.warnings))
    }
}

impl Capacity {
    /// Searches.
    ///
    /// # Errors
    /// If a system cannot be run, or does not even keep the first rate.
    pub async fn run(&self, launcher: &Launcher) -> anyhow::Result<CapacityResult> {
        anyhow::ensure!(self.repeat > 0, "--repeat must be at least 1");
        anyhow::ensure!(self.from > 0, "--from must be at least 1");
        anyhow::ensure!(self.receivers.iter().all(|it| *it > 0), "--receivers must be at least 1");
        allow_files(u64::from(self.receivers.iter().copied().max().unwrap_or_default()) + 100)?;
        let mut places: Vec<Place> = Vec::new();
        for system in self.systems.all()? {
            places.extend(self.receivers.iter().map(|it| (system.clone(), *it, Vec::new())));
        }
        let indexed: Vec<usize> = (0..places.len()).collect();
        let mut failures = Vec::new();
        'rounds: for round in 0..self.repeat {
            for index in order(&indexed, round) {
                let Some((system, receivers, rounds)) = places.get_mut(index) else { continue };
                let search = self.search(launcher, system, *receivers);
                let (deliveries, measured) = match launcher.unless_interrupted(search).await {
                    // That another system cannot keep up is a result, too.
                    Err(error) if matches!(system, System::Peer(_)) => {
                        note(format_args!("capacity {}/{}  {error:#}", round + 1, self.repeat));
                        failures.push(format!("{error:#}"));
                        continue;
                    }
                    Ok(Some(found)) => found,
                    Ok(None) => break 'rounds,
                    Err(error) => return Err(error),
                };
                note(format_args!(
                    "capacity {}/{}  {:<32} to {receivers}: {deliveries:.0} deliveries/s, \
                     generator {:.2} of its thread",
                    round + 1,
                    self.repeat,
                    system.title(),
                    measured.generator_cores,
                ));
                rounds.push((deliveries, measured));
            }
        }
        let (bound_ms, seconds) = (self.bound, self.seconds);
        let found = places.into_iter().filter(|it| !it.2.is_empty());
        let rows = found.map(|(system, receivers, rounds)| {
            let known = |pick: fn(&Measured) -> Option<f64>| {
                Spread::known(rounds.iter().map(|it| pick(&it.1)))
            };
            CapacityRow {
                system,
                receivers,
                deliveries_per_second: Spread::of(rounds.iter().map(|it| it.0)),
                gateway_us_per_delivery: known(|it| it.gateway_us_per_delivery),
                gateway_cores: known(|it| it.gateway_cores),
                generator_cores: Spread::of(rounds.iter().map(|it| it.1.generator_cores)),
                rounds: rounds.into_iter().map(|it| it.1).collect(),
            }
        });
        let rows = rows.collect();
        Ok(CapacityResult { scenario: "capacity", bound_ms, seconds, rows, failures })
    }

    async fn search(
        &self,
        launcher: &Launcher,
        system: &System,
        receivers: u32,
    ) -> anyhow::Result<(f64, Measured)> {
        let mut rate = f64::from(self.from);
        let mut best = self.attempt(launcher, system, receivers, rate).await.map_err(|why| {
            anyhow::anyhow!(
                "{} does not keep {rate:.0} deliveries/s to {receivers} ({why}): lower --from",
                system.title()
            )
        })?;
        // What is halved in the end is a ratio, too.
        let mut step = STEP;
        while step > STEP.sqrt() - 0.01 && rate * step <= MAX_DELIVERIES {
            match self.attempt(launcher, system, receivers, rate * step).await {
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
        Ok((rate, best))
    }

    /// One rate; or why it was too high, the second time.
    async fn attempt(
        &self,
        launcher: &Launcher,
        system: &System,
        receivers: u32,
        deliveries: f64,
    ) -> Result<Measured, String> {
        let rounds = Rounds { seconds: self.seconds, warm_up: WARM_UP, repeat: 1 };
        let rate = deliveries / f64::from(receivers);
        let load = rounds.load(receivers as usize, Pattern::ToAll, rate);
        let title = system.title();
        let mut why = String::new();
        for _ in 0..ATTEMPTS {
            why = match once(launcher, system, &load, Impairment::default()).await {
                Ok(measured) if measured.latency_us.p99 <= self.bound * 1e3 => {
                    note(format_args!("  {title} to {receivers} at {deliveries:.0}/s: kept"));
                    return Ok(measured);
                }
                Ok(measured) => format!("p99 was {:.0} ms", measured.latency_us.p99 / 1e3),
                // A system that cannot keep up may lose signals, or its clients.
                Err(error) => format!("{error:#}").lines().next().unwrap_or_default().to_owned(),
            };
            note(format_args!("  {title} to {receivers} at {deliveries:.0}/s: {why}"));
        }
        Err(why)
    }
}

//! One measurement: senders at a fixed rate, receivers, and the cost of each delivery.
//!
//! The load is open: a signal is sent when it is due, whether or not the ones before have arrived,
//! and its latency counts from when it was due. A system or a generator that stalls is charged for
//! every signal that waited meanwhile (no coordinated omission).

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use signalbox_report::{Percentiles, QuantilePoint, Round, TimeSlice};
use tokio::task::JoinSet;

use crate::{
    client::{Address, ClientSender, MinimalClient},
    clock::{Metronome, nanos, now_ns},
    latencies::{Latencies, Timeline},
    payload,
    process::Process,
    recorder::Receivers,
    target::Target,
    usage::{Usage, Used},
};

/// Pause between the last connect and the first signal: handshakes are not part of the measurement.
pub const PAUSE: Duration = Duration::from_millis(300);

/// Clients that connect at the same time.
const CONNECTING: usize = 16;

/// Signals that a late generator sends in a row before the receivers have a turn.
const BURST: u32 = 32;

/// Lateness that is allowed to a generator with a signal due all the time.
const LATE: Duration = Duration::from_millis(1);

/// A load.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Clients at the target.
    pub connections: usize,
    /// Senders and recipients.
    pub pattern: Pattern,
    /// Signals per second, of all senders together.
    pub rate: f64,
    /// Time of load before the measurement.
    pub warm_up: Duration,
    /// Time of the measurement.
    pub duration: Duration,
}

/// Senders and recipients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pattern {
    /// The first client to the last one.
    ToOne,
    /// The first client to all, itself included.
    ToAll,
    /// Every client to all, in turn.
    Mesh,
    /// The same, but most signals are of a few hot senders.
    Mixed {
        /// Hot senders.
        hot: usize,
        /// Share of all signals that the others send.
        quiet_share: f64,
    },
}

impl Load {
    fn interval(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.rate)
    }

    fn signals(&self, time: Duration) -> u64 {
        (time.as_secs_f64() * self.rate).round() as u64
    }

    /// The sender of a signal, and whether it is a quiet one.
    fn sender(&self, number: u64) -> (usize, bool) {
        let turn = |number: u64, of: usize| (number % of.max(1) as u64) as usize;
        match self.pattern {
            Pattern::ToOne | Pattern::ToAll => (0, false),
            Pattern::Mesh => (turn(number, self.connections), false),
            Pattern::Mixed { hot, quiet_share } => {
                // Spread evenly: a quiet sender's turn comes when the share is due.
                let due = |number: u64| (number as f64 * quiet_share).floor() as u64;
                let (before, after) = (due(number), due(number + 1));
                if after > before {
                    (hot + turn(before, self.connections.saturating_sub(hot)), true)
                } else {
                    (turn(number - before, hot), false)
                }
            }
        }
    }
}

/// The result of a load.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// Time from the due time of a signal to its arrival at a receiver.
    pub latency_us: Percentiles,
    /// The same in full.
    pub curve: Vec<QuantilePoint>,
    /// The same over time.
    pub timeline: Vec<TimeSlice>,
    /// The same of the quiet senders among others that are hot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quiet_us: Option<Percentiles>,
    /// Time from the due time of a signal to its writing: the generator's own share.
    pub lag_us: Percentiles,
    /// Signals received after the warm-up, by all receivers together. None is missing.
    pub deliveries: u64,
    /// Processor time of the system under test for each of them, user and system; `None` if it
    /// runs elsewhere.
    pub gateway_us_per_delivery: Option<f64>,
    /// The same of each process of a system with several: its nodes, and the bus between them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub processes_us_per_delivery: Vec<f64>,
    /// Processor time of all the clients for each of them.
    pub generator_us_per_delivery: f64,
    /// Processors that the system under test kept busy.
    pub gateway_cores: Option<f64>,
    /// Use that the generator made of its one thread.
    pub generator_cores: f64,
    /// Use that processes outside the benchmark made of the machine.
    pub other_cores: f64,
    /// Reasons not to trust the figures.
    pub warnings: Vec<String>,
}

impl Round for Measured {
    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    fn progress(&self) -> String {
        let Percentiles { p50, p99, .. } = self.latency_us;
        let each = self.gateway_us_per_delivery;
        let each = each.map(|us| format!(", gateway {us:.1} µs per delivery")).unwrap_or_default();
        format!("p50 {p50:.0} µs, p99 {p99:.0} µs{each}")
    }
}

impl Measured {
    /// A measurement with this p99 in microseconds, for tests of scenarios.
    pub fn with_p99(p99: f64) -> Self {
        let us = Percentiles { p50: 1.0, p90: 1.0, p99, p999: p99, max: p99 };
        Self {
            latency_us: us,
            curve: Vec::new(),
            timeline: Vec::new(),
            quiet_us: None,
            lag_us: us,
            deliveries: 1,
            gateway_us_per_delivery: Some(1.0),
            processes_us_per_delivery: Vec::new(),
            generator_us_per_delivery: 1.0,
            gateway_cores: Some(0.5),
            generator_cores: 0.5,
            other_cores: 0.0,
            warnings: Vec::new(),
        }
    }
}

/// Runs a load on a target. `processes` are the system under test; none if it runs elsewhere. The
/// processes `further` belong to the benchmark.
pub async fn measure<'a>(
    target: Target,
    processes: impl IntoIterator<Item = &'a Process>,
    load: &Load,
    further: &[u32],
) -> anyhow::Result<Measured> {
    let processes: Vec<&Process> = processes.into_iter().collect();
    let usage = || Usage::now(processes.iter().copied(), further);
    let last_words = || {
        let words = processes.iter().map(|it| it.last_words()).filter(|words| !words.is_empty());
        words.collect::<Vec<_>>().join("\n")
    };
    let clients = join(target, load.connections).await;
    let clients = clients.map_err(|error| with_log(error, last_words()))?;
    let (senders, receivers): (Vec<_>, Vec<_>) =
        clients.into_iter().map(|client| (client.sender, client.receiver)).unzip();
    let Some(last) = senders.last() else { bail!("a load needs at least one connection") };
    let to = (load.pattern == Pattern::ToOne).then_some(last.address);
    let start_ns = now_ns() + nanos(PAUSE);
    let (warm_up, measured) = (load.signals(load.warm_up), load.signals(load.duration));
    ensure!(measured > 0, "no signal at all would be sent: raise the rate or the duration");
    let interval_ns = nanos(load.interval());
    let timeline = Timeline::new(start_ns + warm_up * interval_ns, load.duration);
    let receivers = Receivers::of_clients(receivers, timeline);

    let mut lag = Latencies::new();
    let mut metronome = Metronome::start(start_ns, interval_ns)?;
    let mut before = usage()?;
    let mut blocked = Vec::new();
    let mut burst = 0;
    for number in 0..warm_up + measured {
        burst = if metronome.is_behind() { burst + 1 } else { 0 };
        if burst == BURST {
            burst = 0;
            tokio::task::yield_now().await;
        }
        let due_ns = metronome.tick().await?;
        let (sender, quiet) = load.sender(number);
        let data = if quiet { payload::encode_quiet(due_ns) } else { payload::encode(due_ns) };
        let sent = senders
            .get(sender)
            .context("no such sender")
            .and_then(|sender| send(sender, to, &data, &mut blocked));
        if let Err(error) = sent {
            // The recorder knows the cause a moment later.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let failure = receivers.recorder.lock().failure.take();
            let why = failure.unwrap_or_else(|| format!("{error:#}"));
            let error = anyhow::anyhow!(
                "a sender cannot send: {why}; the measurement is void. If a lower rate works, the \
                 rate was too high"
            );
            return Err(with_log(error, last_words()));
        }
        if number >= warm_up {
            lag.record(now_ns().saturating_sub(due_ns));
        }
        if number + 1 == warm_up {
            before = usage()?;
        }
    }
    let expected = expected(load, senders.len(), warm_up + measured);
    let retrying = async {
        while !blocked.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            retry(&mut blocked)?;
        }
        anyhow::Ok(())
    };
    let (retried, complete) = tokio::join!(retrying, receivers.complete(&expected));
    complete.map_err(|error| with_log(error, last_words()))?;
    retried?;
    let after = usage()?;

    let recorder = receivers.recorder.lock();
    let measured = evaluate(load, &recorder.timeline, &recorder.quiet, &lag, after.since(&before));
    Ok(if processes.is_empty() {
        Measured { gateway_us_per_delivery: None, gateway_cores: None, ..measured }
    } else {
        measured
    })
}

/// Adds the end of the log of the system under test, which may contain the cause.
fn with_log(error: anyhow::Error, words: String) -> anyhow::Error {
    if words.is_empty() {
        error
    } else {
        anyhow::anyhow!("{error:#}\nThe end of the system's log:\n{words}")
    }
}

/// Connects clients, some at a time; the first one is number 0.
async fn join(target: Target, connections: usize) -> anyhow::Result<Vec<MinimalClient>> {
    let target = Arc::new(target);
    let mut clients: Vec<Option<MinimalClient>> = (0..connections).map(|_| None).collect();
    let mut joining = JoinSet::new();
    let mut numbers = 0..connections;
    loop {
        while joining.len() < CONNECTING
            && let Some(number) = numbers.next()
        {
            let target = target.clone();
            joining.spawn(async move {
                let client = target.join(u32::try_from(number).unwrap_or(u32::MAX)).await;
                (number, client)
            });
        }
        let Some(joined) = joining.join_next().await else { break };
        let (number, client) = joined?;
        let client = client.with_context(|| format!("client {number} could not join"))?;
        if let Some(slot) = clients.get_mut(number) {
            *slot = Some(client);
        }
    }
    Ok(clients.into_iter().flatten().collect())
}

/// Sends, after a retry of the senders with unsent bytes.
fn send(
    sender: &ClientSender,
    to: Option<Address>,
    data: &str,
    blocked: &mut Vec<ClientSender>,
) -> anyhow::Result<()> {
    retry(blocked)?;
    let was_drained = sender.is_drained();
    sender.send(to, data)?;
    if was_drained && !sender.is_drained() {
        blocked.push(sender.clone());
    }
    Ok(())
}

fn retry(blocked: &mut Vec<ClientSender>) -> anyhow::Result<()> {
    let mut index = 0;
    while let Some(sender) = blocked.get(index) {
        if sender.retry()? {
            blocked.swap_remove(index);
        } else {
            index += 1;
        }
    }
    Ok(())
}

/// Signals that each connection must have received in the end.
fn expected(load: &Load, connections: usize, signals: u64) -> Vec<u64> {
    let receives = |index| load.pattern != Pattern::ToOne || index + 1 == connections;
    (0..connections).map(|index| if receives(index) { signals } else { 0 }).collect()
}

fn evaluate(
    load: &Load,
    timeline: &Timeline,
    quiet: &Latencies,
    lag: &Latencies,
    used: Used,
) -> Measured {
    let latencies = timeline.latencies();
    let deliveries = latencies.count();
    let each = |time: f64| time * 1e6 / deliveries.max(1) as f64;
    let lag_us = lag.percentiles();
    let mut warnings = used.warnings();
    let several = used.each.iter().filter(|_| used.each.len() > 1);
    let processes_us_per_delivery = several.map(|it| each(*it)).collect();
    if lag_us.p99 > load.interval().max(LATE).as_secs_f64() * 1e6 {
        warnings.push(format!(
            "the generator fell behind its schedule: one signal in a hundred left more than \
             {:.1} ms late",
            lag_us.p99 / 1000.0
        ));
    }
    Measured {
        latency_us: latencies.percentiles(),
        curve: latencies.curve(),
        timeline: timeline.slices(),
        quiet_us: (quiet.count() > 0).then(|| quiet.percentiles()),
        lag_us,
        deliveries,
        gateway_us_per_delivery: Some(each(used.gateway)),
        processes_us_per_delivery,
        generator_us_per_delivery: each(used.generator),
        gateway_cores: Some(used.gateway_cores()),
        generator_cores: used.generator_cores(),
        other_cores: used.other_cores,
        warnings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(pattern: Pattern) -> Load {
        Load {
            connections: 3,
            pattern,
            rate: 200.0,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(2),
        }
    }

    #[test]
    fn signals_by_receiver() {
        assert_eq!(expected(&load(Pattern::ToAll), 3, 9), [9, 9, 9]);
        assert_eq!(expected(&load(Pattern::Mesh), 3, 9), [9, 9, 9]);
        assert_eq!(expected(&load(Pattern::ToOne), 3, 9), [0, 0, 9]);
    }

    #[test]
    fn turns_of_senders() {
        let senders = |pattern| {
            let load = load(pattern);
            (0..8).map(|number| load.sender(number)).collect::<Vec<_>>()
        };
        assert_eq!(senders(Pattern::ToAll), [(0, false); 8]);
        let mesh: Vec<_> = senders(Pattern::Mesh).into_iter().map(|it| it.0).collect();
        assert_eq!(mesh, [0, 1, 2, 0, 1, 2, 0, 1]);
        let mixed = senders(Pattern::Mixed { hot: 1, quiet_share: 0.25 });
        let quiet: Vec<_> = mixed.iter().enumerate().filter(|(_, it)| it.1).collect();
        assert_eq!(quiet, [(3, &(1, true)), (7, &(2, true))]);
        assert!(mixed.iter().all(|(sender, quiet)| *quiet || *sender == 0));
    }

    fn latencies(ns: u64) -> Latencies {
        let mut latencies = Latencies::new();
        for _ in 0..1000 {
            latencies.record(ns);
        }
        latencies
    }

    fn timeline(ns: u64) -> Timeline {
        let mut timeline = Timeline::new(0, Duration::from_secs(2));
        for number in 0..1000 {
            timeline.record(number, ns);
        }
        timeline
    }

    #[test]
    fn costs_are_per_delivery() {
        let each = vec![0.06, 0.04];
        let used = Used { seconds: 2.0, gateway: 0.1, each, generator: 0.2, ..Used::default() };
        let (latency, lag) = (timeline(300_000), latencies(20_000));
        let measured = evaluate(&load(Pattern::ToAll), &latency, &Latencies::new(), &lag, used);
        assert_eq!(measured.deliveries, 1000);
        assert!((measured.gateway_us_per_delivery.unwrap() - 100.0).abs() < 1e-6);
        assert!((measured.processes_us_per_delivery[1] - 40.0).abs() < 1e-6);
        assert!((measured.generator_us_per_delivery - 200.0).abs() < 1e-6);
        assert!((measured.gateway_cores.unwrap() - 0.05).abs() < 1e-6);
        assert_eq!(measured.warnings, [""; 0]);
    }

    #[test]
    fn a_spoilt_measurement_has_warnings() {
        let (gateway, generator, other_cores) = (0.1, 0.9, 0.4);
        let used = Used { seconds: 1.0, gateway, generator, other_cores, ..Used::default() };
        let (latency, lag) = (timeline(300_000), latencies(6_000_000));
        let measured = evaluate(&load(Pattern::ToAll), &latency, &Latencies::new(), &lag, used);
        assert_eq!(measured.warnings.len(), 3, "{:?}", measured.warnings);
    }
}

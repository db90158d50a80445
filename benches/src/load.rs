//! One measurement: a session, one sender at a fixed rate, some receivers, and what it cost.
//!
//! The load is open: when a signal is due it is sent, whether or not the ones before have arrived,
//! and its latency counts from when it was due. A gateway, or a generator, that stalls is charged
//! for all that waited meanwhile (no coordinated omission).

use std::{sync::Arc, time::Duration};

use anyhow::{bail, ensure};
use parking_lot::Mutex;
use serde::Serialize;
use signalbox_client::{Event, Events};
use tokio::task::JoinSet;

use crate::{
    clients::connect,
    clock::{Metronome, now_ns},
    gateway::Gateway,
    payload, procfs,
    stats::{Latencies, Percentiles},
    transport::Transport,
};

/// From the last connect to the first signal, so that handshakes are not part of what is measured.
const PAUSE: Duration = Duration::from_millis(300);

/// How long the last signals may take to arrive before they count as lost.
const STRAGGLERS: Duration = Duration::from_secs(5);

/// Use of its thread from which on the generator, and not the gateway, may be what is measured.
const GENERATOR_LIMIT: f64 = 0.85;

/// Use of the machine by others, in cores, from which on the figures are theirs, too.
const OTHERS_LIMIT: f64 = 0.2;

/// What to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) transport: Transport,
    /// Connections in the session; the first one sends.
    pub(crate) connections: usize,
    /// To the last connection only, or to all, the sender included.
    pub(crate) to_one: bool,
    /// Signals per second.
    pub(crate) rate: f64,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

impl Load {
    fn interval(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.rate)
    }

    fn signals(&self, time: Duration) -> u64 {
        (time.as_secs_f64() * self.rate).round() as u64
    }
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// From when a signal was due to when a receiver had it.
    pub latency_us: Percentiles,
    /// From when a signal was due to when it was handed to the client SDK: the generator's own part.
    pub lag_us: Percentiles,
    /// Signals received after the warm-up, by all receivers together. None is missing.
    pub deliveries: u64,
    /// Processor time of the gateway for each of them, user and system.
    pub gateway_us_per_delivery: f64,
    /// Processor time of all the clients for each of them.
    pub generator_us_per_delivery: f64,
    /// Use that the generator made of its one thread.
    pub generator_cores: f64,
    /// Use that processes outside the benchmark made of the machine.
    pub other_cores: f64,
    /// Why the figures are not to be trusted; empty if they are.
    pub warnings: Vec<String>,
}

/// What the receivers write down.
struct Book {
    latencies: Latencies,
    /// Signals that each receiver has received, the warm-up's included.
    received: Vec<u64>,
    /// Signals due before this are the warm-up's.
    from_ns: u64,
    /// What must not happen and did.
    failure: Option<String>,
}

/// Runs a load against a gateway.
pub(crate) async fn measure(gateway: &Gateway, load: &Load) -> anyhow::Result<Measured> {
    let clients = connect(gateway, load.transport, load.connections, usize::MAX).await?;
    let (clients, events): (Vec<_>, Vec<_>) = clients.into_iter().unzip();
    let (Some(sender), Some(last)) = (clients.first(), clients.last()) else {
        bail!("a load needs connections");
    };
    let to = load.to_one.then(|| last.connection().id);
    let start_ns = now_ns() + nanos(PAUSE);
    let (warm_up, measured) = (load.signals(load.warm_up), load.signals(load.duration));
    ensure!(measured > 0, "no signal at all would be sent: raise the rate or the duration");
    let interval_ns = nanos(load.interval());
    let book = Arc::new(Mutex::new(Book {
        latencies: Latencies::new(),
        received: vec![0; events.len()],
        from_ns: start_ns + warm_up * interval_ns,
        failure: None,
    }));
    let mut receivers = JoinSet::new();
    for (index, events) in events.into_iter().enumerate() {
        receivers.spawn(receive(index, events, book.clone()));
    }

    let mut lag = Latencies::new();
    let mut metronome = Metronome::start(start_ns, interval_ns)?;
    let mut before = Usage::now(gateway)?;
    for number in 0..warm_up + measured {
        let due_ns = metronome.tick().await?;
        if number >= warm_up {
            lag.record(now_ns().saturating_sub(due_ns));
        }
        let mut signal = sender.signal().data(payload::encode(due_ns));
        if let Some(to) = to {
            signal = signal.to(to);
        }
        if let Err(error) = signal.send().await {
            // Why is in the book, a moment later.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let failure = book.lock().failure.take();
            bail!(
                "the sender cannot send: {}; the measurement is void. If a lower rate works, the \
                 rate was too high; the gateway's own words:\n{}",
                failure.unwrap_or_else(|| error.to_string()),
                gateway.last_words()
            );
        }
        if number + 1 == warm_up {
            before = Usage::now(gateway)?;
        }
    }
    let expected = expected(load, clients.len(), warm_up + measured);
    all_received(&book, &expected).await?;
    let after = Usage::now(gateway)?;

    let book = book.lock();
    Ok(evaluate(load, &book.latencies, &lag, &before, &after))
}

/// How many signals each connection must have received in the end.
fn expected(load: &Load, connections: usize, signals: u64) -> Vec<u64> {
    let receives = |index| !load.to_one || index + 1 == connections;
    (0..connections).map(|index| if receives(index) { signals } else { 0 }).collect()
}

async fn receive(index: usize, mut events: Events, book: Arc<Mutex<Book>>) {
    while let Some(event) = events.next().await {
        let now_ns = now_ns();
        let mut book = book.lock();
        match event {
            Event::Signal { data, .. } => {
                let Some(due_ns) = data.as_deref().and_then(payload::decode) else {
                    book.failure = Some("a signal came that the benchmark did not send".into());
                    continue;
                };
                if let Some(count) = book.received.get_mut(index) {
                    *count += 1;
                }
                if due_ns >= book.from_ns {
                    book.latencies.record(now_ns.saturating_sub(due_ns));
                }
            }
            Event::Refused { code, message, .. } => {
                book.failure = Some(format!("the gateway refused a signal ({code:?}): {message}"));
            }
            Event::SessionDisconnected { reason, message } => {
                // The first one is the cause of the others.
                book.failure.get_or_insert_with(|| {
                    format!("a client lost its connection ({reason}): {message}")
                });
            }
            _ => {}
        }
    }
}

/// Waits until every receiver has all that was sent.
async fn all_received(book: &Mutex<Book>, expected: &[u64]) -> anyhow::Result<()> {
    let deadline_ns = now_ns() + nanos(STRAGGLERS);
    loop {
        {
            let book = book.lock();
            if let Some(failure) = &book.failure {
                bail!("{failure}; the measurement is void");
            }
            if book.received == expected {
                return Ok(());
            }
            if now_ns() > deadline_ns {
                let wrong = book.received.iter().zip(expected).filter(|(a, b)| a != b).count();
                let received: u64 = book.received.iter().sum();
                let expected: u64 = expected.iter().sum();
                bail!(
                    "{wrong} receivers did not get exactly what was sent: {received} deliveries \
                     instead of {expected}, {STRAGGLERS:?} after the last signal. The measurement \
                     is void; if a lower rate is complete, the rate was too high"
                );
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Processor time used so far.
struct Usage {
    at_ns: u64,
    gateway: Duration,
    generator: Duration,
    /// By anybody, on all processors together.
    machine: Duration,
}

impl Usage {
    fn now(gateway: &Gateway) -> anyhow::Result<Self> {
        let at_ns = now_ns();
        Ok(Self {
            at_ns,
            gateway: procfs::cpu_time(gateway.pid())?,
            generator: procfs::cpu_time(std::process::id())?,
            machine: procfs::machine_used(at_ns)?,
        })
    }
}

fn evaluate(
    load: &Load,
    latencies: &Latencies,
    lag: &Latencies,
    before: &Usage,
    after: &Usage,
) -> Measured {
    let seconds = (after.at_ns - before.at_ns) as f64 / 1e9;
    let gateway = after.gateway.saturating_sub(before.gateway).as_secs_f64();
    let generator = after.generator.saturating_sub(before.generator).as_secs_f64();
    let machine = after.machine.saturating_sub(before.machine).as_secs_f64();
    let deliveries = latencies.count();
    let each = |time: f64| time * 1e6 / deliveries.max(1) as f64;
    let mut measured = Measured {
        latency_us: latencies.percentiles(),
        lag_us: lag.percentiles(),
        deliveries,
        gateway_us_per_delivery: each(gateway),
        generator_us_per_delivery: each(generator),
        generator_cores: generator / seconds,
        other_cores: ((machine - gateway - generator) / seconds).max(0.0),
        warnings: Vec::new(),
    };
    measured.warnings = warnings(&measured, load.interval());
    measured
}

fn warnings(measured: &Measured, interval: Duration) -> Vec<String> {
    let Measured { lag_us, generator_cores, other_cores, .. } = measured;
    let mut warnings = Vec::new();
    if *generator_cores > GENERATOR_LIMIT {
        warnings.push(format!(
            "the generator used {:.0} % of its thread: it may have been the limit",
            generator_cores * 100.0
        ));
    }
    if lag_us.p99 > interval.as_secs_f64() * 1e6 {
        warnings.push(format!(
            "the generator fell behind its schedule: one signal in a hundred left more than \
             {:.1} ms late",
            lag_us.p99 / 1000.0
        ));
    }
    if *other_cores > OTHERS_LIMIT {
        warnings.push(format!("other processes used {other_cores:.1} cores meanwhile"));
    }
    warnings
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(to_one: bool) -> Load {
        Load {
            transport: Transport::Quic,
            connections: 3,
            to_one,
            rate: 200.0,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(2),
        }
    }

    #[test]
    fn who_must_receive_what() {
        assert_eq!(expected(&load(false), 3, 9), [9, 9, 9]);
        assert_eq!(expected(&load(true), 3, 9), [0, 0, 9]);
    }

    fn usage(at_ns: u64, gateway_ms: u64, generator_ms: u64, machine_ms: u64) -> Usage {
        Usage {
            at_ns,
            gateway: Duration::from_millis(gateway_ms),
            generator: Duration::from_millis(generator_ms),
            machine: Duration::from_millis(machine_ms),
        }
    }

    fn latencies(ns: u64) -> Latencies {
        let mut latencies = Latencies::new();
        for _ in 0..1000 {
            latencies.record(ns);
        }
        latencies
    }

    #[test]
    fn costs_are_per_delivery() {
        let before = usage(1_000_000_000, 100, 500, 1000);
        let after = usage(3_000_000_000, 200, 700, 1400);
        let (latency, lag) = (latencies(300_000), latencies(20_000));
        let measured = evaluate(&load(false), &latency, &lag, &before, &after);
        assert_eq!(measured.deliveries, 1000);
        assert!((measured.gateway_us_per_delivery - 100.0).abs() < 1e-6);
        assert!((measured.generator_cores - 0.1).abs() < 1e-6);
        assert!((measured.other_cores - 0.05).abs() < 1e-6);
        assert_eq!(measured.warnings, [""; 0]);
    }

    #[test]
    fn what_spoils_a_measurement_is_said() {
        let before = usage(0, 0, 0, 0);
        let after = usage(1_000_000_000, 100, 900, 1400);
        let (latency, lag) = (latencies(300_000), latencies(6_000_000));
        let measured = evaluate(&load(false), &latency, &lag, &before, &after);
        assert_eq!(measured.warnings.len(), 3, "{:?}", measured.warnings);
    }
}

//! One measurement: a session, one sender at a fixed rate, some receivers, and what it cost.
//!
//! The load is open: when a signal is due it is sent, whether or not the ones before have arrived,
//! and its latency counts from when it was due. A gateway, or a generator, that stalls is charged
//! for all that waited meanwhile (no coordinated omission).

use std::time::Duration;

use anyhow::{bail, ensure};
use serde::Serialize;

use crate::{
    clients::connect,
    clock::{Metronome, nanos, now_ns},
    gateway::Gateway,
    payload,
    receivers::Receivers,
    stats::{Latencies, Percentiles},
    transport::Transport,
    usage::{Usage, Used},
};

/// From the last connect to the first signal, so that handshakes are not part of what is measured.
pub(crate) const PAUSE: Duration = Duration::from_millis(300);

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
    /// Processors that the gateway kept busy.
    pub gateway_cores: f64,
    /// Use that the generator made of its one thread.
    pub generator_cores: f64,
    /// Use that processes outside the benchmark made of the machine.
    pub other_cores: f64,
    /// Why the figures are not to be trusted; empty if they are.
    pub warnings: Vec<String>,
}

/// Runs a load against a gateway, while the processes `beside` are the benchmark's, too.
pub(crate) async fn measure(
    gateway: &Gateway,
    load: &Load,
    beside: &[u32],
) -> anyhow::Result<Measured> {
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
    let receivers = Receivers::start(events, start_ns + warm_up * interval_ns);

    let mut lag = Latencies::new();
    let mut metronome = Metronome::start(start_ns, interval_ns)?;
    let mut before = Usage::now(gateway, beside)?;
    for number in 0..warm_up + measured {
        let due_ns = metronome.tick().await?;
        if number >= warm_up {
            lag.record(now_ns().saturating_sub(due_ns));
        }
        let mut signal = sender.signal().data(payload::encode(due_ns));
        if let Some(to) = to {
            signal = signal.to(to);
        }
        if let Err(error) = signal.enqueue().await {
            // Why is in the book, a moment later.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let failure = receivers.book.lock().failure.take();
            bail!(
                "the sender cannot send: {}; the measurement is void. If a lower rate works, the \
                 rate was too high; the gateway's own words:\n{}",
                failure.unwrap_or_else(|| error.to_string()),
                gateway.last_words()
            );
        }
        if number + 1 == warm_up {
            before = Usage::now(gateway, beside)?;
        }
    }
    let expected = expected(load, clients.len(), warm_up + measured);
    receivers.complete(&expected).await?;
    let after = Usage::now(gateway, beside)?;

    let book = receivers.book.lock();
    Ok(evaluate(load, &book.latencies, &lag, after.since(&before)))
}

/// How many signals each connection must have received in the end.
fn expected(load: &Load, connections: usize, signals: u64) -> Vec<u64> {
    let receives = |index| !load.to_one || index + 1 == connections;
    (0..connections).map(|index| if receives(index) { signals } else { 0 }).collect()
}

fn evaluate(load: &Load, latencies: &Latencies, lag: &Latencies, used: Used) -> Measured {
    let deliveries = latencies.count();
    let each = |time: f64| time * 1e6 / deliveries.max(1) as f64;
    let lag_us = lag.percentiles();
    let mut warnings = used.warnings();
    if lag_us.p99 > load.interval().as_secs_f64() * 1e6 {
        warnings.push(format!(
            "the generator fell behind its schedule: one signal in a hundred left more than \
             {:.1} ms late",
            lag_us.p99 / 1000.0
        ));
    }
    Measured {
        latency_us: latencies.percentiles(),
        lag_us,
        deliveries,
        gateway_us_per_delivery: each(used.gateway),
        generator_us_per_delivery: each(used.generator),
        gateway_cores: used.gateway_cores(),
        generator_cores: used.generator_cores(),
        other_cores: used.other_cores,
        warnings,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A measurement with this p99.
    pub(crate) fn measured(p99: f64) -> Measured {
        let us = Percentiles { p50: 1.0, p90: 1.0, p99, p999: p99, max: p99 };
        Measured {
            latency_us: us,
            lag_us: us,
            deliveries: 1,
            gateway_us_per_delivery: 1.0,
            generator_us_per_delivery: 1.0,
            gateway_cores: 0.5,
            generator_cores: 0.5,
            other_cores: 0.0,
            warnings: Vec::new(),
        }
    }

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

    fn latencies(ns: u64) -> Latencies {
        let mut latencies = Latencies::new();
        for _ in 0..1000 {
            latencies.record(ns);
        }
        latencies
    }

    #[test]
    fn costs_are_per_delivery() {
        let used = Used { seconds: 2.0, gateway: 0.1, generator: 0.2, other_cores: 0.0 };
        let (latency, lag) = (latencies(300_000), latencies(20_000));
        let measured = evaluate(&load(false), &latency, &lag, used);
        assert_eq!(measured.deliveries, 1000);
        assert!((measured.gateway_us_per_delivery - 100.0).abs() < 1e-6);
        assert!((measured.generator_us_per_delivery - 200.0).abs() < 1e-6);
        assert!((measured.gateway_cores - 0.05).abs() < 1e-6);
        assert_eq!(measured.warnings, [""; 0]);
    }

    #[test]
    fn what_spoils_a_measurement_is_said() {
        let used = Used { seconds: 1.0, gateway: 0.1, generator: 0.9, other_cores: 0.4 };
        let (latency, lag) = (latencies(300_000), latencies(6_000_000));
        let measured = evaluate(&load(false), &latency, &lag, used);
        assert_eq!(measured.warnings.len(), 3, "{:?}", measured.warnings);
    }
}

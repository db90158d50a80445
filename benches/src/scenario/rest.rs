//! The scenario with a server: how many signals per second the REST API takes on one core.
//!
//! The load is closed: each connection sends its next request when it has the answer to the one
//! before. That finds out how much the gateway can do, and is why latency here is that of a
//! gateway at its limit, with as many requests waiting as there are connections.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::task::JoinSet;

use super::{Rounds, order};
use crate::{
    clients::connect,
    clock::now_ns,
    cores::Apart,
    curve::{Point, Timeline},
    gateway::{Gateway, Launcher, allow_files},
    http::Server,
    output::note,
    payload,
    receivers::Receivers,
    stats::{Latencies, Percentiles, Spread},
    transport::Transport,
    usage::{Usage, Used},
};

/// Use of its core below which the gateway was not what was measured.
const GATEWAY_FULL: f64 = 0.9;

/// Signals from a server to a session, with the gateway on one core.
#[derive(Debug, Clone, clap::Args)]
pub struct Rest {
    /// Transports of the receivers to set side by side.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "quic,wss")]
    pub transport: Vec<Transport>,
    /// Connections in the session, which all receive.
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    pub connections: usize,
    /// Kept-alive HTTPS connections, each with one request at a time.
    #[arg(long, value_name = "NUMBER", default_value_t = 4)]
    pub servers: usize,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as this command's own description")]
    pub rounds: Rounds,
}

/// All rounds.
#[derive(Debug, Serialize)]
pub struct RestResult {
    /// `rest`.
    pub scenario: &'static str,
    /// Connections in the session.
    pub connections: usize,
    /// HTTPS connections.
    pub servers: usize,
    /// Length of a measurement.
    pub seconds: f64,
    /// A row for each transport.
    pub rows: Vec<RestRow>,
}

/// All rounds of one transport.
#[derive(Debug, Serialize)]
pub struct RestRow {
    /// The transport of the receivers.
    pub transport: Transport,
    /// Requests per second.
    pub requests: Spread,
    /// Deliveries per second, to all receivers together.
    pub deliveries: Spread,
    /// The gateway's processor time for each request and its deliveries, in microseconds.
    pub gateway_us_per_request: Spread,
    /// Half of all requests took at most this, in microseconds.
    pub p50_us: Spread,
    /// 99 %.
    pub p99_us: Spread,
    /// Use that the gateway made of its core.
    pub gateway_cores: Spread,
    /// Use that the generator made of the other one.
    pub generator_cores: Spread,
    /// The single measurements.
    pub rounds: Vec<RestMeasured>,
}

/// What came of one measurement.
#[derive(Debug, Clone, Serialize)]
pub struct RestMeasured {
    /// Requests per second that were answered with 204.
    pub requests: f64,
    /// Signals per second received, by all receivers together. In the end none was missing.
    pub deliveries: f64,
    /// From when a request was sent to when its answer was there.
    pub latency_us: Percentiles,
    /// The same in full.
    pub curve: Vec<Point>,
    /// Processor time of the gateway for each request, user and system.
    pub gateway_us_per_request: f64,
    /// Use that the gateway made of its core.
    pub gateway_cores: f64,
    /// Use that the generator made of its core.
    pub generator_cores: f64,
    /// Use that processes outside the benchmark made of the machine.
    pub other_cores: f64,
    /// Why the figures are not to be trusted; empty if they are.
    pub warnings: Vec<String>,
}

impl RestRow {
    fn new(transport: Transport, rounds: Vec<RestMeasured>) -> Self {
        let spread = |pick: fn(&RestMeasured) -> f64| Spread::of(rounds.iter().map(pick));
        Self {
            transport,
            requests: spread(|it| it.requests),
            deliveries: spread(|it| it.deliveries),
            gateway_us_per_request: spread(|it| it.gateway_us_per_request),
            p50_us: spread(|it| it.latency_us.p50),
            p99_us: spread(|it| it.latency_us.p99),
            gateway_cores: spread(|it| it.gateway_cores),
            generator_cores: spread(|it| it.generator_cores),
            rounds,
        }
    }

    /// All that was said against its measurements.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        super::by_round(self.transport.title(), self.rounds.iter().map(|it| &it.warnings))
    }
}

impl Rest {
    /// Measures.
    ///
    /// # Errors
    /// If the gateway cannot be run, refuses a request, or anything is lost.
    pub async fn run(&self, launcher: &Launcher) -> anyhow::Result<RestResult> {
        ensure!(self.rounds.repeat > 0, "--repeat must be at least 1");
        ensure!(self.connections > 0, "--connections must be at least 1");
        ensure!(self.servers > 0, "--servers must be at least 1");
        allow_files((self.connections + self.servers + 100) as u64)?;
        let cores = Apart::new()?;
        let mut done: Vec<(Transport, Vec<RestMeasured>)> =
            self.transport.iter().map(|it| (*it, Vec::new())).collect();
        'rounds: for round in 0..self.rounds.repeat {
            for transport in order(&self.transport, round) {
                let measuring = async {
                    let gateway = launcher.start_on(cores.gateway()).await?;
                    let measured = self.measure(&gateway, transport).await?;
                    gateway.stop().await?;
                    Ok(measured)
                };
                let Some(measured) = launcher.unless_interrupted(measuring).await? else {
                    break 'rounds;
                };
                note(format_args!(
                    "rest {}/{}  {:<30} {:.0} requests/s, p99 {:.0} µs, gateway {:.1} µs per \
                     request, its core {:.2}, ours {:.2}, others {:.2}",
                    round + 1,
                    self.rounds.repeat,
                    transport.title(),
                    measured.requests,
                    measured.latency_us.p99,
                    measured.gateway_us_per_request,
                    measured.gateway_cores,
                    measured.generator_cores,
                    measured.other_cores,
                ));
                for warning in &measured.warnings {
                    note(format_args!("  warning: {warning}"));
                }
                if let Some((_, rounds)) = done.iter_mut().find(|(it, _)| *it == transport) {
                    rounds.push(measured);
                }
            }
        }
        done.retain(|(_, rounds)| !rounds.is_empty());
        Ok(RestResult {
            scenario: "rest",
            connections: self.connections,
            servers: self.servers,
            seconds: self.rounds.duration().as_secs_f64(),
            rows: done.into_iter().map(|(it, rounds)| RestRow::new(it, rounds)).collect(),
        })
    }

    async fn measure(
        &self,
        gateway: &Gateway,
        transport: Transport,
    ) -> anyhow::Result<RestMeasured> {
        let clients = connect(gateway, transport, self.connections, usize::MAX).await?;
        let (clients, events): (Vec<_>, Vec<_>) = clients.into_iter().unzip();
        let session = clients.first().map(signalbox_client::Client::session);
        let session = session.context("nobody is in the session")?;
        // What is due at 0 was due before we began: how late it comes is not what is asked here.
        let receivers = Receivers::start(events, Timeline::new(now_ns(), Duration::ZERO));
        let json = format!(r#"{{"data":"{}"}}"#, payload::encode(0));
        let server = Server::new(gateway.https(), &std::fs::read(gateway.ca())?)?;
        let path = gateway.signal_path(session);
        let request: Arc<[u8]> = server.post(&path, Some(&gateway.credential()?), &json).into();

        let journal = Arc::new(Mutex::new(Journal::new()));
        let mut asking = JoinSet::new();
        for _ in 0..self.servers {
            asking.spawn(ask(server.clone(), request.clone(), journal.clone()));
        }
        let answered = async {
            while let Some(result) = asking.join_next().await {
                result??;
            }
            Ok(())
        };
        let look = || {
            let usage = Usage::now(Some(gateway.process()), &[])?;
            anyhow::Ok((usage, journal.lock().answered, receivers.deliveries()))
        };
        let watching = async {
            tokio::time::sleep(self.rounds.warm_up()).await;
            journal.lock().latencies = Latencies::new();
            let before = look()?;
            tokio::time::sleep(self.rounds.duration()).await;
            let after = look()?;
            journal.lock().over = true;
            anyhow::Ok((before, after))
        };
        let result = tokio::try_join!(watching, answered).map_err(|error| {
            let words = gateway.last_words();
            error.context(format!("the measurement is void; the gateway's own words:\n{words}"))
        });
        let ((before, after), ()) = result?;
        let answered = journal.lock().answered;
        receivers.complete(&vec![answered; clients.len()]).await?;
        let (requests, deliveries) = (after.1 - before.1, after.2 - before.2);
        ensure!(requests > 0, "no request was answered in time: raise --seconds");
        Ok(evaluate(requests, deliveries, &journal.lock().latencies, after.0.since(&before.0)))
    }
}

/// What the asking side writes down.
struct Journal {
    /// Requests answered, the warm-up's included.
    answered: u64,
    latencies: Latencies,
    /// No more requests.
    over: bool,
}

impl Journal {
    fn new() -> Self {
        Self { answered: 0, latencies: Latencies::new(), over: false }
    }
}

/// One connection of a project's server.
async fn ask(
    server: Server,
    request: Arc<[u8]>,
    journal: Arc<Mutex<Journal>>,
) -> anyhow::Result<()> {
    let mut connection = server.connect().await?;
    while !journal.lock().over {
        let sent_ns = now_ns();
        let answer = connection.exchange(&request).await?;
        let took_ns = now_ns() - sent_ns;
        ensure!(answer.status == 204, "a request was answered with {answer:?}");
        ensure!(!answer.closes, "the gateway does not keep a server's connection open");
        let mut journal = journal.lock();
        journal.answered += 1;
        journal.latencies.record(took_ns);
    }
    Ok(())
}

fn evaluate(requests: u64, deliveries: u64, latencies: &Latencies, used: Used) -> RestMeasured {
    let mut warnings: Vec<String> = used.busy_others().into_iter().collect();
    // A generator may be busy, too, as long as the gateway could not have done more.
    if used.gateway_cores() < GATEWAY_FULL {
        warnings.push(format!(
            "the gateway used {:.0} % of its core, which was not the limit: more --servers, or \
             fewer other processes",
            used.gateway_cores() * 100.0
        ));
        warnings.extend(used.busy_generator());
    }
    RestMeasured {
        requests: requests as f64 / used.seconds,
        deliveries: deliveries as f64 / used.seconds,
        latency_us: latencies.percentiles(),
        curve: latencies.curve(),
        gateway_us_per_request: used.gateway * 1e6 / requests.max(1) as f64,
        gateway_cores: used.gateway_cores(),
        generator_cores: used.generator_cores(),
        other_cores: used.other_cores,
        warnings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_per_request_and_per_second() {
        let used =
            Used { seconds: 2.0, gateway: 1.9, generator: 1.0, other_cores: 0.0, elsewhere: false };
        let measured = evaluate(19_000, 190_000, &Latencies::new(), used);
        for (value, expected) in [
            (measured.requests, 9500.0),
            (measured.deliveries, 95_000.0),
            (measured.gateway_us_per_request, 100.0),
            (measured.gateway_cores, 0.95),
            (measured.generator_cores, 0.5),
        ] {
            assert!((value - expected).abs() < 1e-6, "{value} is not {expected}");
        }
        assert_eq!(measured.warnings, [""; 0]);
    }

    #[test]
    fn a_gateway_that_is_not_the_limit_is_said() {
        let said = |gateway, generator| {
            let used =
                Used { seconds: 1.0, gateway, generator, other_cores: 0.0, elsewhere: false };
            evaluate(1, 10, &Latencies::new(), used).warnings.join("; ")
        };
        assert!(said(0.7, 0.95).contains("the generator used 95 %"));
        assert!(said(0.7, 0.5).contains("--servers") && !said(0.7, 0.5).contains("generator"));
        assert_eq!(said(0.95, 0.95), "");
    }
}

//! `rest`: signals per second that the REST API takes on one core.
//!
//! The load is closed: each connection sends its next request after the response to the one before.
//! That finds the gateway's limit, and makes latency that of a gateway at its limit, with as many
//! requests waiting as there are connections.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use parking_lot::Mutex;
use serde::Serialize;
use signalbox_loadgen::{
    clock::now_ns,
    cores::PinnedCores,
    files::allow_files,
    http::HttpEndpoint,
    latencies::{Latencies, Timeline},
    payload,
    recorder::Receivers,
    sdk::connect,
    target::gateway::Gateway,
    transport::TransportVariant,
    usage::{Usage, Used},
};
use signalbox_report::{Chart, Column, Metric, Percentiles, QuantilePoint, Round};
use tokio::task::JoinSet;

use super::{Columns, Outcome, Rounds, Scenario, flags::TransportLabel};
use crate::{Bench, all::All};

/// With less use of its core, the gateway was not the limit.
const GATEWAY_FULL: f64 = 0.9;

const REQUESTS: Metric<RestMeasured> = Metric::higher("requests", "/s", |it| Some(it.requests));
const DELIVERIES: Metric<RestMeasured> =
    Metric::higher("deliveries", "/s", |it| Some(it.deliveries));
const CPU: Metric<RestMeasured> =
    Metric::lower("gateway_us_per_request", "µs", |it| Some(it.gateway_us_per_request));
const P50: Metric<RestMeasured> = Metric::lower("p50_us", "µs", |it| Some(it.latency_us.p50));
const P99: Metric<RestMeasured> = Metric::lower("p99_us", "µs", |it| Some(it.latency_us.p99));
const GATEWAY: Metric<RestMeasured> =
    Metric::neutral("gateway_cores", "cores", |it| Some(it.gateway_cores));
const GENERATOR: Metric<RestMeasured> =
    Metric::neutral("generator_cores", "cores", |it| Some(it.generator_cores));

/// REST signals per second from a server to a session, with the gateway on one core.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Rest {
    /// Transports of the receivers to measure side by side.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "quic,wss")]
    #[serde(skip)]
    transport: Vec<TransportVariant>,
    /// Connections in the session, which all receive.
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    connections: usize,
    /// Kept-alive HTTPS connections, each with one request at a time.
    #[arg(long, value_name = "NUMBER", default_value_t = 4)]
    servers: usize,
    #[command(flatten)]
    #[serde(flatten)]
    rounds: Rounds,
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RestMeasured {
    /// Requests per second that were answered with 204.
    requests: f64,
    /// Signals received per second, by all receivers together. None was missing in the end.
    deliveries: f64,
    /// Time from sending a request to its response.
    latency_us: Percentiles,
    /// The same in full.
    curve: Vec<QuantilePoint>,
    /// Processor time of the gateway for each request, user and system.
    gateway_us_per_request: f64,
    /// Use that the gateway made of its core.
    gateway_cores: f64,
    /// Use that the generator made of its core.
    generator_cores: f64,
    /// Use that processes outside the benchmark made of the machine.
    other_cores: f64,
    /// Reasons not to trust the figures.
    warnings: Vec<String>,
}

impl Round for RestMeasured {
    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    fn progress(&self) -> String {
        format!(
            "{:.0} requests/s, p99 {:.0} µs, gateway {:.1} µs per request, its core {:.2}, ours \
             {:.2}, others {:.2}",
            self.requests,
            self.latency_us.p99,
            self.gateway_us_per_request,
            self.gateway_cores,
            self.generator_cores,
            self.other_cores,
        )
    }
}

impl Scenario for Rest {
    const NAME: &'static str = "rest";
    const TITLE: &'static str = "REST";
    const READING: &'static str = include_str!("reading.md");
    const METRICS: &'static [Metric<RestMeasured>] =
        &[REQUESTS, DELIVERIES, CPU, P50, P99, GATEWAY, GENERATOR];

    const RELATIVE: &'static [(&'static str, Metric<Self::Round>)] =
        &[("requests per second", REQUESTS), ("CPU per request", CPU)];

    type Label = TransportLabel;
    type Round = RestMeasured;

    async fn run(&self, bench: &Bench) -> anyhow::Result<Outcome<Self>> {
        ensure!(self.connections > 0, "--connections must be at least 1");
        ensure!(self.servers > 0, "--servers must be at least 1");
        allow_files((self.connections + self.servers + 100) as u64)?;
        let cores = PinnedCores::new()?;
        let measure = async |label: &TransportLabel, _| {
            let gateway = bench.launcher.start_on(cores.gateway()).await?;
            let measured = self.measure(&gateway, label.transport).await?;
            gateway.stop().await?;
            Ok(measured)
        };
        let labels = TransportLabel::all(&self.transport);
        Outcome::measure(self, bench, self.rounds.repeat, labels, measure).await
    }

    fn adapt(&mut self, all: &All) -> bool {
        self.rounds.adapt(Self::NAME, all)
    }

    fn heading(&self) -> String {
        format!(
            "REST: signals to a session of {} over {} HTTPS connections, the gateway on one core",
            self.connections, self.servers
        )
    }

    fn columns(&self) -> Columns<Self> {
        vec![
            Column::title("transport of the receivers"),
            Column::spread("requests/s", &REQUESTS, 0),
            Column::spread("deliveries/s", &DELIVERIES, 0),
            Column::spread("gateway CPU µs per request", &CPU, 0),
            Column::spread("request p50 µs", &P50, 0),
            Column::spread("request p99 µs", &P99, 0),
            Column::median("gateway's use of its core", &GATEWAY, 2),
            Column::median("generator's use of the other", &GENERATOR, 2),
        ]
    }

    fn charts(outcome: &Outcome<Self>) -> Vec<Chart> {
        let charts = [
            outcome.bars("Requests per second on one core", &REQUESTS),
            outcome.bars("The gateway's processor time per request", &CPU),
            outcome.percentiles("Time to a request's response by percentile", |it| &it.curve),
        ];
        charts.into_iter().flatten().collect()
    }
}

impl Rest {
    async fn measure(
        &self,
        gateway: &Gateway,
        transport: TransportVariant,
    ) -> anyhow::Result<RestMeasured> {
        let clients = connect(gateway, transport, self.connections, usize::MAX).await?;
        let (clients, events): (Vec<_>, Vec<_>) = clients.into_iter().unzip();
        let session = clients.first().map(signalbox_client::Client::session);
        let session = session.context("no client is in the session")?;
        // Signals are due at 0, before the measurement: their latency is not of interest here.
        let receivers = Receivers::of_sdk(events, Timeline::new(now_ns(), Duration::ZERO));
        let json = format!(r#"{{"data":"{}"}}"#, payload::encode(0));
        let server = HttpEndpoint::new(gateway.https(), &std::fs::read(gateway.ca())?)?;
        let path = gateway.signal_path(session);
        let bytes: Arc<[u8]> = server.post(&path, Some(&gateway.credential()?), &json).into();

        let record = Arc::new(Mutex::new(RequestRecord::new()));
        let mut requesting = JoinSet::new();
        for _ in 0..self.servers {
            requesting.spawn(request(server.clone(), bytes.clone(), record.clone()));
        }
        let answered = async {
            while let Some(result) = requesting.join_next().await {
                result??;
            }
            Ok(())
        };
        let look = || {
            let usage = Usage::now(Some(gateway.process()), &[])?;
            anyhow::Ok((usage, record.lock().answered, receivers.deliveries()))
        };
        let watching = async {
            tokio::time::sleep(self.rounds.warm_up()).await;
            record.lock().latencies = Latencies::new();
            let before = look()?;
            tokio::time::sleep(self.rounds.duration()).await;
            let after = look()?;
            record.lock().over = true;
            anyhow::Ok((before, after))
        };
        let result = tokio::try_join!(watching, answered).map_err(|error| {
            let words = gateway.last_words();
            error
                .context(format!("the measurement is void; the end of the gateway's log:\n{words}"))
        });
        let ((before, after), ()) = result?;
        let answered = record.lock().answered;
        receivers.complete(&vec![answered; clients.len()]).await?;
        let (requests, deliveries) = (after.1 - before.1, after.2 - before.2);
        ensure!(requests > 0, "no request was answered in time: raise --seconds");
        Ok(evaluate(requests, deliveries, &record.lock().latencies, after.0.since(&before.0)))
    }
}

/// The record of the requesting side.
struct RequestRecord {
    /// Requests answered, with the warm-up's.
    answered: u64,
    latencies: Latencies,
    /// No more requests.
    over: bool,
}

impl RequestRecord {
    fn new() -> Self {
        Self { answered: 0, latencies: Latencies::new(), over: false }
    }
}

/// One connection of a server.
async fn request(
    server: HttpEndpoint,
    bytes: Arc<[u8]>,
    record: Arc<Mutex<RequestRecord>>,
) -> anyhow::Result<()> {
    let mut connection = server.connect().await?;
    while !record.lock().over {
        let sent_ns = now_ns();
        let response = connection.exchange(&bytes).await?;
        let took_ns = now_ns() - sent_ns;
        ensure!(response.status == 204, "the response to a request was {response:?}");
        ensure!(!response.closes, "the gateway does not keep a server's connection open");
        let mut record = record.lock();
        record.answered += 1;
        record.latencies.record(took_ns);
    }
    Ok(())
}

fn evaluate(requests: u64, deliveries: u64, latencies: &Latencies, used: Used) -> RestMeasured {
    let mut warnings: Vec<String> = used.busy_others().into_iter().collect();
    // A busy generator is no problem while the gateway is at its limit.
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
        let used = Used { seconds: 2.0, gateway: 1.9, generator: 1.0, ..Used::default() };
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
    fn a_gateway_that_is_not_the_limit_causes_a_warning() {
        let said = |gateway, generator| {
            let used = Used { seconds: 1.0, gateway, generator, ..Used::default() };
            evaluate(1, 10, &Latencies::new(), used).warnings.join("; ")
        };
        assert!(said(0.7, 0.95).contains("the generator used 95 %"));
        assert!(said(0.7, 0.5).contains("--servers") && !said(0.7, 0.5).contains("generator"));
        assert_eq!(said(0.95, 0.95), "");
    }
}

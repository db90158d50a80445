//! `browser`: signals between sessions in a page of Chromium, beside clients of the Rust SDK over
//! QUIC, over a link without loss and over one with it.

mod measure;

use std::time::Duration;

use serde::Serialize;
use signalbox_loadgen::browser::PageRequirements;
use signalbox_netem::{Direction, Impairment};
use signalbox_report::{Chart, Column, Label, Metric};

use self::measure::{BrowserLoad, BrowserMeasured};
use super::{Columns, Outcome, Scenario, flags::time};
use crate::{Bench, all::All};

/// The link, unless flags say otherwise.
const RTT: Duration = Duration::from_millis(40);
const LOSS: f64 = 0.02;

const P50: Metric<BrowserMeasured> =
    Metric::lower("p50_ms", "ms", |it| Some(it.latency_us.p50 / 1e3));
const P99: Metric<BrowserMeasured> =
    Metric::lower("p99_ms", "ms", |it| Some(it.latency_us.p99 / 1e3));
const MAX: Metric<BrowserMeasured> =
    Metric::lower("max_ms", "ms", |it| Some(it.latency_us.max / 1e3));
const LATE: Metric<BrowserMeasured> =
    Metric::lower("late_percent", "%", |it| it.late.map(|it| it * 100.0));
const PACKET_LOSS: Metric<BrowserMeasured> =
    Metric::neutral("packet_loss_percent", "%", |it| it.packet_loss.map(|it| it * 100.0));
/// The lateness of the senders themselves.
const LAG: Metric<BrowserMeasured> =
    Metric::neutral("lag_p99_ms", "ms", |it| Some(it.lag_us.p99 / 1e3));

/// Latency between sessions in a browser's page, over WebTransport and WebSocket.
///
/// The link has a round trip of 40 ms. It is measured without loss, and with a loss of 2 % of the
/// packets to the clients, unless flags say otherwise.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Browser {
    /// Sessions that send, each at times of its own.
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    senders: u32,
    /// Signals per second of each of them.
    #[arg(long, value_name = "NUMBER", default_value_t = 5.0)]
    rate: f64,
    /// Length of one measurement in seconds, without its warm-up.
    #[arg(long, default_value_t = 15.0)]
    seconds: f64,
    /// Seconds of load before a measurement.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    #[serde(skip)]
    warm_up: f64,
    /// Rounds over all clients and links, each with a seed of its own.
    #[arg(long, value_name = "ROUNDS", default_value_t = 3)]
    #[serde(skip)]
    repeat: usize,
    #[command(flatten)]
    #[serde(rename = "network")]
    impairment: Impairment,
    /// Name and version of the browser.
    #[arg(skip)]
    version: String,
}

/// The clients, all of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ClientKind {
    /// The Rust SDK over QUIC.
    Quic,
    /// The TypeScript SDK in a page, over WebTransport.
    #[serde(rename = "page-webtransport")]
    PageWebTransport,
    /// The same over WebSocket.
    #[serde(rename = "page-websocket")]
    PageWebSocket,
}

impl ClientKind {
    const ALL: [Self; 3] = [Self::Quic, Self::PageWebTransport, Self::PageWebSocket];

    fn title(self) -> &'static str {
        match self {
            Self::Quic => "Rust SDK, QUIC",
            Self::PageWebTransport => "browser, WebTransport",
            Self::PageWebSocket => "browser, WebSocket over TLS",
        }
    }
}

/// Clients behind a link.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct BrowserLabel {
    clients: ClientKind,
    /// Share of the packets that the link loses.
    loss: f64,
}

impl Label for BrowserLabel {
    fn title(&self) -> String {
        format!("{}: {}", self.group(), self.member())
    }

    fn group(&self) -> String {
        let percent = (self.loss * 1e5).round() / 1e3;
        if self.loss > 0.0 { format!("{percent} % loss") } else { "no loss".to_owned() }
    }

    fn member(&self) -> String {
        self.clients.title().to_owned()
    }
}

impl Scenario for Browser {
    const NAME: &'static str = "browser";
    const TITLE: &'static str = "Browser";
    const READING: &'static str = include_str!("reading.md");
    const METRICS: &'static [Metric<BrowserMeasured>] = &[P50, P99, MAX, LATE, PACKET_LOSS, LAG];

    const RELATIVE: &'static [(&'static str, Metric<Self::Round>)] =
        &[("p50", P50), ("p99", P99), ("late signals", LATE)];

    type Label = BrowserLabel;
    type Round = BrowserMeasured;

    async fn run(&self, bench: &Bench) -> anyhow::Result<Outcome<Self>> {
        anyhow::ensure!(self.senders > 0, "--senders must be at least 1");
        anyhow::ensure!(self.rate > 0.0, "--rate must be above 0");
        let browser = PageRequirements::find()?.prepare()?;
        let measure = async |label: &BrowserLabel, round: usize| {
            let network = self.network(label.loss);
            let seed = network.seed().wrapping_add(round as u64);
            let network = Impairment { seed: Some(seed), ..network };
            let load = BrowserLoad {
                senders: self.senders,
                interval: time(1.0 / self.rate),
                warm_up: time(self.warm_up),
                duration: time(self.seconds),
                seed,
            };
            measure::measure(&bench.launcher, &browser, label.clients, &network, &load).await
        };
        let scenario = Self { version: browser.version().to_owned(), ..self.clone() };
        Outcome::measure(&scenario, bench, self.repeat, self.labels(), measure).await
    }

    fn adapt(&mut self, all: &All) -> bool {
        self.repeat = all.rounds(Self::NAME, 1);
        self.repeat > 0
            && all.can(Self::NAME, self.network(LOSS).emulate())
            && all.can(Self::NAME, PageRequirements::find())
    }

    fn heading(&self) -> String {
        let Self { senders, rate, version, .. } = self;
        let link = self.network(0.0).to_string();
        let behind =
            if link.is_empty() { link } else { format!(", all behind a link with {link}") };
        format!(
            "Browser: {senders} sessions that send {rate} signals per second each to one in the \
             same page of {version}{behind}"
        )
    }

    fn columns(&self) -> Columns<Self> {
        vec![
            Column::title("link: clients"),
            Column::spread("p50 ms", &P50, 1),
            Column::spread("p99 ms", &P99, 1),
            Column::spread("max ms", &MAX, 0),
            Column::spread("late, %", &LATE, 1),
            Column::spread("lost packets, %", &PACKET_LOSS, 2),
            Column::spread("senders late by ms (p99)", &LAG, 1),
        ]
    }

    fn charts(outcome: &Outcome<Self>) -> Vec<Chart> {
        let charts = [
            outcome.percentiles("Latency by percentile", |it| &it.curve),
            outcome.bars("p99 of the latency", &P99),
            outcome.bars("Late signals", &LATE),
        ];
        let over_time = Chart::timelines("Over time", &outcome.parts(|it| &it.timeline));
        charts.into_iter().flatten().chain(over_time).collect()
    }
}

impl Browser {
    /// All clients over each link.
    fn labels(&self) -> Vec<BrowserLabel> {
        let lossy = Some(self.impairment.loss.unwrap_or(LOSS)).filter(|it| *it > 0.0);
        let links = [0.0].into_iter().chain(lossy);
        let of = |loss| ClientKind::ALL.map(|clients| BrowserLabel { clients, loss });
        links.flat_map(of).collect()
    }

    /// A link; none is emulated if nothing about it is bad.
    fn network(&self, loss: f64) -> Impairment {
        let given = self.impairment;
        Impairment {
            rtt: Some(given.rtt.unwrap_or(RTT)).filter(|it| !it.is_zero()),
            loss: Some(loss).filter(|it| *it > 0.0),
            loss_towards: given.loss_towards.or(Some(Direction::ToClient)),
            ..given
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        browser: Browser,
    }

    fn links(flags: &[&str]) -> Vec<String> {
        let flags = ["bench"].iter().chain(flags);
        let browser = Cli::try_parse_from(flags).unwrap().browser;
        let labels = browser.labels();
        labels.chunks(3).map(|it| browser.network(it[0].loss).to_string()).collect()
    }

    #[test]
    fn one_link_has_no_loss_and_another_has_it() {
        assert_eq!(links(&[]), ["40ms round trip", "40ms round trip, 2 % loss towards clients"]);
        assert_eq!(links(&["--rtt", "0ms", "--loss", "0%"]), [""], "no emulation, so no root");
        assert_eq!(links(&["--rtt", "0ms", "--loss", "5%"]), ["", "5 % loss towards clients"]);
    }
}

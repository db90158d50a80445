//! `loss`: the effect of lost packets on many senders' signals to one receiver behind an emulated
//! link.

mod arrivals;
mod measure;

use std::time::Duration;

use serde::Serialize;
use signalbox_loadgen::transport::TransportVariant;
use signalbox_netem::{Direction, Impairment, LinkCounts};
use signalbox_report::{Chart, Column, Label as _, Metric, Row, number};

use self::measure::{LossLoad, LossMeasured};
use super::{
    Columns, Outcome, Scenario,
    flags::{TransportLabel, time},
};
use crate::{Bench, all::All};

/// The link, unless flags say otherwise.
const RTT: Duration = Duration::from_millis(40);
const LOSS: f64 = 0.02;

/// Length of a measurement in `all`, in seconds: few packets are lost in one.
const SECONDS_IN_ALL: f64 = 20.0;

const P50: Metric<LossMeasured> = Metric::lower("p50_ms", "ms", |it| Some(it.latency_us.p50 / 1e3));
const P99: Metric<LossMeasured> = Metric::lower("p99_ms", "ms", |it| Some(it.latency_us.p99 / 1e3));
const P999: Metric<LossMeasured> =
    Metric::lower("p999_ms", "ms", |it| Some(it.latency_us.p999 / 1e3));
/// The p99 of each round as a multiple of the WebSocket's, if that was measured.
const P99_TO_WSS: Metric<LossMeasured> = Metric::lower("p99_to_wss", "×", |it| it.p99_to_wss);
const LATE: Metric<LossMeasured> = Metric::lower("late_percent", "%", |it| Some(it.late * 100.0));
const PACKET_LOSS: Metric<LossMeasured> =
    Metric::neutral("packet_loss_percent", "%", |it| Some(it.packet_loss * 100.0));
const LATE_TO_LOSS: Metric<LossMeasured> =
    Metric::lower("late_to_loss", "×", |it| Some(it.late_to_loss()));
const SENDERS_PER_LOSS: Metric<LossMeasured> =
    Metric::lower("senders_per_loss", "", |it| Some(it.senders_per_loss));

/// Latency of many senders' signals to one receiver behind a link that loses packets.
///
/// The link has a round trip of 40 ms and loses 2 % of the packets to the receiver, unless flags
/// say otherwise.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub(crate) struct Loss {
    /// Transports to measure side by side.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "quic,quic-single,webtransport,wss"
    )]
    #[serde(skip)]
    transport: Vec<TransportVariant>,
    /// Connections that send, each at times of its own.
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    senders: u32,
    /// Signals per second of each of them.
    #[arg(long, value_name = "NUMBER", default_value_t = 5.0)]
    rate: f64,
    /// Length of one measurement in seconds, without its warm-up.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// Seconds of load before a measurement.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    #[serde(skip)]
    warm_up: f64,
    /// Rounds over all transports, each with a seed of its own.
    #[arg(long, value_name = "ROUNDS", default_value_t = 3)]
    #[serde(skip)]
    repeat: usize,
    #[command(flatten)]
    #[serde(rename = "network")]
    impairment: Impairment,
}

impl Scenario for Loss {
    const NAME: &'static str = "loss";
    const TITLE: &'static str = "Loss";
    const READING: &'static str = include_str!("reading.md");
    const METRICS: &'static [Metric<LossMeasured>] =
        &[P50, P99, P999, P99_TO_WSS, LATE, PACKET_LOSS, LATE_TO_LOSS, SENDERS_PER_LOSS];

    const RELATIVE: &'static [(&'static str, Metric<Self::Round>)] = &[
        ("p99", P99),
        ("late signals", LATE),
        ("senders held up by a lost packet", SENDERS_PER_LOSS),
    ];

    type Label = TransportLabel;
    type Round = LossMeasured;

    async fn run(&self, bench: &Bench) -> anyhow::Result<Outcome<Self>> {
        anyhow::ensure!(self.senders > 0, "--senders must be at least 1");
        anyhow::ensure!(self.rate > 0.0, "--rate must be above 0");
        let network = self.network();
        let delay = network.model(Direction::ToClient).delay;
        anyhow::ensure!(!delay.is_zero(), "--rtt must be above 0: lateness is relative to it");
        let measure_one = async |label: &TransportLabel, round: usize| {
            let load = LossLoad {
                transport: label.transport,
                senders: self.senders,
                interval: time(1.0 / self.rate),
                warm_up: time(self.warm_up),
                duration: time(self.seconds),
                seed: network.seed().wrapping_add(round as u64),
            };
            measure::measure(&bench.launcher, &network, &load).await
        };
        let labels = TransportLabel::all(&self.transport);
        let scenario = Self { impairment: network, ..self.clone() };
        let mut outcome =
            Outcome::measure(&scenario, bench, self.repeat, labels, measure_one).await?;
        compare_with_websocket(&mut outcome.rows);
        Ok(outcome)
    }

    fn adapt(&mut self, all: &All) -> bool {
        self.repeat = all.rounds(Self::NAME, 2);
        self.seconds = SECONDS_IN_ALL;
        self.repeat > 0 && all.can(Self::NAME, self.network().emulate())
    }

    fn heading(&self) -> String {
        format!(
            "Loss: {} senders of {} signals per second each to one receiver behind a link with {}",
            self.senders, self.rate, self.impairment
        )
    }

    fn columns(&self) -> Columns<Self> {
        vec![
            Column::title("transport"),
            Column::spread("p50 ms", &P50, 1),
            Column::spread("p99 ms", &P99, 1),
            Column::spread("p99.9 ms", &P999, 0),
            Column::spread("p99 ÷ WebSocket's", &P99_TO_WSS, 2),
            Column::spread(format!("later than {:.0} ms, %", self.late_ms()), &LATE, 1),
            Column::spread("lost packets, %", &PACKET_LOSS, 2),
            Column::spread("late ÷ lost", &LATE_TO_LOSS, 2),
            Column::spread("senders held up by a lost packet", &SENDERS_PER_LOSS, 2),
            Column::new("packets to the receiver: all / lost / dropped by the queue", packets),
        ]
    }

    fn charts(outcome: &Outcome<Self>) -> Vec<Chart> {
        let palette = outcome.palette();
        let dots = |title: &str, unit: &str, pick: fn(&arrivals::SenderLateness) -> f64| {
            let row = |row: &Row<TransportLabel, LossMeasured>| {
                let senders = row.rounds.iter().flat_map(|it| &it.senders);
                (row.label.title(), senders.map(pick).collect())
            };
            let description = "A dot for each sender and round; a line at their median. Dots at \
                               the same place are stacked.";
            let rows = outcome.rows.iter().map(row).collect();
            Chart::dots(title, description, unit, &palette, rows)
        };
        let late_ms = number(outcome.scenario.late_ms());
        let unit = format!("% of a sender's signals later than {late_ms} ms");
        let title = "Late signals by sender: a dot for each, in each round";
        let late = dots(title, &unit, |it| it.late * 100.0);
        let longest = dots("Each sender's slowest signal, in each round", "ms", |it| it.max_ms);
        let charts = [
            outcome.percentiles("Latency by percentile", |it| &it.curve),
            Some(late),
            Some(longest),
            outcome.bars("Senders held up by one lost packet", &SENDERS_PER_LOSS),
        ];
        let over_time = Chart::timelines("Over time", &outcome.parts(|it| &it.timeline));
        charts.into_iter().flatten().chain(over_time).collect()
    }
}

/// Compares each round with the WebSocket's round of the same number.
fn compare_with_websocket(rows: &mut [Row<TransportLabel, LossMeasured>]) {
    let wss = rows.iter().find(|it| it.label.transport == TransportVariant::Wss);
    let wss = wss.map(|row| row.rounds.iter().map(|it| it.latency_us.p99).collect::<Vec<_>>());
    for row in rows {
        for (round, wss) in row.rounds.iter_mut().zip(wss.iter().flatten()) {
            round.p99_to_wss = (*wss > 0.0).then(|| round.latency_us.p99 / wss);
        }
    }
}

/// Packets to the receiver, in all rounds together.
fn packets(row: &Row<TransportLabel, LossMeasured>) -> String {
    let packets = row.rounds.iter().map(|it| it.to_receiver);
    let packets = packets.fold(LinkCounts::default(), |a, b| a + b);
    let LinkCounts { lost, overflowed, .. } = packets;
    format!("{} / {lost} / {overflowed}", packets.offered())
}

impl Loss {
    /// A signal that takes longer is late.
    fn late_ms(&self) -> f64 {
        self.impairment.model(Direction::ToClient).delay.as_secs_f64() * 1.5e3
    }

    /// The link.
    fn network(&self) -> Impairment {
        let given = self.impairment;
        Impairment {
            rtt: given.rtt.or(Some(RTT)),
            loss: given.loss.or(Some(LOSS)),
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
        loss: Loss,
    }

    fn network(flags: &[&str]) -> String {
        let flags = ["bench"].iter().chain(flags);
        Cli::try_parse_from(flags).unwrap().loss.network().to_string()
    }

    #[test]
    fn the_link_is_bad_unless_flags_say_otherwise() {
        assert_eq!(network(&[]), "40ms round trip, 2 % loss towards clients");
        assert_eq!(
            network(&["--rtt", "80ms", "--loss", "0%", "--loss-towards", "both"]),
            "80ms round trip, 0 % loss"
        );
    }
}

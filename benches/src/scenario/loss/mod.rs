//! `loss`: the effect of lost packets on many senders' signals to one receiver behind an emulated
//! link.

mod arrivals;
mod measure;

use std::time::Duration;

use serde::Serialize;
use signalbox_loadgen::transport::TransportVariant;
use signalbox_netem::{Direction, Impairment, LinkCounts};
use signalbox_report::{Better, Chart, Label as _, Metric, RelativeFigure, Row, Table, number};

use self::measure::{LossLoad, LossMeasured};
use super::{
    Outcome, Scenario,
    at_rate::curves,
    flags::{TransportLabel, time},
    rounds::Measuring,
};
use crate::{Bench, all::All};

/// The link, unless flags say otherwise.
const RTT: Duration = Duration::from_millis(40);
const LOSS: f64 = 0.02;

/// Length of a measurement in `all`, in seconds: few packets are lost in one.
const SECONDS_IN_ALL: f64 = 20.0;

const P50: Metric<LossMeasured> =
    Metric::lower("p50_ms", "ms", |it: &LossMeasured| Some(it.latency_us.p50 / 1e3));
const P99: Metric<LossMeasured> =
    Metric::lower("p99_ms", "ms", |it: &LossMeasured| Some(it.latency_us.p99 / 1e3));
const P999: Metric<LossMeasured> =
    Metric::lower("p999_ms", "ms", |it: &LossMeasured| Some(it.latency_us.p999 / 1e3));
/// The p99 of each round as a multiple of the WebSocket's, if that was measured.
const P99_TO_WSS: Metric<LossMeasured> =
    Metric::lower("p99_to_wss", "×", |it: &LossMeasured| it.p99_to_wss);
const LATE: Metric<LossMeasured> =
    Metric::lower("late_percent", "%", |it: &LossMeasured| Some(it.late * 100.0));
const PACKET_LOSS: Metric<LossMeasured> =
    Metric::neutral("packet_loss_percent", "%", |it: &LossMeasured| Some(it.packet_loss * 100.0));
const LATE_TO_LOSS: Metric<LossMeasured> =
    Metric::lower("late_to_loss", "×", |it: &LossMeasured| Some(it.late_to_loss()));
const SENDERS_PER_LOSS: Metric<LossMeasured> =
    Metric::lower("senders_per_loss", "", |it: &LossMeasured| Some(it.senders_per_loss));

/// Latency of many senders' signals to one receiver behind a link that loses packets.
///
/// The link has a round trip of 40 ms and loses 2 % of the packets to the receiver, unless flags
/// say otherwise.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Loss {
    /// Transports to measure side by side.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "quic,quic-single,wss"
    )]
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
    warm_up: f64,
    /// Rounds over all transports, each with a seed of its own.
    #[arg(long, value_name = "ROUNDS", default_value_t = 3)]
    repeat: usize,
    #[command(flatten)]
    impairment: Impairment,
}

/// The common parameters.
#[derive(Debug, Serialize)]
pub(crate) struct LossParameters {
    /// Connections that send.
    senders: u32,
    /// Signals per second of each of them.
    rate: f64,
    /// Length of a measurement.
    seconds: f64,
    /// The link.
    network: Impairment,
    /// A signal that took longer is late.
    late_ms: f64,
}

impl Scenario for Loss {
    const NAME: &'static str = "loss";
    const TITLE: &'static str = "Loss";
    const READING: &'static str = include_str!("reading.md");
    const METRICS: &'static [Metric<LossMeasured>] =
        &[P50, P99, P999, P99_TO_WSS, LATE, PACKET_LOSS, LATE_TO_LOSS, SENDERS_PER_LOSS];

    type Parameters = LossParameters;
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
        let Measuring { mut rows, failures } =
            Measuring::<Self>::rows(bench, self.repeat, labels, measure_one).await?;
        compare_with_websocket(&mut rows);
        let parameters = LossParameters {
            senders: self.senders,
            rate: self.rate,
            seconds: self.seconds,
            network,
            late_ms: delay.as_secs_f64() * 1.5e3,
        };
        Ok(Outcome { parameters, rows, failures })
    }

    fn adapt(&mut self, all: &All) -> bool {
        self.repeat = all.rounds(Self::NAME, 2);
        self.seconds = SECONDS_IN_ALL;
        self.repeat > 0 && all.can(Self::NAME, self.network().emulate())
    }

    fn table(outcome: &Outcome<Self>) -> Table {
        let LossParameters { senders, rate, network, late_ms, .. } = &outcome.parameters;
        let mut table = Table::new(
            format!(
                "Loss: {senders} senders of {rate} signals per second each to one receiver behind \
                 a link with {network}"
            ),
            [
                "transport",
                "p50 ms",
                "p99 ms",
                "p99.9 ms",
                "p99 ÷ WebSocket's",
                &format!("later than {late_ms:.0} ms, %"),
                "lost packets, %",
                "late ÷ lost",
                "senders held up by a lost packet",
                "packets to the receiver: all / lost / dropped by the queue",
            ],
        );
        for row in &outcome.rows {
            let packets = row.rounds.iter().map(|it| it.to_receiver);
            let packets = packets.fold(LinkCounts::default(), |a, b| a + b);
            let LinkCounts { lost, overflowed, .. } = packets;
            table.row([
                row.label.title(),
                row.text(&P50, 1),
                row.text(&P99, 1),
                row.text(&P999, 0),
                row.text(&P99_TO_WSS, 2),
                row.text(&LATE, 1),
                row.text(&PACKET_LOSS, 2),
                row.text(&LATE_TO_LOSS, 2),
                row.text(&SENDERS_PER_LOSS, 2),
                format!("{} / {lost} / {overflowed}", packets.offered()),
            ]);
        }
        table
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
        let late_ms = number(outcome.parameters.late_ms);
        let unit = format!("% of a sender's signals later than {late_ms} ms");
        let title = "Late signals by sender: a dot for each, in each round";
        let late = dots(title, &unit, |it| it.late * 100.0);
        let longest = dots("Each sender's slowest signal, in each round", "ms", |it| it.max_ms);
        let held_up = outcome.figures(&SENDERS_PER_LOSS);
        let curves_by_row = curves(&outcome.rows, |it| &it.curve);
        let first = Chart::percentiles("Latency by percentile", &palette, &curves_by_row);
        let mut charts: Vec<_> = first.into_iter().collect();
        let title = "Senders held up by one lost packet";
        charts.extend([late, longest, Chart::bars(title, "", &palette, &held_up)]);
        charts.extend(Chart::timelines("Over time", &curves(&outcome.rows, |it| &it.timeline)));
        charts
    }

    fn relative(outcome: &Outcome<Self>) -> Vec<RelativeFigure> {
        let figures = [
            ("p99", &P99),
            ("late signals", &LATE),
            ("senders held up by a lost packet", &SENDERS_PER_LOSS),
        ];
        let of =
            |(figure, metric)| RelativeFigure::of(figure, Better::Lower, &outcome.figures(metric));
        figures.into_iter().filter_map(of).collect()
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

impl Loss {
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

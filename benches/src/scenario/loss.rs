//! The scenario with a bad network: what a lost packet does to signals of many senders to one
//! receiver behind an emulated link.

use std::time::Duration;

use serde::Serialize;
use signalbox_netem::{Direction, Impairment, LinkCounts};

use super::order;
use crate::{
    gateway::Launcher,
    lossy::{self, LossMeasured},
    output::note,
    stats::Spread,
    transport::Transport,
};

/// What the link is like, unless told otherwise.
const RTT: Duration = Duration::from_millis(40);
const LOSS: f64 = 0.02;

/// Senders side by side next to the gateway, and one receiver behind a bad link.
///
/// The link has a round trip of 40 ms and loses 2 % of the packets to the receiver, unless told
/// otherwise.
#[derive(Debug, Clone, clap::Args)]
pub struct Loss {
    /// Transports to set side by side.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "quic,quic-single,wss"
    )]
    pub transport: Vec<Transport>,
    /// Connections that send, each at times of its own.
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    pub senders: u32,
    /// Signals per second of each of them.
    #[arg(long, value_name = "NUMBER", default_value_t = 5.0)]
    pub rate: f64,
    /// Length of one measurement in seconds, without its warm-up.
    #[arg(long, default_value_t = 30.0)]
    pub seconds: f64,
    /// Seconds of load before it, which do not count.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub warm_up: f64,
    /// Rounds over all transports. Each has a seed of its own.
    #[arg(long, value_name = "ROUNDS", default_value_t = 3)]
    pub repeat: usize,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as this command's own description")]
    pub impairment: Impairment,
}

/// All rounds.
#[derive(Debug, Serialize)]
pub struct LossResult {
    /// `loss`.
    pub scenario: &'static str,
    /// Connections that send.
    pub senders: u32,
    /// Signals per second of each of them.
    pub rate: f64,
    /// Length of a measurement.
    pub seconds: f64,
    /// What the link was like.
    pub network: Impairment,
    /// A signal that took longer is late.
    pub late_ms: f64,
    /// A row for each transport.
    pub rows: Vec<LossRow>,
}

/// All rounds of one transport.
#[derive(Debug, Serialize)]
pub struct LossRow {
    /// The transport.
    pub transport: Transport,
    /// Latency: half of all are at most this, in milliseconds.
    pub p50_ms: Spread,
    /// 99 %.
    pub p99_ms: Spread,
    /// 99.9 %.
    pub p999_ms: Spread,
    /// The 99 % of each round as a share of the WebSocket's, if that was measured.
    pub p99_to_wss: Option<Spread>,
    /// Late signals, in percent.
    pub late_percent: Spread,
    /// Packets to the receiver that were lost, in percent.
    pub packet_loss_percent: Spread,
    /// The first as a multiple of the second.
    pub late_to_loss: Spread,
    /// How many senders one lost packet held up, on average.
    pub senders_per_loss: Spread,
    /// What the link did with packets to the receiver, in all rounds together.
    pub to_receiver: LinkCounts,
    /// The single measurements.
    pub rounds: Vec<LossMeasured>,
}

impl LossRow {
    /// With the rounds of the WebSocket, to compare with.
    fn new(transport: Transport, rounds: Vec<LossMeasured>, wss: Option<&[LossMeasured]>) -> Self {
        let spread = |pick: fn(&LossMeasured) -> f64| Spread::of(rounds.iter().map(pick));
        let to_wss = |wss: &[LossMeasured]| {
            let pairs = rounds.iter().zip(wss).filter(|(_, wss)| wss.latency_us.p99 > 0.0);
            Spread::of(pairs.map(|(own, wss)| own.latency_us.p99 / wss.latency_us.p99))
        };
        Self {
            transport,
            p50_ms: spread(|it| it.latency_us.p50 / 1e3),
            p99_ms: spread(|it| it.latency_us.p99 / 1e3),
            p999_ms: spread(|it| it.latency_us.p999 / 1e3),
            p99_to_wss: wss.map(to_wss),
            late_percent: spread(|it| it.late * 100.0),
            packet_loss_percent: spread(|it| it.packet_loss * 100.0),
            late_to_loss: spread(LossMeasured::late_to_loss),
            senders_per_loss: spread(|it| it.senders_per_loss),
            to_receiver: rounds
                .iter()
                .map(|it| it.to_receiver)
                .fold(LinkCounts::default(), |a, b| a + b),
            rounds,
        }
    }

    /// All that was said against its measurements.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> {
        super::by_round(self.transport.title(), self.rounds.iter().map(|it| &it.warnings))
    }
}

impl Loss {
    /// What the link is like.
    fn network(&self) -> Impairment {
        let given = self.impairment;
        Impairment {
            rtt: given.rtt.or(Some(RTT)),
            loss: given.loss.or(Some(LOSS)),
            loss_towards: given.loss_towards.or(Some(Direction::ToClient)),
            ..given
        }
    }

    /// Measures.
    ///
    /// # Errors
    /// If there can be no emulated link, if the gateway cannot be run, or if anything is lost for
    /// good.
    pub async fn run(&self, launcher: &Launcher) -> anyhow::Result<LossResult> {
        anyhow::ensure!(self.repeat > 0, "--repeat must be at least 1");
        anyhow::ensure!(self.senders > 0, "--senders must be at least 1");
        anyhow::ensure!(self.rate > 0.0, "--rate must be above 0");
        let network = self.network();
        let way = network.model(Direction::ToClient).delay;
        anyhow::ensure!(!way.is_zero(), "--rtt must be above 0: late is what took longer");
        let mut done: Vec<(Transport, Vec<LossMeasured>)> =
            self.transport.iter().map(|it| (*it, Vec::new())).collect();
        'rounds: for round in 0..self.repeat {
            for transport in order(&self.transport, round) {
                let load = lossy::Load {
                    transport,
                    senders: self.senders,
                    interval: super::time(1.0 / self.rate),
                    warm_up: super::time(self.warm_up),
                    duration: super::time(self.seconds),
                    seed: network.seed().wrapping_add(round as u64),
                };
                let measuring = lossy::measure(launcher, &network, &load);
                let Some(measured) = launcher.unless_interrupted(measuring).await? else {
                    break 'rounds;
                };
                note(format_args!(
                    "loss {}/{}  {:<30} p50 {:.1} ms, p99 {:.1} ms, {:.1} % late at {:.1} % loss",
                    round + 1,
                    self.repeat,
                    transport.title(),
                    measured.latency_us.p50 / 1e3,
                    measured.latency_us.p99 / 1e3,
                    measured.late * 100.0,
                    measured.packet_loss * 100.0,
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
        let wss = done.iter().find(|(it, _)| *it == Transport::Wss).map(|(_, it)| it.clone());
        Ok(LossResult {
            scenario: "loss",
            senders: self.senders,
            rate: self.rate,
            seconds: self.seconds,
            network,
            late_ms: way.as_secs_f64() * 1.5e3,
            rows: done
                .into_iter()
                .map(|(transport, rounds)| LossRow::new(transport, rounds, wss.as_deref()))
                .collect(),
        })
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
    fn the_link_is_bad_unless_told_otherwise() {
        assert_eq!(network(&[]), "40ms round trip, 2 % loss towards clients");
        assert_eq!(
            network(&["--rtt", "80ms", "--loss", "0%", "--loss-towards", "both"]),
            "80ms round trip, 0 % loss"
        );
    }
}

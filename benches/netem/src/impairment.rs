//! A link model as command line flags.

use std::{fmt, time::Duration};

use serde::Serialize;

#[cfg(target_os = "linux")]
use crate::namespace::Network;
use crate::{
    Direction, LinkModel, LossModel,
    units::{burst, duration, rate, share, size},
};

/// The seed unless `--seed` is given.
const SEED: u64 = 1;

/// Flags for an emulated link between clients and server. It needs root.
#[derive(Debug, Clone, Copy, Default, clap::Args, Serialize)]
#[command(next_help_heading = "Emulated network between clients and server (needs root)")]
pub struct Impairment {
    /// Round-trip time of the link: half of it in each direction.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub rtt: Option<Duration>,
    /// Largest additional delay of a packet, in each direction.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub jitter: Option<Duration>,
    /// Share of packets that are lost.
    #[arg(long, value_name = "PERCENT", value_parser = share)]
    pub loss: Option<f64>,
    /// Mean number of packets lost in a row (Gilbert–Elliott); without it losses are independent.
    #[arg(long, value_name = "PACKETS", value_parser = burst)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_burst: Option<f64>,
    /// The receiver of the packets that may be lost.
    #[arg(long, value_name = "SIDE", value_enum)]
    pub loss_towards: Option<Direction>,
    /// Bits per second, in each direction (kbit, mbit, gbit).
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub link_rate: Option<u64>,
    /// Queue in front of a limited rate, in each direction. [default: 256kb]
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "link_rate")]
    pub queue: Option<u64>,
    /// Share of packets that others overtake, in each direction.
    #[arg(long, value_name = "PERCENT", value_parser = share)]
    pub reorder: Option<f64>,
    /// Seed of all random decisions. [default: 1]
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
}

impl Impairment {
    /// Starts the network that the flags describe; `None` if no flag asks for one.
    ///
    /// # Errors
    /// If this system or user cannot emulate a network.
    #[cfg(target_os = "linux")]
    pub fn start(&self) -> anyhow::Result<Option<Network>> {
        let Self { rtt, jitter, loss, link_rate, reorder, .. } = self;
        let asked = rtt.or(*jitter).is_some() || loss.or(*reorder).is_some() || link_rate.is_some();
        asked.then(|| self.emulate()).transpose()
    }

    /// Starts the network that the flags describe, or a perfect one.
    ///
    /// # Errors
    /// If this system or user cannot emulate a network.
    #[cfg(target_os = "linux")]
    pub fn emulate(&self) -> anyhow::Result<Network> {
        let [client, server] = [Direction::ToClient, Direction::ToServer].map(|it| self.model(it));
        Network::start(client, server, self.seed())
    }

    /// The seed of all random decisions.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(SEED)
    }

    /// The model of one direction.
    pub fn model(&self, direction: Direction) -> LinkModel {
        let default = LinkModel::default();
        let is_lossy = |side| side == Direction::Both || side == direction;
        let loss = self.loss.filter(|_| self.loss_towards.is_none_or(is_lossy));
        let loss = match (loss.unwrap_or_default(), self.loss_burst) {
            (loss, Some(burst)) if loss > 0.0 => LossModel::bursts(loss, burst),
            (loss, _) => LossModel::Uniform(loss),
        };
        LinkModel {
            delay: self.rtt.unwrap_or_default() / 2,
            jitter: self.jitter.unwrap_or_default(),
            loss,
            reorder: self.reorder.unwrap_or_default(),
            rate: self.link_rate,
            queue: self.queue.unwrap_or(default.queue),
        }
    }
}

/// A description for people; empty if no flag was given.
impl fmt::Display for Impairment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| (share * 1e5).round() / 1e3;
        let towards = match self.loss_towards {
            Some(Direction::ToClient) => " towards clients",
            Some(Direction::ToServer) => " towards the server",
            Some(Direction::Both) | None => "",
        };
        let bursts = self.loss_burst.map(|it| format!(" in bursts of {it}")).unwrap_or_default();
        let parts = [
            self.rtt.map(|it| format!("{it:?} round trip")),
            self.jitter.map(|it| format!("{it:?} jitter")),
            self.loss.map(|it| format!("{} % loss{bursts}{towards}", percent(it))),
            self.reorder.map(|it| format!("{} % reordered", percent(it))),
            self.link_rate.map(|it| format!("{} Mbit/s", it as f64 / 1e6)),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        impairment: Impairment,
    }

    fn parse(flags: &str) -> Result<Impairment, clap::Error> {
        let flags = ["bench"].into_iter().chain(flags.split_whitespace());
        Cli::try_parse_from(flags).map(|cli| cli.impairment)
    }

    #[test]
    fn flags_describe_each_direction() {
        let all = "--rtt 40ms --jitter 5ms --loss 2% --link-rate 10mbit --reorder 1% --queue 64kb \
                   --seed 7 --loss-towards client";
        let impairment = parse(all).unwrap();
        let client = LinkModel {
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(5),
            loss: LossModel::Uniform(0.02),
            reorder: 0.01,
            rate: Some(10_000_000),
            queue: 64_000,
        };
        assert_eq!(impairment.model(Direction::ToClient), client);
        let server = LinkModel { loss: LossModel::NONE, ..client };
        assert_eq!(impairment.model(Direction::ToServer), server);
        assert_eq!(
            impairment.to_string(),
            "40ms round trip, 5ms jitter, 2 % loss towards clients, 1 % reordered, 10 Mbit/s"
        );
    }

    #[test]
    fn flags_that_are_not_given_change_nothing() {
        let both = parse("--loss 2%").unwrap();
        for towards in [Direction::ToClient, Direction::ToServer] {
            let expected = LinkModel { loss: LossModel::Uniform(0.02), ..LinkModel::default() };
            assert_eq!(both.model(towards), expected);
        }
        let none = parse("").unwrap();
        assert_eq!(none.model(Direction::ToClient), LinkModel::default());
        assert!(none.start().unwrap().is_none());
        assert_eq!(none.to_string(), "");
    }

    #[test]
    fn loss_comes_in_bursts_if_asked_for() {
        let flags = parse("--loss 2% --loss-burst 5").unwrap();
        assert_eq!(flags.model(Direction::ToServer).loss, LossModel::bursts(0.02, 5.0));
        assert_eq!(flags.to_string(), "2 % loss in bursts of 5");
        let flags = parse("--loss 2% --loss-burst 5 --loss-towards client").unwrap();
        assert_eq!(flags.model(Direction::ToServer).loss, LossModel::NONE);
    }

    #[test]
    fn a_queue_needs_a_rate() {
        assert!(parse("--queue 64kb").unwrap_err().to_string().contains("--link-rate"));
    }
}

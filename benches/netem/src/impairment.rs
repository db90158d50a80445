//! What a network is to be like, as said on the command line.

use std::{fmt, time::Duration};

use serde::Serialize;

#[cfg(target_os = "linux")]
use crate::namespace::Network;
use crate::{
    Direction, LinkModel,
    units::{duration, rate, share, size},
};

/// Which packets are lost, unless somebody wants others.
const SEED: u64 = 1;

/// Flags for an emulated link between clients and gateway. It needs root.
#[derive(Debug, Clone, Copy, Default, clap::Args, Serialize)]
#[command(next_help_heading = "Emulated network between clients and server (needs root)")]
pub struct Impairment {
    /// Round trip over the link: half of it each way.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub rtt: Option<Duration>,
    /// How much longer a packet takes at most, each way.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub jitter: Option<Duration>,
    /// Packets that are lost, in percent.
    #[arg(long, value_name = "PERCENT", value_parser = share)]
    pub loss: Option<f64>,
    /// On which way packets are lost; `client` is what the server sends.
    #[arg(long, value_name = "SIDE", value_enum)]
    pub loss_towards: Option<Direction>,
    /// Bits per second, each way (kbit, mbit, gbit).
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub link_rate: Option<u64>,
    /// What may wait at the link's rate, each way; the rest is dropped. [default: 256kb]
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "link_rate")]
    pub queue: Option<u64>,
    /// Packets that others overtake, in percent, each way.
    #[arg(long, value_name = "PERCENT", value_parser = share)]
    pub reorder: Option<f64>,
    /// Another seed loses other packets; the same one the same. [default: 1]
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
}

impl Impairment {
    /// A network that is like this, if anything at all was asked for.
    ///
    /// # Errors
    /// If this system or user cannot have one.
    #[cfg(target_os = "linux")]
    pub fn start(&self) -> anyhow::Result<Option<Network>> {
        let Self { rtt, jitter, loss, link_rate, reorder, .. } = self;
        let asked = rtt.or(*jitter).is_some() || loss.or(*reorder).is_some() || link_rate.is_some();
        asked.then(|| self.emulate()).transpose()
    }

    /// Which packets are lost.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(SEED)
    }

    /// A network that is like this, even if it is perfect.
    ///
    /// # Errors
    /// If this system or user cannot have one.
    #[cfg(target_os = "linux")]
    pub fn emulate(&self) -> anyhow::Result<Network> {
        let [client, server] = [Direction::ToClient, Direction::ToServer].map(|it| self.model(it));
        Network::start(client, server, self.seed())
    }

    /// How one way is.
    pub fn model(&self, towards: Direction) -> LinkModel {
        let default = LinkModel::default();
        let lossy = self.loss_towards.is_none_or(|it| it == Direction::Both || it == towards);
        LinkModel {
            delay: self.rtt.unwrap_or_default() / 2,
            jitter: self.jitter.unwrap_or_default(),
            loss: self.loss.filter(|_| lossy).unwrap_or_default(),
            reorder: self.reorder.unwrap_or_default(),
            rate: self.link_rate,
            queue: self.queue.unwrap_or(default.queue),
        }
    }
}

/// In words; empty if nothing was asked for.
impl fmt::Display for Impairment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| (share * 1e5).round() / 1e3;
        let towards = match self.loss_towards {
            Some(Direction::ToClient) => " towards clients",
            Some(Direction::ToServer) => " towards the server",
            Some(Direction::Both) | None => "",
        };
        let words = [
            self.rtt.map(|it| format!("{it:?} round trip")),
            self.jitter.map(|it| format!("{it:?} jitter")),
            self.loss.map(|it| format!("{} % loss{towards}", percent(it))),
            self.reorder.map(|it| format!("{} % reordered", percent(it))),
            self.link_rate.map(|it| format!("{} Mbit/s", it as f64 / 1e6)),
        ];
        f.write_str(&words.into_iter().flatten().collect::<Vec<_>>().join(", "))
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
    fn each_way_is_as_the_flags_say() {
        let all = "--rtt 40ms --jitter 5ms --loss 2% --link-rate 10mbit --reorder 1% --queue 64kb \
                   --seed 7 --loss-towards client";
        let impairment = parse(all).unwrap();
        let client = LinkModel {
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(5),
            loss: 0.02,
            reorder: 0.01,
            rate: Some(10_000_000),
            queue: 64_000,
        };
        assert_eq!(impairment.model(Direction::ToClient), client);
        let gateway = LinkModel { loss: 0.0, ..client };
        assert_eq!(impairment.model(Direction::ToServer), gateway);
        assert_eq!(
            impairment.to_string(),
            "40ms round trip, 5ms jitter, 2 % loss towards clients, 1 % reordered, 10 Mbit/s"
        );
    }

    #[test]
    fn only_what_is_given_applies() {
        let both = parse("--loss 2%").unwrap();
        for towards in [Direction::ToClient, Direction::ToServer] {
            let expected = LinkModel { loss: 0.02, ..LinkModel::default() };
            assert_eq!(both.model(towards), expected);
        }
        let none = parse("").unwrap();
        assert_eq!(none.model(Direction::ToClient), LinkModel::default());
        assert!(none.start().unwrap().is_none());
        assert_eq!(none.to_string(), "");
    }

    #[test]
    fn a_queue_without_a_rate_would_do_nothing() {
        assert!(parse("--queue 64kb").unwrap_err().to_string().contains("--link-rate"));
    }
}

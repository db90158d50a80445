//! Decisions about links and packets, derived from the seed alone: in every run the n-th link of a
//! protocol has the same lifetime, and its m-th packet in a direction the same delay.

use std::time::Duration;

use fastrand::Rng;

use super::ChaosSpec;

/// The way in which a link is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// Nothing is forwarded any more, and neither end is told.
    Silence,
    /// TCP: both ends get a reset.
    Reset,
    /// TCP: both ends get the end of the stream, without a close of the protocol on top.
    End,
}

impl Cut {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Reset => "reset",
            Self::End => "end of stream",
        }
    }
}

/// The protocol of a link. QUIC can only fall silent: its packets are authenticated.
#[derive(Debug, Clone, Copy)]
pub(super) enum Protocol {
    Quic,
    Tcp,
}

/// The decisions about one link.
pub(super) struct LinkDecisions {
    /// Time until it is cut, if it is.
    pub(super) lifetime: Option<Duration>,
    pub(super) cut: Cut,
    pub(super) to_gateway: PacketDecisions,
    pub(super) to_client: PacketDecisions,
}

/// The decisions about the packets of a link in one direction, in their order.
pub(super) struct PacketDecisions {
    rng: Rng,
    delay: Duration,
    drop: f64,
}

/// The decision about one packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PacketDecision {
    pub(super) lost: bool,
    pub(super) delay: Duration,
}

impl LinkDecisions {
    /// The decisions about the link with this number, counted from 1 for each protocol.
    pub(super) fn new(spec: ChaosSpec, protocol: Protocol, link: u64) -> Self {
        let mut rng = derived(spec.seed, [protocol as u64, link]);
        // Clients can predict neither the time nor the kind of a cut.
        let lifetime = spec.cut.mul_f64(0.5 + rng.f64());
        let cut = match (protocol, rng.u8(0..3)) {
            (Protocol::Tcp, 0) => Cut::Reset,
            (Protocol::Tcp, 1) => Cut::End,
            _ => Cut::Silence,
        };
        let mut packets = || PacketDecisions {
            rng: Rng::with_seed(rng.u64(..)),
            delay: spec.delay,
            drop: spec.drop,
        };
        Self {
            lifetime: (!spec.cut.is_zero()).then_some(lifetime),
            cut,
            to_gateway: packets(),
            to_client: packets(),
        }
    }
}

impl PacketDecisions {
    pub(super) fn next(&mut self) -> PacketDecision {
        let lost = self.rng.f64() < self.drop;
        PacketDecision { lost, delay: self.delay.mul_f64(self.rng.f64()) }
    }

    /// The part of a chunk that is forwarded before a cut.
    pub(super) fn part_of(&mut self, length: usize) -> usize {
        self.rng.usize(..length.max(1))
    }

    /// Time for which a stream stalls while a lost packet would be retransmitted.
    pub(super) fn stall(&mut self) -> Duration {
        Duration::from_millis(self.rng.u64(200..1000))
    }
}

/// A generator for one link, independent of how many numbers others take.
fn derived(seed: u64, parts: [u64; 2]) -> Rng {
    parts.iter().fold(Rng::with_seed(seed), |mut rng, part| Rng::with_seed(rng.u64(..) ^ part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> ChaosSpec {
        text.parse().unwrap()
    }

    fn decisions(
        spec: ChaosSpec,
        protocol: Protocol,
        link: u64,
    ) -> (Option<Duration>, Cut, Vec<PacketDecision>) {
        let mut link = LinkDecisions::new(spec, protocol, link);
        let packets = (0..100).flat_map(|_| [link.to_gateway.next(), link.to_client.next()]);
        let packets = packets.collect();
        (link.lifetime, link.cut, packets)
    }

    #[test]
    fn a_seed_makes_the_same_decisions_again_and_another_one_others() {
        let seven = spec("cut=10s,delay=200ms,drop=0.1,seed=7");
        for protocol in [Protocol::Quic, Protocol::Tcp] {
            for link in 1..10 {
                assert_eq!(decisions(seven, protocol, link), decisions(seven, protocol, link));
                assert_ne!(
                    decisions(seven, protocol, link).2,
                    decisions(seven, protocol, link + 1).2
                );
                let eight = ChaosSpec { seed: 8, ..seven };
                assert_ne!(decisions(seven, protocol, link).2, decisions(eight, protocol, link).2);
            }
        }
    }

    #[test]
    fn decisions_follow_the_spec() {
        let asked = spec("cut=10s,delay=200ms,drop=0.1,seed=7");
        let mut lost = 0;
        for link in 1..=100 {
            let (lifetime, cut, packets) = decisions(asked, Protocol::Quic, link);
            let lifetime = lifetime.unwrap();
            assert!((Duration::from_secs(5)..=Duration::from_secs(15)).contains(&lifetime));
            assert_eq!(cut, Cut::Silence);
            assert!(packets.iter().all(|it| it.delay <= asked.delay));
            lost += packets.iter().filter(|it| it.lost).count();
        }
        assert!((1600..2400).contains(&lost), "{lost} of 20000");
        let cuts = (1..=100).map(|link| LinkDecisions::new(asked, Protocol::Tcp, link).cut);
        let cuts: Vec<_> = cuts.collect();
        assert!([Cut::Silence, Cut::Reset, Cut::End].iter().all(|cut| cuts.contains(cut)));
    }

    #[test]
    fn disabled_faults_do_not_happen() {
        let (lifetime, _, packets) = decisions(spec("cut=0,delay=0,drop=0"), Protocol::Quic, 1);
        assert_eq!(lifetime, None);
        assert!(
            packets.iter().all(|it| *it == PacketDecision { lost: false, delay: Duration::ZERO })
        );
    }
}

//! What happens to each link, decided by the seed alone: the n-th link of a carrier has the same
//! lifetime, and its m-th packet in a direction the same delay, at every run.

use std::time::Duration;

use fastrand::Rng;

use super::Spec;

/// How a link is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// Nothing passes any more, and neither end is told.
    Silence,
    /// TCP: both ends get a reset.
    Reset,
    /// TCP: both ends get the end of the stream, without a close of what it carried.
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

/// Which carrier a link is of. QUIC can only fall silent: its packets are authenticated.
#[derive(Debug, Clone, Copy)]
pub(super) enum Carrier {
    Quic,
    Tcp,
}

/// What becomes of a link.
pub(super) struct Fate {
    /// When it is cut, if ever.
    pub(super) lifetime: Option<Duration>,
    pub(super) cut: Cut,
    pub(super) to_gateway: Packets,
    pub(super) to_client: Packets,
}

/// What becomes of the packets of a link in one direction, one after the other.
pub(super) struct Packets {
    rng: Rng,
    delay: Duration,
    drop: f64,
}

/// What becomes of one packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) lost: bool,
    pub(super) delay: Duration,
}

impl Fate {
    /// Of the link with this number, counted from 1 for each carrier.
    pub(super) fn new(spec: Spec, carrier: Carrier, link: u64) -> Self {
        let mut rng = derived(spec.seed, [carrier as u64, link]);
        // Clients can foresee neither the moment nor the kind of a cut.
        let lifetime = spec.cut.mul_f64(0.5 + rng.f64());
        let cut = match (carrier, rng.u8(0..3)) {
            (Carrier::Tcp, 0) => Cut::Reset,
            (Carrier::Tcp, 1) => Cut::End,
            _ => Cut::Silence,
        };
        let mut packets =
            || Packets { rng: Rng::with_seed(rng.u64(..)), delay: spec.delay, drop: spec.drop };
        Self {
            lifetime: (!spec.cut.is_zero()).then_some(lifetime),
            cut,
            to_gateway: packets(),
            to_client: packets(),
        }
    }
}

impl Packets {
    pub(super) fn next(&mut self) -> Packet {
        let lost = self.rng.f64() < self.drop;
        Packet { lost, delay: self.delay.mul_f64(self.rng.f64()) }
    }

    /// A length below this one, where something is cut in the middle.
    pub(super) fn part_of(&mut self, length: usize) -> usize {
        self.rng.usize(..length.max(1))
    }

    /// For how long a stream stands still while a packet of it is sent again.
    pub(super) fn stall(&mut self) -> Duration {
        Duration::from_millis(self.rng.u64(200..1000))
    }
}

/// A generator for one thing, so that how many numbers another takes makes no difference.
fn derived(seed: u64, parts: [u64; 2]) -> Rng {
    parts.iter().fold(Rng::with_seed(seed), |mut rng, part| Rng::with_seed(rng.u64(..) ^ part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Spec {
        text.parse().unwrap()
    }

    fn story(spec: Spec, carrier: Carrier, link: u64) -> (Option<Duration>, Cut, Vec<Packet>) {
        let mut fate = Fate::new(spec, carrier, link);
        let packets = (0..100).flat_map(|_| [fate.to_gateway.next(), fate.to_client.next()]);
        let packets = packets.collect();
        (fate.lifetime, fate.cut, packets)
    }

    #[test]
    fn a_seed_makes_the_same_decisions_again_and_another_one_others() {
        let seven = spec("cut=10s,delay=200ms,drop=0.1,seed=7");
        for carrier in [Carrier::Quic, Carrier::Tcp] {
            for link in 1..10 {
                assert_eq!(story(seven, carrier, link), story(seven, carrier, link));
                assert_ne!(story(seven, carrier, link).2, story(seven, carrier, link + 1).2);
                let eight = Spec { seed: 8, ..seven };
                assert_ne!(story(seven, carrier, link).2, story(eight, carrier, link).2);
            }
        }
    }

    #[test]
    fn decisions_keep_to_what_was_asked_for() {
        let asked = spec("cut=10s,delay=200ms,drop=0.1,seed=7");
        let mut lost = 0;
        for link in 1..=100 {
            let (lifetime, cut, packets) = story(asked, Carrier::Quic, link);
            let lifetime = lifetime.unwrap();
            assert!((Duration::from_secs(5)..=Duration::from_secs(15)).contains(&lifetime));
            assert_eq!(cut, Cut::Silence);
            assert!(packets.iter().all(|it| it.delay <= asked.delay));
            lost += packets.iter().filter(|it| it.lost).count();
        }
        assert!((1600..2400).contains(&lost), "{lost} of 20000");
        let ways = (1..=100).map(|link| Fate::new(asked, Carrier::Tcp, link).cut);
        let ways: Vec<_> = ways.collect();
        assert!([Cut::Silence, Cut::Reset, Cut::End].iter().all(|way| ways.contains(way)));
    }

    #[test]
    fn what_is_turned_off_does_not_happen() {
        let (lifetime, _, packets) = story(spec("cut=0,delay=0,drop=0"), Carrier::Quic, 1);
        assert_eq!(lifetime, None);
        assert!(packets.iter().all(|it| *it == Packet { lost: false, delay: Duration::ZERO }));
    }
}

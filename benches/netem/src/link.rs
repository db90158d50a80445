//! One direction of a link as a function of time.
//!
//! No I/O and no clock: packets and the time go in (`handle`), packets that have arrived come out
//! (`poll`).

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, binary_heap::PeekMut},
    time::Duration,
};

use crate::{LinkModel, loss::LossState, random::SeededRandom};

pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// Bytes in flight, besides those in the queue: more than the bandwidth-delay product of any link
/// that is worth emulating. Packets over it are dropped as from a full queue.
const MAX_IN_FLIGHT: usize = 64 * 1024 * 1024;

/// Dropped packets that are remembered one by one. All are counted.
const MAX_DROP_LOG: usize = 1_000_000;

/// A reordered packet arrives later by this part of the delay, and by [`MIN_REORDER_NS`] at least.
/// Packets behind it overtake it.
const REORDER_DELAY_DIVISOR: u64 = 4;
const MIN_REORDER_NS: u64 = 1_000_000;

/// Counts of the packets that were sent over a link, by their fate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "flags", derive(serde::Serialize))]
pub struct LinkCounts {
    /// Packets that have arrived or are in flight.
    pub passed: u64,
    /// Their bytes.
    pub passed_bytes: u64,
    /// Packets among them that later packets may have overtaken.
    pub reordered: u64,
    /// Packets that the loss model dropped.
    pub lost: u64,
    /// Packets that did not fit into the queue.
    pub overflowed: u64,
    /// Packets that were sent while the link was cut.
    pub cut: u64,
}

impl LinkCounts {
    /// All packets that were sent.
    pub fn offered(&self) -> u64 {
        self.passed + self.lost + self.overflowed + self.cut
    }

    /// The packets since an `earlier` count.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        self.combine(earlier, |now, before| now - before)
    }

    fn combine(&self, other: &Self, operation: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            passed: operation(self.passed, other.passed),
            passed_bytes: operation(self.passed_bytes, other.passed_bytes),
            reordered: operation(self.reordered, other.reordered),
            lost: operation(self.lost, other.lost),
            overflowed: operation(self.overflowed, other.overflowed),
            cut: operation(self.cut, other.cut),
        }
    }
}

impl std::ops::Add for LinkCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.combine(&other, |one, other| one + other)
    }
}

/// A packet that did not arrive, for any of the reasons in [`LinkCounts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DroppedPacket {
    /// Time at which it was sent, by the caller's clock.
    pub at_ns: u64,
    /// Its length.
    pub bytes: usize,
}

/// One direction of a link. All times are nanoseconds of one monotonic clock.
#[derive(Debug)]
pub struct SimulatedLink {
    /// May be changed at any time; packets that are in flight keep their arrival.
    pub model: LinkModel,
    random: SeededRandom,
    loss: LossState,
    /// Packets sent before this are dropped.
    cut_until_ns: u64,
    /// Time at which the last packet leaves the queue.
    left_ns: u64,
    /// Time at which the last packet that was not reordered arrives.
    arrived_ns: u64,
    in_flight: BinaryHeap<Reverse<InFlight>>,
    in_flight_bytes: usize,
    /// Packets so far that went in flight.
    number: u64,
    counts: LinkCounts,
    drops: Vec<DroppedPacket>,
}

/// Ordered by arrival, then by departure.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct InFlight {
    at_ns: u64,
    number: u64,
    packet: Vec<u8>,
}

impl SimulatedLink {
    /// A link with this model. The same seed and stream number lose the same packets, counted from
    /// the first; different stream numbers, as for two directions, are independent.
    pub fn new(model: LinkModel, seed: u64, stream: u64) -> Self {
        Self {
            model,
            random: SeededRandom::new(seed, stream),
            loss: LossState::default(),
            cut_until_ns: 0,
            left_ns: 0,
            arrived_ns: 0,
            in_flight: BinaryHeap::new(),
            in_flight_bytes: 0,
            number: 0,
            counts: LinkCounts::default(),
            drops: Vec::new(),
        }
    }

    /// Sends a packet.
    pub fn handle(&mut self, now_ns: u64, packet: &[u8]) {
        // Every packet takes the same number of random numbers, so that the other parameters and
        // the traffic's timing do not change which packets a seed loses.
        let [loss, change, late, overtaken] = [(); 4].map(|()| self.random.share());
        let is_lost = self.loss.is_lost(&self.model.loss, [loss, change]);
        if now_ns < self.cut_until_ns {
            self.counts.cut += 1;
            return self.drop(now_ns, packet.len());
        }
        let Some(left_ns) = self.leave(now_ns, packet.len()) else {
            self.counts.overflowed += 1;
            return self.drop(now_ns, packet.len());
        };
        // A lost packet has used its share of the rate.
        if is_lost {
            self.counts.lost += 1;
            return self.drop(now_ns, packet.len());
        }
        let delay_ns = nanos(self.model.delay);
        let mut at_ns = left_ns + delay_ns + (late * self.model.jitter.as_nanos() as f64) as u64;
        if overtaken < self.model.reorder {
            self.counts.reordered += 1;
            at_ns += (delay_ns / REORDER_DELAY_DIVISOR).max(MIN_REORDER_NS);
        } else {
            at_ns = at_ns.max(self.arrived_ns);
            self.arrived_ns = at_ns;
        }
        self.counts.passed += 1;
        self.counts.passed_bytes += packet.len() as u64;
        self.in_flight_bytes += packet.len();
        self.number += 1;
        let packet = packet.to_vec();
        self.in_flight.push(Reverse(InFlight { at_ns, number: self.number, packet }));
    }

    /// Time at which a packet that is sent now leaves; `None` if it does not fit into the queue.
    fn leave(&mut self, now_ns: u64, bytes: usize) -> Option<u64> {
        if self.in_flight_bytes + bytes > MAX_IN_FLIGHT {
            return None;
        }
        let Some(rate) = self.model.rate else { return Some(now_ns) };
        let wait_ns = self.left_ns.saturating_sub(now_ns);
        let waiting = u128::from(wait_ns) * u128::from(rate) / u128::from(8 * SECOND_NS);
        // An idle link takes a packet of any size.
        if waiting > 0 && waiting + bytes as u128 > u128::from(self.model.queue) {
            return None;
        }
        let takes_ns = (bytes as u64 * 8 * SECOND_NS).div_ceil(rate);
        self.left_ns = now_ns + wait_ns + takes_ns;
        Some(self.left_ns)
    }

    fn drop(&mut self, at_ns: u64, bytes: usize) {
        if self.drops.len() < MAX_DROP_LOG {
            self.drops.push(DroppedPacket { at_ns, bytes });
        }
    }

    /// The next packet that has arrived by now.
    pub fn poll(&mut self, now_ns: u64) -> Option<Vec<u8>> {
        let first = self.in_flight.peek_mut()?;
        if first.0.at_ns > now_ns {
            return None;
        }
        let packet = PeekMut::pop(first).0.packet;
        self.in_flight_bytes -= packet.len();
        Some(packet)
    }

    /// Time at which [`SimulatedLink::poll`] returns the next packet.
    pub fn poll_at_ns(&self) -> Option<u64> {
        self.in_flight.peek().map(|first| first.0.at_ns)
    }

    /// Bytes in flight or in the queue.
    pub fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    /// Drops all packets sent before this time. Packets in flight arrive. A later call replaces an
    /// earlier one.
    pub fn cut(&mut self, until_ns: u64) {
        self.cut_until_ns = until_ns;
    }

    /// Counts of the packets so far.
    pub fn counts(&self) -> LinkCounts {
        self.counts
    }

    /// The packets that did not arrive, oldest first: the first million of them.
    pub fn drops(&self) -> &[DroppedPacket] {
        &self.drops
    }
}

/// A duration in nanoseconds.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LossModel;

    const MS: u64 = 1_000_000;

    fn link_with(change: impl FnOnce(&mut LinkModel)) -> SimulatedLink {
        let mut model = LinkModel::default();
        change(&mut model);
        SimulatedLink::new(model, 7, 0)
    }

    /// Sends packets of these lengths at these times; when each of them arrives, by its number.
    fn arrivals(
        link: &mut SimulatedLink,
        packets: impl IntoIterator<Item = (u64, usize)>,
    ) -> Vec<(u64, u8)> {
        for (number, (at_ns, bytes)) in (0..).zip(packets) {
            link.handle(at_ns, &vec![number; bytes]);
        }
        let mut arrived = Vec::new();
        while let Some(at_ns) = link.poll_at_ns() {
            assert_eq!(link.poll(at_ns.saturating_sub(1)), None, "not before its time");
            arrived.push((at_ns, link.poll(at_ns).unwrap()[0]));
        }
        assert_eq!(link.in_flight_bytes, 0);
        arrived
    }

    #[test]
    fn a_perfect_link_has_no_delay() {
        assert_eq!(arrivals(&mut link_with(|_| ()), [(5, 100), (5, 100)]), [(5, 0), (5, 1)]);
    }

    #[test]
    fn every_packet_is_delayed() {
        let mut link = link_with(|it| it.delay = Duration::from_millis(20));
        assert_eq!(arrivals(&mut link, [(0, 1), (MS, 1500)]), [(20 * MS, 0), (21 * MS, 1)]);
    }

    #[test]
    fn jitter_varies_the_delay_and_keeps_the_order() {
        let mut link = link_with(|it| {
            it.delay = Duration::from_millis(20);
            it.jitter = Duration::from_millis(5);
        });
        let sent = |number: u64| number * 2 * MS;
        let arrived = arrivals(&mut link, (0..100).map(|number| (sent(number), 100)));
        assert!(arrived.is_sorted_by_key(|(_, number)| *number));
        let late: Vec<_> =
            arrived.iter().map(|(at, number)| at - sent(u64::from(*number)) - 20 * MS).collect();
        assert!(late.iter().all(|late| *late <= 5 * MS), "{late:?}");
        let (min, max) = (late.iter().min().unwrap(), late.iter().max().unwrap());
        assert!(max - min > 3 * MS, "{late:?}");
    }

    #[test]
    fn a_seed_reproduces_the_lost_packets() {
        let lost = |loss| {
            let mut link = link_with(|it| it.loss = LossModel::Uniform(loss));
            (0..100_000).for_each(|at_ns| link.handle(at_ns, &[0; 100]));
            assert_eq!(link.counts().passed + link.counts().lost, 100_000);
            assert_eq!(link.counts().passed * 100, link.counts().passed_bytes);
            link.drops().to_vec()
        };
        let two = lost(0.02);
        assert!((1900..2100).contains(&two.len()), "{}", two.len());
        assert_eq!(two, lost(0.02));
        assert_eq!(lost(0.0), []);
        assert_eq!(lost(1.0).len(), 100_000);
    }

    #[test]
    fn losses_come_in_bursts() {
        let mut link = link_with(|it| it.loss = LossModel::bursts(0.1, 4.0));
        (0..100_000).for_each(|at_ns| link.handle(at_ns, &[0; 100]));
        let bursts = link.drops().windows(2).filter(|pair| pair[0].at_ns + 1 < pair[1].at_ns);
        let mean = link.counts().lost as f64 / bursts.count() as f64;
        assert!((3.8..4.2).contains(&mean), "{mean}");
    }

    #[test]
    fn other_parameters_do_not_change_which_packets_are_lost() {
        let lost = |change: fn(&mut LinkModel)| {
            let mut link = link_with(|it| {
                it.loss = LossModel::bursts(0.1, 3.0);
                change(it);
            });
            (0..1000).for_each(|at_ns| link.handle(at_ns * MS, &[0; 100]));
            link.drops().to_vec()
        };
        let alone = lost(|_| ());
        let with_all = lost(|it| {
            it.delay = Duration::from_millis(20);
            it.jitter = Duration::from_millis(5);
            it.reorder = 0.5;
            it.rate = Some(100_000_000);
        });
        assert_eq!(alone, with_all);
    }

    #[test]
    fn packets_leave_at_the_rate() {
        // 1 Mbit/s: a byte takes 8 µs.
        let mut link = link_with(|it| it.rate = Some(1_000_000));
        let arrived = arrivals(&mut link, [(0, 1000), (0, 500), (100 * MS, 1000)]);
        assert_eq!(arrived, [(8 * MS, 0), (12 * MS, 1), (108 * MS, 2)]);
    }

    #[test]
    fn a_full_queue_drops_packets() {
        let mut link = link_with(|it| {
            it.rate = Some(1_000_000);
            it.queue = 2500;
        });
        // The third would make it 3000 bytes; the fourth comes when 1500 have left.
        let packets = [(0, 1500), (0, 1000), (0, 500), (12 * MS, 1500)];
        assert_eq!(
            arrivals(&mut link, packets).iter().map(|it| it.1).collect::<Vec<_>>(),
            [0, 1, 3]
        );
        assert_eq!(link.counts().overflowed, 1);
        assert_eq!(link.drops(), [DroppedPacket { at_ns: 0, bytes: 500 }]);
    }

    #[test]
    fn an_idle_link_takes_a_packet_larger_than_its_queue() {
        let mut link = link_with(|it| {
            it.rate = Some(1_000_000);
            it.queue = 100;
        });
        assert_eq!(arrivals(&mut link, [(0, 1500), (0, 1500)]), [(12 * MS, 0)]);
    }

    #[test]
    fn bytes_in_flight_are_bounded() {
        let mut link = link_with(|it| it.delay = Duration::from_secs(60));
        let packet = vec![0; 65_000];
        (0..2000).for_each(|at_ns| link.handle(at_ns, &packet));
        assert!(link.in_flight_bytes <= MAX_IN_FLIGHT);
        assert_eq!(link.counts().overflowed, 2000 - MAX_IN_FLIGHT as u64 / 65_000);
    }

    #[test]
    fn reordered_packets_are_overtaken() {
        let mut link = link_with(|it| {
            it.delay = Duration::from_millis(20);
            it.reorder = 0.1;
        });
        let arrived = arrivals(&mut link, (0..200).map(|number| (number * MS, 100)));
        let overtaken = arrived.windows(2).filter(|pair| pair[0].1 > pair[1].1).count();
        assert!((5..40).contains(&overtaken), "{overtaken}");
        assert_eq!(arrived.len(), 200);
        assert!((10..30).contains(&link.counts().reordered), "{:?}", link.counts());
    }

    #[test]
    fn a_cut_drops_new_packets_and_keeps_those_in_flight() {
        let mut link = link_with(|it| it.delay = Duration::from_millis(20));
        link.handle(0, &[0]);
        link.cut(10 * MS);
        let arrived = arrivals(&mut link, [(MS, 1), (10 * MS, 1)]);
        assert_eq!(arrived, [(20 * MS, 0), (30 * MS, 1)]);
        assert_eq!(link.counts().cut, 1);
    }

    #[test]
    fn a_shorter_delay_does_not_reorder() {
        let mut link = link_with(|it| it.delay = Duration::from_millis(20));
        link.handle(0, &[0]);
        link.model.delay = Duration::ZERO;
        assert_eq!(arrivals(&mut link, [(MS, 1)]), [(20 * MS, 0), (20 * MS, 0)]);
    }
}

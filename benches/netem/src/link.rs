//! One way of a link as a function of time: what becomes of each packet, and when it arrives.
//!
//! No I/O and no clock in here: packets and the time are put in, packets that are due come out.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, binary_heap::PeekMut},
    time::Duration,
};

use crate::random::Random;

pub(crate) const SECOND: u64 = 1_000_000_000;

/// A duration in nanoseconds.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A direction of a link, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "flags", derive(clap::ValueEnum, serde::Serialize))]
#[cfg_attr(feature = "flags", serde(rename_all = "kebab-case"))]
pub enum Direction {
    /// What the server sends.
    #[cfg_attr(feature = "flags", value(name = "client"), serde(rename = "client"))]
    ToClient,
    /// What clients send.
    #[cfg_attr(feature = "flags", value(name = "server"), serde(rename = "server"))]
    ToServer,
    /// Everything.
    Both,
}

/// Bytes on the line, beside what its queue holds: more than a fast, long link of a benchmark has
/// under way. What comes on top is dropped as from a full queue.
const LINE: usize = 64 * 1024 * 1024;

/// Drops that are remembered one by one; all are counted.
const LOG: usize = 1_000_000;

/// A packet that is reordered arrives later by this share of the delay, and by no less than
/// [`HELD_BACK_NS`]; those behind it overtake it.
const HELD_BACK: u64 = 4;
const HELD_BACK_NS: u64 = 1_000_000;

/// How one way of a link is. By default it is perfect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinkModel {
    /// How long every packet takes.
    pub delay: Duration,
    /// How much longer it takes at most, all values alike. Packets keep their order.
    pub jitter: Duration,
    /// Share of the packets that are lost, from 0 to 1.
    pub loss: f64,
    /// Share of the packets that others overtake, from 0 to 1.
    pub reorder: f64,
    /// Bits per second that leave, IP headers included; no limit if none.
    pub rate: Option<u64>,
    /// Bytes that may wait to leave, where there is a rate; a packet that does not fit is dropped.
    pub queue: u64,
}

impl Default for LinkModel {
    fn default() -> Self {
        let none = Duration::ZERO;
        Self { delay: none, jitter: none, loss: 0.0, reorder: 0.0, rate: None, queue: 256_000 }
    }
}

/// What became of the packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "flags", derive(serde::Serialize))]
pub struct LinkCounts {
    /// Packets that arrived or will.
    pub passed: u64,
    /// Their bytes.
    pub passed_bytes: u64,
    /// Packets among them that others may have overtaken.
    pub reordered: u64,
    /// Packets that were lost by chance.
    pub lost: u64,
    /// Packets that found the queue full.
    pub overflowed: u64,
    /// Packets that came while the link was cut.
    pub cut: u64,
}

impl LinkCounts {
    /// All packets that came to the link.
    pub fn offered(&self) -> u64 {
        self.passed + self.lost + self.overflowed + self.cut
    }

    /// What came after an `earlier` look.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            passed: self.passed - earlier.passed,
            passed_bytes: self.passed_bytes - earlier.passed_bytes,
            reordered: self.reordered - earlier.reordered,
            lost: self.lost - earlier.lost,
            overflowed: self.overflowed - earlier.overflowed,
            cut: self.cut - earlier.cut,
        }
    }
}

impl std::ops::Add for LinkCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            passed_bytes: self.passed_bytes + other.passed_bytes,
            reordered: self.reordered + other.reordered,
            lost: self.lost + other.lost,
            overflowed: self.overflowed + other.overflowed,
            cut: self.cut + other.cut,
        }
    }
}

/// A packet that did not arrive, whatever the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DroppedPacket {
    /// When it came to the link, by the monotonic clock.
    pub at_ns: u64,
    /// Its length, IP header included.
    pub bytes: usize,
}

/// One way of a link.
#[derive(Debug)]
pub struct SimulatedLink {
    /// Applies to packets that come from now on.
    pub model: LinkModel,
    random: Random,
    /// Packets that come before this are dropped.
    cut_until_ns: u64,
    /// When the last packet that was taken has left.
    left_ns: u64,
    /// When the last packet that kept its order arrives.
    arrived_ns: u64,
    line: BinaryHeap<Reverse<Packet>>,
    line_bytes: usize,
    taken: u64,
    counts: LinkCounts,
    drops: Vec<DroppedPacket>,
}

/// Ordered by arrival, and then by when it was taken.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    at_ns: u64,
    number: u64,
    data: Vec<u8>,
}

impl SimulatedLink {
    /// A link that is like this.
    pub fn new(model: LinkModel, seed: u64) -> Self {
        Self {
            model,
            random: Random::new(seed),
            cut_until_ns: 0,
            left_ns: 0,
            arrived_ns: 0,
            line: BinaryHeap::new(),
            line_bytes: 0,
            taken: 0,
            counts: LinkCounts::default(),
            drops: Vec::new(),
        }
    }

    /// A packet has come to the link.
    pub fn handle(&mut self, now_ns: u64, data: &[u8]) {
        // As many draws for each packet, whatever becomes of it and however the link is: so the
        // same seed loses the same packets, counted from the first one.
        let [lost, late, overtaken] = [(); 3].map(|()| self.random.share());
        let LinkModel { delay, jitter, loss, reorder, .. } = self.model;
        if now_ns < self.cut_until_ns {
            self.counts.cut += 1;
            return self.drop(now_ns, data.len());
        }
        let Some(left_ns) = self.leave(now_ns, data.len()) else {
            self.counts.overflowed += 1;
            return self.drop(now_ns, data.len());
        };
        // It has left, and taken the time of the line, before it is lost.
        if lost < loss {
            self.counts.lost += 1;
            return self.drop(now_ns, data.len());
        }
        let delay_ns = nanos(delay);
        let mut at_ns = left_ns + delay_ns + (late * jitter.as_nanos() as f64) as u64;
        if overtaken < reorder {
            self.counts.reordered += 1;
            at_ns += (delay_ns / HELD_BACK).max(HELD_BACK_NS);
        } else {
            at_ns = at_ns.max(self.arrived_ns);
            self.arrived_ns = at_ns;
        }
        self.counts.passed += 1;
        self.counts.passed_bytes += data.len() as u64;
        self.line_bytes += data.len();
        self.taken += 1;
        self.line.push(Reverse(Packet { at_ns, number: self.taken, data: data.to_vec() }));
    }

    /// When a packet that comes now has left; none if it does not fit into the queue.
    fn leave(&mut self, now_ns: u64, bytes: usize) -> Option<u64> {
        if self.line_bytes + bytes > LINE {
            return None;
        }
        let Some(rate) = self.model.rate else { return Some(now_ns) };
        let wait_ns = self.left_ns.saturating_sub(now_ns);
        let waiting = u128::from(wait_ns) * u128::from(rate) / 8_000_000_000;
        // An idle link takes any packet.
        if waiting > 0 && waiting + bytes as u128 > u128::from(self.model.queue) {
            return None;
        }
        let takes_ns = (bytes as u64 * 8_000_000_000).div_ceil(rate);
        self.left_ns = now_ns + wait_ns + takes_ns;
        Some(self.left_ns)
    }

    fn drop(&mut self, at_ns: u64, bytes: usize) {
        if self.drops.len() < LOG {
            self.drops.push(DroppedPacket { at_ns, bytes });
        }
    }

    /// A packet that has arrived by now.
    pub fn poll(&mut self, now_ns: u64) -> Option<Vec<u8>> {
        let first = self.line.peek_mut()?;
        if first.0.at_ns > now_ns {
            return None;
        }
        let packet = PeekMut::pop(first).0;
        self.line_bytes -= packet.data.len();
        Some(packet.data)
    }

    /// When the next packet arrives.
    pub fn next_ns(&self) -> Option<u64> {
        self.line.peek().map(|packet| packet.0.at_ns)
    }

    /// What comes before this is dropped; what is under way arrives.
    pub fn cut(&mut self, until_ns: u64) {
        self.cut_until_ns = until_ns;
    }

    /// What has become of the packets so far.
    pub fn counts(&self) -> LinkCounts {
        self.counts
    }

    /// In the order of time.
    pub fn drops(&self) -> &[DroppedPacket] {
        &self.drops
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn way(change: impl FnOnce(&mut LinkModel)) -> SimulatedLink {
        let mut model = LinkModel::default();
        change(&mut model);
        SimulatedLink::new(model, 7)
    }

    /// Sends packets of these lengths at these times; when each of them arrives, by its number.
    fn arrivals(
        way: &mut SimulatedLink,
        packets: impl IntoIterator<Item = (u64, usize)>,
    ) -> Vec<(u64, u8)> {
        for (number, (at_ns, bytes)) in (0..).zip(packets) {
            way.handle(at_ns, &vec![number; bytes]);
        }
        let mut arrived = Vec::new();
        while let Some(at_ns) = way.next_ns() {
            assert_eq!(way.poll(at_ns.saturating_sub(1)), None, "not before its time");
            arrived.push((at_ns, way.poll(at_ns).unwrap()[0]));
        }
        assert_eq!(way.line_bytes, 0);
        arrived
    }

    #[test]
    fn a_perfect_way_takes_no_time() {
        assert_eq!(arrivals(&mut way(|_| ()), [(5, 100), (5, 100)]), [(5, 0), (5, 1)]);
    }

    #[test]
    fn every_packet_takes_the_delay() {
        let mut way = way(|it| it.delay = Duration::from_millis(20));
        assert_eq!(arrivals(&mut way, [(0, 1), (MS, 1500)]), [(20 * MS, 0), (21 * MS, 1)]);
    }

    #[test]
    fn jitter_spreads_and_keeps_the_order() {
        let mut way = way(|it| {
            it.delay = Duration::from_millis(20);
            it.jitter = Duration::from_millis(5);
        });
        let sent = |number: u64| number * 2 * MS;
        let arrived = arrivals(&mut way, (0..100).map(|number| (sent(number), 100)));
        assert!(arrived.is_sorted_by_key(|(_, number)| *number));
        let late: Vec<_> =
            arrived.iter().map(|(at, number)| at - sent(u64::from(*number)) - 20 * MS).collect();
        assert!(late.iter().all(|late| *late <= 5 * MS), "{late:?}");
        let (min, max) = (late.iter().min().unwrap(), late.iter().max().unwrap());
        assert!(max - min > 3 * MS, "{late:?}");
    }

    #[test]
    fn as_many_are_lost_as_was_asked_for_and_the_same_ones_again() {
        let lost = |loss| {
            let mut way = way(|it| it.loss = loss);
            (0..100_000).for_each(|at_ns| way.handle(at_ns, &[0; 100]));
            assert_eq!(way.counts().passed + way.counts().lost, 100_000);
            assert_eq!(way.counts().passed * 100, way.counts().passed_bytes);
            way.drops().to_vec()
        };
        let two = lost(0.02);
        assert!((1900..2100).contains(&two.len()), "{}", two.len());
        assert_eq!(two, lost(0.02));
        assert_eq!(lost(0.0), []);
        assert_eq!(lost(1.0).len(), 100_000);
    }

    #[test]
    fn which_ones_are_lost_does_not_depend_on_the_rest() {
        let lost = |change: fn(&mut LinkModel)| {
            let mut way = way(|it| {
                it.loss = 0.1;
                change(it);
            });
            (0..1000).for_each(|at_ns| way.handle(at_ns * MS, &[0; 100]));
            way.drops().to_vec()
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
    fn packets_leave_one_after_the_other_at_the_rate() {
        // 1 Mbit/s: a byte takes 8 µs.
        let mut way = way(|it| it.rate = Some(1_000_000));
        let arrived = arrivals(&mut way, [(0, 1000), (0, 500), (100 * MS, 1000)]);
        assert_eq!(arrived, [(8 * MS, 0), (12 * MS, 1), (108 * MS, 2)]);
    }

    #[test]
    fn what_does_not_fit_into_the_queue_is_dropped() {
        let mut way = way(|it| {
            it.rate = Some(1_000_000);
            it.queue = 2500;
        });
        // The third would make it 3000 bytes; the fourth comes when 1500 have left.
        let packets = [(0, 1500), (0, 1000), (0, 500), (12 * MS, 1500)];
        assert_eq!(
            arrivals(&mut way, packets).iter().map(|it| it.1).collect::<Vec<_>>(),
            [0, 1, 3]
        );
        assert_eq!(way.counts().overflowed, 1);
        assert_eq!(way.drops(), [DroppedPacket { at_ns: 0, bytes: 500 }]);
    }

    #[test]
    fn an_idle_way_takes_a_packet_that_is_larger_than_its_queue() {
        let mut way = way(|it| {
            it.rate = Some(1_000_000);
            it.queue = 100;
        });
        assert_eq!(arrivals(&mut way, [(0, 1500), (0, 1500)]), [(12 * MS, 0)]);
    }

    #[test]
    fn the_line_has_a_bound_too() {
        let mut way = way(|it| it.delay = Duration::from_secs(60));
        let packet = vec![0; 65_000];
        (0..2000).for_each(|at_ns| way.handle(at_ns, &packet));
        assert!(way.line_bytes <= LINE);
        assert_eq!(way.counts().overflowed, 2000 - LINE as u64 / 65_000);
    }

    #[test]
    fn who_is_reordered_is_overtaken() {
        let mut way = way(|it| {
            it.delay = Duration::from_millis(20);
            it.reorder = 0.1;
        });
        let arrived = arrivals(&mut way, (0..200).map(|number| (number * MS, 100)));
        let overtaken = arrived.windows(2).filter(|pair| pair[0].1 > pair[1].1).count();
        assert!((5..40).contains(&overtaken), "{overtaken}");
        assert_eq!(arrived.len(), 200);
        assert!((10..30).contains(&way.counts().reordered), "{:?}", way.counts());
    }

    #[test]
    fn while_it_is_cut_nothing_comes_in_and_what_is_under_way_arrives() {
        let mut way = way(|it| it.delay = Duration::from_millis(20));
        way.handle(0, &[0]);
        way.cut(10 * MS);
        let arrived = arrivals(&mut way, [(MS, 1), (10 * MS, 1)]);
        assert_eq!(arrived, [(20 * MS, 0), (30 * MS, 1)]);
        assert_eq!(way.counts().cut, 1);
    }

    #[test]
    fn a_shorter_delay_lets_nobody_overtake() {
        let mut way = way(|it| it.delay = Duration::from_millis(20));
        way.handle(0, &[0]);
        way.model.delay = Duration::ZERO;
        assert_eq!(arrivals(&mut way, [(MS, 1)]), [(20 * MS, 0), (20 * MS, 0)]);
    }
}

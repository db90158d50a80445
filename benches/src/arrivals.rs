//! Signals of many senders at one receiver, and whom of them a lost packet held up.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use serde::Serialize;
use signalbox_netem::DroppedPacket;
use signalbox_protocol::ConnectionId;

use crate::{curve::Timeline, payload};

/// The least that a packet with a signal in it has: the data, and the headers of IP and UDP.
const CARRIES: usize = payload::BYTES + 28;

/// A signal that has arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) from: ConnectionId,
    /// When it was to be sent.
    pub(crate) due_ns: u64,
    pub(crate) at_ns: u64,
}

impl Arrival {
    fn latency_ns(&self) -> u64 {
        self.at_ns.saturating_sub(self.due_ns)
    }

    /// It took longer than half as long again as the way takes.
    fn is_late(&self, way_ns: u64) -> bool {
        self.latency_ns() > way_ns + way_ns / 2
    }
}

/// How late all of them were, in a measurement that began at `from_ns`.
pub(crate) fn timeline(arrivals: &[Arrival], from_ns: u64, duration: Duration) -> Timeline {
    let mut timeline = Timeline::new(from_ns, duration);
    for it in arrivals {
        timeline.record(it.due_ns, it.latency_ns());
    }
    timeline
}

/// How late one sender's signals were.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sender {
    /// How many they were.
    pub signals: u64,
    /// Share of them that took longer than 1.5 times what the link takes one way.
    pub late: f64,
    /// The longest that one of them took, in milliseconds.
    pub max_ms: f64,
}

/// Each sender by itself; those with the fewest late signals come first.
pub(crate) fn by_sender(arrivals: &[Arrival], way_ns: u64) -> Vec<Sender> {
    let mut senders: HashMap<_, (u64, u64, u64)> = HashMap::new();
    for arrival in arrivals {
        let (signals, late, max_ns) = senders.entry(arrival.from).or_default();
        *signals += 1;
        *late += u64::from(arrival.is_late(way_ns));
        *max_ns = arrival.latency_ns().max(*max_ns);
    }
    let sender = |(signals, late, max_ns): (u64, u64, u64)| Sender {
        signals,
        late: late as f64 / signals as f64,
        max_ms: max_ns as f64 / 1e6,
    };
    let mut senders: Vec<_> = senders.into_values().map(sender).collect();
    senders.sort_by(|a, b| a.late.total_cmp(&b.late).then(a.max_ms.total_cmp(&b.max_ms)));
    senders
}

/// Those that took longer than they would have without a loss, and how many senders one lost packet
/// held up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Late {
    /// As a share of all signals.
    pub(crate) share: f64,
    /// On average; zero if no packet was lost.
    pub(crate) senders_per_loss: f64,
}

/// Each late signal is charged to one lost packet: the last one before the signal had passed the link,
/// for which it has half the way's time. `drops` are in the order of time; those that are too short
/// to have held a signal (acknowledgements) held up nobody and do not count.
pub(crate) fn late(arrivals: &[Arrival], drops: &[DroppedPacket], way_ns: u64) -> Late {
    let lost: Vec<u64> = drops.iter().filter(|it| it.bytes >= CARRIES).map(|it| it.at_ns).collect();
    let late = || arrivals.iter().filter(|it| it.is_late(way_ns));
    let held_up: HashSet<_> = late()
        .map(|it| (lost.partition_point(|at_ns| *at_ns <= it.due_ns + way_ns / 2), it.from))
        .collect();
    let ratio = |a: usize, b: usize| if b == 0 { 0.0 } else { a as f64 / b as f64 };
    Late {
        share: ratio(late().count(), arrivals.len()),
        senders_per_loss: ratio(held_up.len(), lost.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Who sent when, and how long it took; all in milliseconds.
    fn arrivals(signals: &[(u8, u64, u64)]) -> Vec<Arrival> {
        let arrival = |(from, due, took): &(u8, u64, u64)| Arrival {
            from: ConnectionId::from_bytes([*from; 16]),
            due_ns: due * MS,
            at_ns: (due + took) * MS,
        };
        signals.iter().map(arrival).collect()
    }

    fn drops(at_ms: &[u64]) -> Vec<DroppedPacket> {
        at_ms.iter().map(|at| DroppedPacket { at_ns: at * MS, bytes: 200 }).collect()
    }

    #[test]
    fn late_is_what_took_half_as_long_again() {
        let Late { share, senders_per_loss } =
            late(&arrivals(&[(1, 0, 20), (2, 0, 30), (3, 0, 31), (4, 0, 90)]), &[], 20 * MS);
        assert_eq!((share, senders_per_loss), (0.5, 0.0));
    }

    #[test]
    fn a_lost_packet_delays_those_in_it_or_all_that_come_after() {
        let alone = arrivals(&[(1, 0, 20), (2, 10, 64), (3, 20, 20), (4, 30, 20)]);
        assert_eq!(late(&alone, &drops(&[11]), 20 * MS).senders_per_loss, 1.0);
        let blocked = arrivals(&[(1, 0, 20), (2, 10, 64), (3, 20, 54), (4, 30, 44)]);
        assert_eq!(late(&blocked, &drops(&[11]), 20 * MS).senders_per_loss, 3.0);
    }

    #[test]
    fn a_sender_counts_once_for_each_lost_packet() {
        let twice = arrivals(&[(1, 0, 64), (1, 20, 44), (1, 500, 64)]);
        assert_eq!(late(&twice, &drops(&[1, 501]), 20 * MS).senders_per_loss, 1.0);
        let two = arrivals(&[(1, 0, 64), (2, 0, 64), (3, 500, 20)]);
        assert_eq!(late(&two, &drops(&[1, 501]), 20 * MS).senders_per_loss, 1.0);
    }

    #[test]
    fn lost_acknowledgements_hold_up_nobody() {
        let mut lost = drops(&[1]);
        lost.push(DroppedPacket { at_ns: 2 * MS, bytes: 60 });
        assert_eq!(late(&arrivals(&[(1, 0, 64)]), &lost, 20 * MS).senders_per_loss, 1.0);
    }

    #[test]
    fn latencies_count_from_when_a_signal_was_due() {
        let timeline = timeline(&arrivals(&[(1, 0, 20), (2, 7, 20)]), 0, Duration::from_secs(1));
        let latencies = timeline.latencies();
        assert_eq!(latencies.count(), 2);
        assert!((latencies.percentiles().max - 20_000.0).abs() < 100.0);
    }

    #[test]
    fn each_sender_is_charged_with_its_own_signals() {
        let arrivals = arrivals(&[(1, 0, 20), (2, 0, 64), (2, 10, 20), (3, 0, 20), (3, 5, 25)]);
        let late: Vec<_> = by_sender(&arrivals, 20 * MS)
            .iter()
            .map(|it| (it.signals, it.late, it.max_ms))
            .collect();
        assert_eq!(late, [(1, 0.0, 20.0), (2, 0.0, 25.0), (2, 0.5, 64.0)]);
    }
}

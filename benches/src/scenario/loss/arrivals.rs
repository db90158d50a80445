//! Signals of many senders at one receiver: which are late, and how many senders a lost packet held
//! up.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use serde::Serialize;
use signalbox_netem::DroppedPacket;

use signalbox_loadgen::{latencies::Timeline, payload};

use crate::scenario::many_to_one::Arrival;

/// The least bytes of a packet with a signal: the data, and the headers of IP and UDP.
const CARRIES: usize = payload::BYTES + 28;

/// Their latencies over time, in a measurement that began at `from_ns`.
pub(super) fn timeline(arrivals: &[Arrival], from_ns: u64, duration: Duration) -> Timeline {
    let mut timeline = Timeline::new(from_ns, duration);
    for it in arrivals {
        timeline.record(it.due_ns, it.latency_ns());
    }
    timeline
}

/// Lateness of one sender's signals.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct SenderLateness {
    /// Number of its signals.
    pub(super) signals: u64,
    /// Share of them that took longer than 1.5 times the link's delay.
    pub(super) late: f64,
    /// Latency of the slowest, in milliseconds.
    pub(super) max_ms: f64,
}

/// Each sender by itself, the fewest late signals first.
pub(super) fn by_sender(arrivals: &[Arrival], delay_ns: u64) -> Vec<SenderLateness> {
    let mut senders: HashMap<_, (u64, u64, u64)> = HashMap::new();
    for arrival in arrivals {
        let (signals, late, max_ns) = senders.entry(arrival.from).or_default();
        *signals += 1;
        *late += u64::from(arrival.is_late(delay_ns));
        *max_ns = arrival.latency_ns().max(*max_ns);
    }
    let sender = |(signals, late, max_ns): (u64, u64, u64)| SenderLateness {
        signals,
        late: late as f64 / signals as f64,
        max_ms: max_ns as f64 / 1e6,
    };
    let mut senders: Vec<_> = senders.into_values().map(sender).collect();
    senders.sort_by(|a, b| a.late.total_cmp(&b.late).then(a.max_ms.total_cmp(&b.max_ms)));
    senders
}

/// Late signals, and senders that one lost packet held up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Late {
    /// As a share of all signals.
    pub(super) share: f64,
    /// On average; zero if no packet was lost.
    pub(super) senders_per_loss: f64,
}

/// Attributes each late signal to the last packet that was lost before the signal should have
/// passed the link, half the delay after it was due. `drops` are in the order of time; packets too
/// short for a signal (acknowledgements) do not count.
pub(super) fn late(arrivals: &[Arrival], drops: &[DroppedPacket], delay_ns: u64) -> Late {
    let lost: Vec<u64> = drops.iter().filter(|it| it.bytes >= CARRIES).map(|it| it.at_ns).collect();
    let late = || arrivals.iter().filter(|it| it.is_late(delay_ns));
    let held_up: HashSet<_> = late()
        .map(|it| (lost.partition_point(|at_ns| *at_ns <= it.due_ns + delay_ns / 2), it.from))
        .collect();
    let ratio = |a: usize, b: usize| if b == 0 { 0.0 } else { a as f64 / b as f64 };
    Late {
        share: ratio(late().count(), arrivals.len()),
        senders_per_loss: ratio(held_up.len(), lost.len()),
    }
}

#[cfg(test)]
mod tests {
    use signalbox_protocol::ConnectionId;

    use super::*;

    const MS: u64 = 1_000_000;

    /// Sender, due time and latency, in milliseconds.
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
    fn a_signal_is_late_after_half_of_the_delay_more() {
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
    fn lost_acknowledgements_hold_up_no_sender() {
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
    fn each_sender_has_its_own_late_signals() {
        let arrivals = arrivals(&[(1, 0, 20), (2, 0, 64), (2, 10, 20), (3, 0, 20), (3, 5, 25)]);
        let late: Vec<_> = by_sender(&arrivals, 20 * MS)
            .iter()
            .map(|it| (it.signals, it.late, it.max_ms))
            .collect();
        assert_eq!(late, [(1, 0.0, 20.0), (2, 0.0, 25.0), (2, 0.5, 64.0)]);
    }
}

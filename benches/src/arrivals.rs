//! Signals of many senders at one receiver, and whom of them a lost packet held up.

use std::collections::HashSet;

use signalbox_protocol::ConnectionId;

use crate::{emulation::Dropped, payload, stats::Latencies};

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
}

/// How late all of them were.
pub(crate) fn latencies(arrivals: &[Arrival]) -> Latencies {
    let mut latencies = Latencies::new();
    arrivals.iter().for_each(|it| latencies.record(it.latency_ns()));
    latencies
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

/// Signals are late if they took longer than half as long again as the way takes.
///
/// Each of them is charged to one lost packet: the last one before the signal had passed the link,
/// for which it has half the way's time. `drops` are in the order of time; those that are too short
/// to have held a signal (acknowledgements) held up nobody and do not count.
pub(crate) fn late(arrivals: &[Arrival], drops: &[Dropped], way_ns: u64) -> Late {
    let lost: Vec<u64> = drops.iter().filter(|it| it.bytes >= CARRIES).map(|it| it.at_ns).collect();
    let late = || arrivals.iter().filter(|it| it.latency_ns() > way_ns + way_ns / 2);
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

    fn drops(at_ms: &[u64]) -> Vec<Dropped> {
        at_ms.iter().map(|at| Dropped { at_ns: at * MS, bytes: 200 }).collect()
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
        lost.push(Dropped { at_ns: 2 * MS, bytes: 60 });
        assert_eq!(late(&arrivals(&[(1, 0, 64)]), &lost, 20 * MS).senders_per_loss, 1.0);
    }

    #[test]
    fn latencies_count_from_when_a_signal_was_due() {
        let latencies = latencies(&arrivals(&[(1, 0, 20), (2, 7, 20)]));
        assert_eq!(latencies.count(), 2);
        assert!((latencies.percentiles().max - 20_000.0).abs() < 100.0);
    }
}

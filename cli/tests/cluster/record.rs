//! The record of everything that one member has received, and its comparison with what was sent.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use signalbox_client::{ConnectionId, Event, Lost, Sender};
use tokio::time::Instant;

/// The data of a signal: its sender, the sender's number of it, and when it was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) sender: usize,
    pub(crate) number: u64,
    pub(crate) sent: Instant,
}

impl Stamp {
    pub(crate) fn data(self, begun: Instant) -> String {
        let micros = self.sent.duration_since(begun).as_micros();
        format!("{} {} {micros}", self.sender, self.number)
    }

    /// None if it is another signal.
    fn parse(data: &str, begun: Instant) -> Option<Self> {
        let mut parts = data.split(' ');
        let mut next = || parts.next()?.parse().ok();
        let (sender, number, micros): (u64, u64, u64) = (next()?, next()?, next()?);
        let sender = usize::try_from(sender).ok()?;
        Some(Self { sender, number, sent: begun + Duration::from_micros(micros) })
    }
}

/// A signal that has arrived.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    stamp: Stamp,
    from: ConnectionId,
    seq: u64,
    at: Instant,
    /// The number of times that the receiver had joined again before.
    rejoins: usize,
}

/// Everything that one member has received.
#[derive(Debug, Default, Clone)]
pub(crate) struct Record {
    /// By sender, in the order of arrival.
    arrivals: BTreeMap<usize, Vec<Arrival>>,
    /// Signals of which the member was told that they are lost.
    lost: HashMap<ConnectionId, Vec<(u64, u64)>>,
    /// Own signals that the gateway has rejected, by their numbers.
    rejected: BTreeSet<u64>,
    /// Connections of which it was told that they were created, or destroyed.
    pub(crate) created: Vec<ConnectionId>,
    pub(crate) destroyed: Vec<ConnectionId>,
    /// Own connections, the latest last.
    pub(crate) connections: Vec<ConnectionId>,
    pub(crate) reconnects: usize,
    pub(crate) ended: Option<String>,
}

impl Record {
    pub(crate) fn new(connection: ConnectionId) -> Self {
        Self { connections: vec![connection], ..Self::default() }
    }

    pub(crate) fn rejoins(&self) -> usize {
        self.connections.len() - 1
    }

    pub(crate) fn event(&mut self, event: Event, begun: Instant) {
        let at = Instant::now();
        match event {
            Event::Signal { from: Sender::Connection(from), seq, data, .. } => {
                if let Some(stamp) = Stamp::parse(&data.unwrap_or_default(), begun) {
                    let arrival = Arrival { stamp, from, seq, at, rejoins: self.rejoins() };
                    self.arrivals.entry(stamp.sender).or_default().push(arrival);
                }
            }
            Event::Gap { lost } => self.lost(lost),
            Event::SessionReconnected { gap, .. } => {
                self.reconnects += 1;
                self.lost(gap.map(|gap| gap.lost).unwrap_or_default());
            }
            Event::SessionRejoined { connection } => self.connections.push(connection.id),
            Event::ConnectionCreated(info) => self.created.push(info.id),
            Event::ConnectionDestroyed { id, .. } => self.destroyed.push(id),
            Event::Rejected { signal: Some(number), .. } => drop(self.rejected.insert(number)),
            Event::SessionReconnecting { .. } => {}
            Event::SessionDisconnected { reason, message } => {
                self.ended = Some(format!("{reason}: {message}"));
            }
            other => panic!("unexpected: {other:?}"),
        }
    }

    fn lost(&mut self, lost: Vec<Lost>) {
        for Lost { from, after, until } in lost {
            if let Sender::Connection(id) = from {
                self.lost.entry(id).or_default().push((after, until));
            }
        }
    }

    /// Time until the first signal of a sender that was sent after a time. None if there is none.
    pub(crate) fn delay_since(&self, sender: usize, time: Instant) -> Option<Duration> {
        let arrivals = self.arrivals.get(&sender)?;
        // The latest come last.
        let late = arrivals.iter().rev().take_while(|arrival| arrival.at >= time);
        let first = late.filter(|arrival| arrival.stamp.sent >= time).last()?;
        Some(first.at - time)
    }

    /// Whether a member was told that a signal is lost. `offset` is the difference of the sender's
    /// numbers and the sequence numbers of each connection.
    fn was_told(&self, number: u64, offsets: &HashMap<ConnectionId, u64>) -> bool {
        offsets.iter().any(|(id, offset)| {
            let ranges = self.lost.get(id).into_iter().flatten();
            { ranges }.any(|(after, until)| {
                let seq = number.wrapping_sub(*offset);
                *after < seq && seq <= *until
            })
        })
    }

    /// Compares what this member has received from a sender with what that one has sent to it.
    pub(crate) fn compare(
        &self,
        (sender, record): (usize, &Self),
        sent: impl IntoIterator<Item = u64>,
        tally: &mut Tally,
    ) {
        let none = Vec::new();
        let arrivals = self.arrivals.get(&sender).unwrap_or(&none);
        let mut offsets = HashMap::from([(record.connections[0], 0)]);
        let mut seen = BTreeSet::new();
        // Ends of connections of one of the two, with the signals before and after.
        let mut breaks = Vec::new();
        let mut previous: Option<&Arrival> = None;
        for arrival in arrivals {
            let number = arrival.stamp.number;
            assert!(record.connections.contains(&arrival.from), "{arrival:?} is from another");
            let offset = number.wrapping_sub(arrival.seq);
            let known = *offsets.entry(arrival.from).or_insert(offset);
            tally.fault(known == offset, || format!("{arrival:?}: numbers differ by {known}"));
            let (before, same) = match previous {
                Some(it) => {
                    (it.stamp.number, (it.from, it.rejoins) == (arrival.from, arrival.rejoins))
                }
                None => (0, arrival.from == record.connections[0] && arrival.rejoins == 0),
            };
            if !same {
                breaks.push((before, number));
            } else if !seen.contains(&number) {
                tally.fault(number > before, || format!("{arrival:?} after {before}"));
            }
            if !seen.insert(number) {
                // Unconfirmed signals are sent again by a new connection, which is documented.
                if same { tally.duplicates += 1 } else { tally.repeated += 1 }
            }
            previous = Some(arrival);
        }
        for number in sent {
            if seen.contains(&number) {
                continue;
            }
            let at_break = { breaks.iter() }.any(|(from, to)| (from..to).contains(&&number));
            let ended = record.ended.is_some() || self.ended.is_some();
            if ended && seen.last().is_none_or(|last| number > *last) {
                tally.told += 1;
            } else if record.rejected.contains(&number) {
                tally.rejected += 1;
            } else if at_break || self.was_told(number, &offsets) {
                tally.told += 1;
            } else {
                tally.silent += 1;
                tally.fault(false, || format!("signal {number} is lost: {:?}", self.lost));
            }
        }
    }
}

/// Counts over all members.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Signals that have not arrived, where the receiver was told so.
    pub(crate) told: usize,
    /// Signals that have not arrived, of which the receiver knows nothing.
    pub(crate) silent: usize,
    /// Signals that the sender's gateway has rejected.
    pub(crate) rejected: usize,
    pub(crate) duplicates: usize,
    /// Unconfirmed signals that members have sent again after they have joined again.
    pub(crate) repeated: usize,
    /// Faults, in words; the first few.
    pub(crate) faults: Vec<String>,
}

impl Tally {
    fn fault(&mut self, holds: bool, text: impl FnOnce() -> String) {
        if !holds && self.faults.len() < 20 {
            self.faults.push(text());
        }
    }
}

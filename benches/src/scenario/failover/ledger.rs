//! Everything that one client has seen: signals by sender, gaps, presence events, and its links.

use std::collections::{BTreeSet, HashMap, HashSet};

use signalbox_client::{Event, Sender};
use signalbox_loadgen::payload;
use signalbox_protocol::{ConnectionId, message::Lost};

/// The record of a client.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The others in its session.
    others: usize,
    /// Those of them that it knows.
    known: HashSet<ConnectionId>,
    is_settled: bool,
    senders: HashMap<ConnectionId, FromSender>,
    /// Presence events since all clients have known the others.
    pub(super) presence: u64,
    /// Those of them that were the end of a connection, with their times.
    pub(super) destroyed: Vec<(ConnectionId, u64)>,
    pub(super) noticed_ns: Option<u64>,
    pub(super) resumed_ns: Option<u64>,
    /// Its link is lost, and it tries to resume.
    reconnecting: bool,
    /// It is another connection now, or none.
    pub(super) gone: bool,
    /// Why it has left its session for good.
    pub(super) ended: Option<String>,
}

/// The signals of one sender, which numbers them from 0.
#[derive(Debug, Default)]
struct FromSender {
    next: u64,
    missing: BTreeSet<u64>,
    received: u64,
    duplicates: u64,
    last_seq: u64,
    /// Sequence numbers that were skipped.
    skipped: u64,
    /// The same that a gap reported as lost.
    reported: u64,
}

/// Signals that a client did not receive exactly once.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Faults {
    /// Lost without notice.
    pub(super) silent: u64,
    /// Lost, and reported as a gap.
    pub(super) reported: u64,
    pub(super) duplicates: u64,
}

impl Ledger {
    /// An empty one of a client. `others` is the number of other members of its session.
    pub(super) fn new(others: usize) -> Self {
        Self { others, ..Self::default() }
    }

    /// Whether the client knows all others.
    pub(super) fn knows_all(&self) -> bool {
        self.known.len() == self.others
    }

    /// From now on, presence events count.
    pub(super) fn settle(&mut self) {
        self.is_settled = true;
    }

    /// Whether the client is in its session again, or will not be.
    pub(super) fn is_back(&self) -> bool {
        self.gone || self.has_resumed()
    }

    /// Whether the client has resumed, has a link, and is the same connection still.
    pub(super) fn has_resumed(&self) -> bool {
        self.resumed_ns.is_some() && !self.reconnecting && !self.gone
    }

    /// Records an event.
    pub(super) fn event(&mut self, event: Event, now_ns: u64) {
        match event {
            Event::Signal { from: Sender::Connection(from), seq, data, .. } => {
                if let Some(number) = data.as_deref().and_then(payload::decode) {
                    self.senders.entry(from).or_default().signal(number, seq);
                }
            }
            Event::ConnectionCreated(info) if !self.is_settled => {
                self.known.insert(info.id);
            }
            Event::ConnectionDestroyed { id, .. } if !self.is_settled => {
                self.known.remove(&id);
            }
            Event::ConnectionCreated(_) => self.presence += 1,
            Event::ConnectionDestroyed { id, .. } => {
                self.presence += 1;
                self.destroyed.push((id, now_ns));
            }
            Event::Gap { lost } => self.lost(&lost),
            Event::SessionReconnecting { .. } => {
                self.noticed_ns.get_or_insert(now_ns);
                self.reconnecting = true;
            }
            Event::SessionReconnected { gap, .. } => {
                self.reconnecting = false;
                self.resumed_ns.get_or_insert(now_ns);
                self.lost(&gap.unwrap_or_default().lost);
            }
            Event::SessionRejoined { .. } => self.gone = true,
            Event::SessionDisconnected { reason, message } => {
                self.noticed_ns.get_or_insert(now_ns);
                self.gone = true;
                self.ended = Some(format!("{reason}: {message}"));
            }
            _ => {}
        }
    }

    fn lost(&mut self, lost: &[Lost]) {
        for Lost { from, after, until } in lost {
            if let Some(from) = from.connection() {
                self.senders.entry(from).or_default().reported += until.saturating_sub(*after);
            }
        }
    }

    /// Whether the signal with this number, a sender's last one, has arrived.
    pub(super) fn has_last(&self, from: ConnectionId, sent: u64) -> bool {
        sent == 0 || self.senders.get(&from).is_some_and(|it| it.next >= sent)
    }

    /// The faults in the signals of a sender that has sent this number of them.
    pub(super) fn faults(&self, from: ConnectionId, sent: u64) -> Faults {
        let none = FromSender::default();
        let it = self.senders.get(&from).unwrap_or(&none);
        let missing = sent.saturating_sub(it.received).max(it.skipped);
        // A client that is another connection now, or none, knows that it has missed signals.
        let reported = if self.gone { missing } else { it.reported };
        let silent = missing.saturating_sub(reported);
        Faults { silent, reported, duplicates: it.duplicates }
    }
}

impl FromSender {
    fn signal(&mut self, number: u64, seq: u64) {
        if number >= self.next {
            self.missing.extend(self.next..number);
            self.next = number + 1;
            self.received += 1;
        } else if self.missing.remove(&number) {
            self.received += 1;
        } else {
            self.duplicates += 1;
        }
        self.skipped += seq.saturating_sub(self.last_seq + 1);
        self.last_seq = self.last_seq.max(seq);
    }
}

impl std::ops::AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.silent += other.silent;
        self.reported += other.reported;
        self.duplicates += other.duplicates;
    }
}

#[cfg(test)]
mod tests {
    use signalbox_client::CloseReason;
    use signalbox_protocol::DisconnectReason;

    use super::*;

    fn id(byte: u8) -> ConnectionId {
        ConnectionId::from_bytes([byte; 16])
    }

    fn signal(number: u64, seq: u64) -> Event {
        let (from, data) = (Sender::Connection(id(1)), Some(payload::encode(number)));
        Event::Signal { from, seq, signal_type: None, data }
    }

    fn faults(events: impl IntoIterator<Item = Event>, sent: u64) -> Faults {
        let mut ledger = Ledger::new(0);
        events.into_iter().for_each(|it| ledger.event(it, 0));
        ledger.faults(id(1), sent)
    }

    #[test]
    fn a_signal_that_is_missing_is_silent_unless_it_was_reported() {
        let (first, third) = (signal(0, 1), signal(2, 3));
        let gap = || Event::Gap {
            lost: vec![Lost { from: Sender::Connection(id(1)), after: 1, until: 2 }],
        };
        let of = |silent, reported, duplicates| Faults { silent, reported, duplicates };
        assert_eq!(faults([first.clone(), signal(1, 2), third.clone()], 3), of(0, 0, 0));
        assert_eq!(faults([first.clone(), third.clone()], 3), of(1, 0, 0));
        assert_eq!(faults([first.clone(), third.clone(), gap()], 3), of(0, 1, 0));
        assert_eq!(faults([first.clone(), gap(), third], 5), of(2, 1, 0), "two never came");
        assert_eq!(faults([first.clone(), signal(1, 2), first], 2), of(0, 0, 1));
        assert_eq!(faults([], 2), of(2, 0, 0));
    }

    #[test]
    fn presence_events_count_once_all_others_are_known() {
        let mut ledger = Ledger::new(1);
        let destroyed = |byte| Event::ConnectionDestroyed {
            id: id(byte),
            reason: DisconnectReason::NetworkDisconnected,
        };
        ledger.known.extend([id(2), id(3)]);
        assert!(!ledger.knows_all());
        ledger.event(destroyed(3), 6);
        assert!(ledger.knows_all() && ledger.presence == 0);
        ledger.settle();
        ledger.event(destroyed(2), 7);
        assert_eq!((ledger.presence, ledger.destroyed), (1, vec![(id(2), 7)]));
    }

    #[test]
    fn a_client_that_joins_again_knows_that_it_has_missed_signals() {
        let mut ledger = Ledger::new(0);
        ledger.event(signal(0, 1), 0);
        ledger.gone = true;
        assert_eq!(ledger.faults(id(1), 3), Faults { silent: 0, reported: 2, duplicates: 0 });
    }

    #[test]
    fn the_first_loss_and_the_first_return_count() {
        let mut ledger = Ledger::new(0);
        let lost = || Event::SessionReconnecting {
            reason: CloseReason::NetworkDisconnected,
            message: String::new(),
        };
        let resumed = || Event::SessionReconnected { missed: 0, gap: None };
        for (at_ns, event) in (1..).zip([lost(), resumed(), lost(), resumed()]) {
            ledger.event(event, at_ns);
        }
        assert_eq!((ledger.noticed_ns, ledger.resumed_ns), (Some(1), Some(2)));
        assert!(ledger.is_back() && !ledger.gone);
    }
}

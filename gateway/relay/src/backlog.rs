//! What a session keeps for those who are away: its latest signals and presence events, once for
//! all of them, bounded in bytes and in time.
//!
//! It is written while somebody is in the session who wants to be kept, or has just come and may
//! still say so. What is dropped at a bound is remembered in a few words, so that whoever comes
//! back for it can be told of the gap.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use signalbox_protocol::{ConnectionId, ConnectionInfo, DisconnectReason, Sender};

use crate::encode::Encoding;

/// Whom a signal was for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Audience {
    All,
    One(ConnectionId),
    Only(Arc<HashSet<ConnectionId>>),
    Except(Arc<HashSet<ConnectionId>>),
}

impl Audience {
    pub(crate) fn includes(&self, id: ConnectionId) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => *one == id,
            Self::Only(ids) => ids.contains(&id),
            Self::Except(ids) => !ids.contains(&id),
        }
    }
}

/// Something that happened in a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Happened {
    /// A signal, in whichever form it was encoded first.
    Signal { from: Sender, seq: u64, audience: Audience, encoding: Encoding, frame: Bytes },
    /// The presence event with this number.
    Created { number: u64, info: Arc<ConnectionInfo> },
    /// The presence event with this number.
    Destroyed { number: u64, id: ConnectionId, reason: DisconnectReason },
}

impl Happened {
    /// Bytes that it keeps.
    fn cost(&self) -> usize {
        const OWN: usize = std::mem::size_of::<Entry>();
        match self {
            Self::Signal {
                audience: Audience::Only(ids) | Audience::Except(ids), frame, ..
            } => OWN + frame.len() + ids.len() * std::mem::size_of::<ConnectionId>(),
            Self::Signal { frame, .. } => OWN + frame.len(),
            Self::Created { info, .. } => OWN + info.data.len(),
            Self::Destroyed { .. } => OWN,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// When; the clock of another run says nothing here.
    #[serde(skip)]
    at: Duration,
    happened: Happened,
}

/// How much a backlog may hold, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) bytes: usize,
    pub(crate) age: Duration,
}

/// What has been dropped.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Dropped {
    /// Of each sender the last signal that was for more than one, and its position.
    pub(crate) signals: HashMap<Sender, (u64, u64)>,
    /// The last signal that was for one alone, by both of them, and its position.
    pub(crate) directed: HashMap<(ConnectionId, Sender), (u64, u64)>,
    /// The number of the last presence event.
    pub(crate) events: u64,
    /// Last signals of connections whose end was dropped, too; the latest [`MAX_GONE`].
    pub(crate) gone: VecDeque<Gone>,
    /// Up to this position `gone` is incomplete.
    pub(crate) forgotten: u64,
    /// Up to this position nothing is known of what was dropped, or was never written.
    pub(crate) unknown: u64,
}

/// The last signal that was dropped of a connection that is gone.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Gone {
    pub(crate) from: ConnectionId,
    /// The one receiver, or none if it was for more than one.
    pub(crate) to: Option<ConnectionId>,
    pub(crate) seq: u64,
    pub(crate) position: u64,
}

/// How many of the connections that are gone are remembered. Clients that declined presence are told
/// which of their signals are lost; beyond this they are told that some may be.
const MAX_GONE: usize = 1024;

/// Entries in [`Dropped`]; beyond that its maps are given up for `unknown`.
const MAX_DROPPED: usize = 4096;

/// The backlog of one session.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Backlog {
    entries: VecDeque<Entry>,
    /// Position of the first entry, counted over the life of the session.
    first: u64,
    #[serde(skip)]
    bytes: usize,
    dropped: Dropped,
}

impl Dropped {
    /// A connection is gone, and its end was dropped: moves what is known of its signals to `gone`.
    fn end(&mut self, id: ConnectionId) {
        let sender = Sender::Connection(id);
        let to_many = self.signals.remove(&sender).map(|last| (None, last));
        let directed = self.directed.extract_if(|(to, from), _| *to == id || *from == sender);
        let of_it = directed.filter(|((_, from), _)| *from == sender);
        let to_one = of_it.map(|((to, _), last)| (Some(to), last));
        for (to, (seq, position)) in to_many.into_iter().chain(to_one) {
            if self.gone.len() == MAX_GONE
                && let Some(oldest) = self.gone.pop_front()
            {
                self.forgotten = self.forgotten.max(oldest.position + 1);
            }
            self.gone.push_back(Gone { from: id, to, seq, position });
        }
    }
}

impl Backlog {
    pub(crate) fn new() -> Self {
        Self { entries: VecDeque::new(), first: 0, bytes: 0, dropped: Dropped::default() }
    }

    /// The position of what happens next.
    pub(crate) fn position(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The position of the oldest entry, or of the next one if there is none.
    pub(crate) fn oldest(&self) -> u64 {
        self.first
    }

    /// When something last happened, as far as it is kept.
    pub(crate) fn latest(&self) -> Duration {
        self.entries.back().map_or(Duration::ZERO, |entry| entry.at)
    }

    /// What was dropped.
    pub(crate) fn dropped(&self) -> &Dropped {
        &self.dropped
    }

    /// Writes something down, and drops what is beyond the bounds.
    pub(crate) fn push(&mut self, happened: Happened, now: Duration, bounds: Bounds) {
        self.bytes += happened.cost();
        self.entries.push_back(Entry { at: now, happened });
        self.trim(now, bounds);
    }

    /// Drops what is beyond the bounds.
    pub(crate) fn trim(&mut self, now: Duration, bounds: Bounds) {
        while let Some(entry) = self.entries.front() {
            let too_many = self.bytes > bounds.bytes;
            if !too_many && entry.at + bounds.age >= now {
                break;
            }
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let Some(Entry { happened, .. }) = self.entries.pop_front() else { return };
        self.bytes -= happened.cost();
        let position = self.first;
        self.first += 1;
        match happened {
            Happened::Signal { from, seq, audience: Audience::One(to), .. } => {
                self.dropped.directed.insert((to, from), (seq, position));
            }
            Happened::Signal { from, seq, .. } => {
                self.dropped.signals.insert(from, (seq, position));
            }
            Happened::Created { number, .. } => self.dropped.events = number,
            Happened::Destroyed { number, id, .. } => {
                // A client that has missed this event is told everyone who is there.
                self.dropped.events = number;
                self.dropped.end(id);
            }
        }
        if self.dropped.signals.len() + self.dropped.directed.len() > MAX_DROPPED {
            self.dropped.signals = HashMap::new();
            self.dropped.directed = HashMap::new();
            self.dropped.unknown = self.first;
        }
    }

    /// Goes on with a backlog of another run: its clock was another, so all is as if it had happened
    /// now.
    pub(crate) fn thaw(&mut self, now: Duration) {
        self.bytes = self.entries.iter().map(|entry| entry.happened.cost()).sum();
        self.entries.iter_mut().for_each(|entry| entry.at = now);
    }

    /// Lets go of everything: nobody may come back for it. `event` is the last presence event.
    pub(crate) fn skip(&mut self, event: u64) {
        self.first = self.position() + 1;
        self.entries = VecDeque::new();
        self.bytes = 0;
        self.dropped = Dropped { events: event, unknown: self.first, ..Dropped::default() };
    }

    /// What is kept from a position on, oldest first.
    pub(crate) fn since(&self, position: u64) -> impl Iterator<Item = &Happened> {
        let skip = usize::try_from(position.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.entries.iter().skip(skip).map(|entry| &entry.happened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn signal(from: u8, seq: u64, audience: Audience) -> Happened {
        let frame = Bytes::from_static(&[0; 100]);
        let from = ConnectionId::from_bytes([from; 16]).into();
        Happened::Signal { from, seq, audience, encoding: Encoding::Shared, frame }
    }

    #[test]
    fn the_oldest_go_at_either_bound_and_are_remembered() {
        let sender = Sender::Connection(ConnectionId::from_bytes([1; 16]));
        let receiver = ConnectionId::from_bytes([2; 16]);
        let mut backlog = Backlog::new();
        let cost = signal(1, 1, Audience::All).cost();
        let bounds = Bounds { bytes: 3 * cost, age: at(10) };
        for seq in 1..=4 {
            backlog.push(signal(1, seq, Audience::All), at(seq), bounds);
        }
        assert_eq!(backlog.since(0).count(), 3, "by bytes");
        assert_eq!(backlog.dropped().signals[&sender], (1, 0));
        backlog.push(signal(1, 5, Audience::One(receiver)), at(13), bounds);
        assert_eq!(backlog.since(0).count(), 3, "2 and then none by age");
        backlog.push(signal(1, 6, Audience::All), at(30), bounds);
        assert_eq!(backlog.since(0).count(), 1, "by age");
        assert_eq!(backlog.dropped().signals[&sender], (4, 3));
        assert_eq!(backlog.dropped().directed[&(receiver, sender)], (5, 4));
        assert_eq!(backlog.position(), 6);
        assert_eq!(backlog.since(6).count(), 0);
    }

    #[test]
    fn the_bounds_hold_in_another_run_by_its_own_clock() {
        let cost = signal(1, 1, Audience::All).cost();
        let bounds = Bounds { bytes: 3 * cost, age: at(10) };
        let mut backlog = Backlog::new();
        for seq in 1..=3 {
            backlog.push(signal(1, seq, Audience::All), at(1000), bounds);
        }
        let bytes = postcard::to_stdvec(&backlog).unwrap();
        let thaw = || {
            let mut backlog: Backlog = postcard::from_bytes(&bytes).unwrap();
            backlog.thaw(at(5));
            backlog
        };
        let mut full = thaw();
        full.push(signal(1, 4, Audience::All), at(5), bounds);
        assert_eq!(full.since(0).count(), 3, "by bytes");
        let mut old = thaw();
        old.trim(at(15), bounds);
        assert_eq!(old.since(0).count(), 3, "not older than this run");
        old.trim(at(16), bounds);
        assert_eq!(old.since(0).count(), 0, "by age");
    }

    #[test]
    fn what_is_known_of_the_dropped_is_bounded_too() {
        let mut backlog = Backlog::new();
        let bounds = Bounds { bytes: 0, age: at(10) };
        for n in 0..2 * MAX_DROPPED as u128 {
            let from = ConnectionId::from_bytes(n.to_be_bytes()).into();
            let frame = Bytes::new();
            let encoding = Encoding::Shared;
            let audience = Audience::All;
            let happened = Happened::Signal { from, seq: 1, audience, encoding, frame };
            backlog.push(happened, at(0), bounds);
            assert!(backlog.dropped().signals.len() <= MAX_DROPPED);
        }
        assert!(backlog.dropped().unknown > 0);
    }
}

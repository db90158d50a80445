//! The history of a session: its latest signals and presence events, bounded in bytes and age. It is
//! kept once for all detached members.
//!
//! The history is recorded while the session has a resumable member, attached or detached, or is
//! shared with other gateways. A short record of the entries dropped at a bound remains ([`Trimmed`]),
//! so that a resuming client learns of the gap.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};
use signalbox_protocol::Sender;

use super::{log_entry::LogEntry, trimmed::Trimmed};

/// Maximum size and age of a history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HistoryBounds {
    pub(crate) bytes: usize,
    pub(crate) age: Duration,
}

/// A point in a history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HistoryMark {
    /// Position of the next entry.
    pub(crate) position: u64,
    /// Number of presence events so far.
    pub(crate) events: u64,
}

/// The history of a session on another gateway.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExportedHistory {
    first: u64,
    log: Vec<LogEntry>,
    trimmed: Trimmed,
}

/// The history of one session.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct History {
    /// Number of presence events so far, recorded or not.
    presence_events: u64,
    log: VecDeque<TimedEntry>,
    /// Position of the first entry, counted over the life of the session.
    first: u64,
    #[serde(skip)]
    bytes: usize,
    trimmed: Trimmed,
    #[serde(skip)]
    bounds: HistoryBounds,
    /// Time of the last presence event that was dropped for lack of room.
    #[serde(skip)]
    crowded_out: Option<Duration>,
}

#[derive(Debug, Serialize, Deserialize)]
struct TimedEntry {
    /// Not part of a snapshot, as the next process has another clock.
    #[serde(skip)]
    at: Duration,
    entry: LogEntry,
}

impl TimedEntry {
    fn cost(&self) -> usize {
        std::mem::size_of::<Self>() + self.entry.heap_bytes()
    }
}

impl History {
    pub(crate) fn new(bounds: HistoryBounds) -> Self {
        Self { bounds, ..Self::default() }
    }

    /// Continues a history from a snapshot. Its entries count as recorded now, as the clock of the
    /// previous process is unknown.
    pub(crate) fn restored(mut self, bounds: HistoryBounds, now: Duration) -> Self {
        self.log.iter_mut().for_each(|entry| entry.at = now);
        self.bytes = self.log.iter().map(TimedEntry::cost).sum();
        self.bounds = bounds;
        self
    }

    pub(crate) fn bounds(&self) -> HistoryBounds {
        self.bounds
    }

    /// The history, for another gateway.
    pub(crate) fn export(&self) -> ExportedHistory {
        ExportedHistory {
            first: self.first,
            log: self.log.iter().map(|entry| entry.entry.clone()).collect(),
            trimmed: self.trimmed.clone(),
        }
    }

    /// Puts the history of another gateway, which has the signals of each sender up to
    /// `exported_until`, before this one: the signals that `earlier` accepts. Its
    /// presence events have other numbers there, and count as known. Returns the distance by which the
    /// positions of this history have moved.
    pub(crate) fn after(
        self,
        exported: ExportedHistory,
        earlier: impl Fn(&Sender, u64) -> bool,
        exported_until: impl Fn(&Sender) -> u64,
        resumable: bool,
        now: Duration,
    ) -> (Self, i64) {
        let mut merged = Self::new(self.bounds);
        merged.first = exported.first;
        merged.trimmed = exported.trimmed;
        merged.trimmed.events = 0;
        for entry in exported.log {
            let entry = match entry {
                LogEntry::Signal { ref from, seq, .. } if !earlier(from, seq) => {
                    // Keeps the positions of the others.
                    LogEntry::Elsewhere
                }
                // No client that counts misses them, and none is waiting for the sender's signals.
                LogEntry::Created { info, .. } => LogEntry::Created { number: 0, info },
                LogEntry::Destroyed { id, reason, .. } => {
                    LogEntry::Destroyed { number: 0, id, reason }
                }
                entry => entry,
            };
            merged.record(|| entry, resumable, now);
        }
        // Signals that were lost here may be in the other history, or have been lost there, too.
        for (from, (until, _)) in self.trimmed.signals {
            if until > exported_until(&from) {
                merged.record_loss(from, until, resumable);
            }
        }
        let shift = merged.mark().position.wrapping_sub(self.first).cast_signed();
        merged.presence_events = self.presence_events;
        for TimedEntry { at, entry } in self.log {
            merged.record(|| entry, resumable, at);
        }
        (merged, shift)
    }

    /// The current end of the history.
    pub(crate) fn mark(&self) -> HistoryMark {
        let position = self.first + self.log.len() as u64;
        HistoryMark { position, events: self.presence_events }
    }

    /// The oldest entry, with the current number of presence events.
    pub(crate) fn oldest_mark(&self) -> HistoryMark {
        HistoryMark { position: self.first, events: self.presence_events }
    }

    /// Position of the first entry that was recorded at this time or later.
    pub(crate) fn position_at(&self, time: Duration) -> u64 {
        self.first + self.log.partition_point(|entry| entry.at < time) as u64
    }

    /// Time of the latest entry; zero if there is none.
    pub(crate) fn last_recorded(&self) -> Duration {
        self.log.back().map_or(Duration::ZERO, |entry| entry.at)
    }

    /// Whether all presence events are here that are not too old.
    pub(crate) fn has_recent_presence(&self, now: Duration) -> bool {
        self.crowded_out.is_none_or(|at| at + self.bounds.age < now)
    }

    /// Number of presence events before a position.
    pub(crate) fn presence_before(&self, position: u64) -> u64 {
        let number = |entry: &LogEntry| match entry {
            LogEntry::Created { number, .. } | LogEntry::Destroyed { number, .. } => Some(*number),
            LogEntry::Signal { .. } | LogEntry::Elsewhere => None,
        };
        // Those of another gateway have no number here.
        let first = self.since(position).filter_map(number).find(|number| *number > 0);
        first.map_or(self.presence_events, |first| first - 1)
    }

    /// The dropped entries.
    pub(crate) fn trimmed(&self) -> &Trimmed {
        &self.trimmed
    }

    /// Entries from a position on, oldest first.
    pub(crate) fn since(&self, position: u64) -> impl Iterator<Item = &LogEntry> {
        let skip = usize::try_from(position.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.log.iter().skip(skip).map(|entry| &entry.entry)
    }

    /// Records a presence event, to which `entry` gives its number.
    pub(crate) fn record_presence(
        &mut self,
        entry: impl FnOnce(u64) -> LogEntry,
        resumable: bool,
        now: Duration,
    ) {
        self.presence_events += 1;
        let number = self.presence_events;
        self.record(|| entry(number), resumable, now);
    }

    /// Records an entry if the session has a resumable member. Otherwise the history is emptied: no
    /// client will ask for it. A later resumable member counts from its join.
    pub(crate) fn record(
        &mut self,
        entry: impl FnOnce() -> LogEntry,
        resumable: bool,
        now: Duration,
    ) {
        if resumable {
            let entry = TimedEntry { at: now, entry: entry() };
            self.bytes += entry.cost();
            self.log.push_back(entry);
            self.trim(now);
        } else {
            self.reset();
        }
    }

    /// Records that signals of a sender up to this one never arrived, for the resumable members that
    /// are there already.
    pub(crate) fn record_loss(&mut self, from: Sender, seq: u64, resumable: bool) {
        if resumable {
            let before = self.mark().position.saturating_sub(1);
            self.trimmed.record_loss(from, seq, before);
        }
    }

    /// Drops the oldest entries until both bounds hold.
    pub(crate) fn trim(&mut self, now: Duration) {
        while let Some(entry) = self.log.front() {
            let too_large = self.bytes > self.bounds.bytes;
            if !too_large && entry.at + self.bounds.age >= now {
                break;
            }
            if too_large && entry.entry.is_presence() {
                self.crowded_out = Some(entry.at);
            }
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let Some(entry) = self.log.pop_front() else { return };
        self.bytes -= entry.cost();
        self.trimmed.record(entry.entry, self.first);
        self.first += 1;
    }

    /// Drops all entries without a record of them.
    fn reset(&mut self) {
        self.first = self.mark().position;
        self.log = VecDeque::new();
        self.bytes = 0;
        self.trimmed = Trimmed::default();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use signalbox_protocol::{ConnectionId, Sender};

    use super::*;
    use crate::{
        encoding::Encoding,
        session::{log_entry::Audience, trimmed::MAX_TRIMMED},
    };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn signal(from: u8, seq: u64, audience: Audience) -> LogEntry {
        let frame = Bytes::from_static(&[0; 100]);
        let from = ConnectionId::from_bytes([from; 16]).into();
        LogEntry::Signal { from, seq, audience, encoding: Encoding::Shared, frame }
    }

    /// A history with room for three of these signals.
    fn bounds() -> HistoryBounds {
        let entry = TimedEntry { at: at(0), entry: signal(1, 1, Audience::All) };
        HistoryBounds { bytes: 3 * entry.cost(), age: at(10) }
    }

    #[test]
    fn the_oldest_entries_are_dropped_at_either_bound_and_recorded() {
        let sender = Sender::Connection(ConnectionId::from_bytes([1; 16]));
        let receiver = ConnectionId::from_bytes([2; 16]);
        let mut history = History::new(bounds());
        for seq in 1..=4 {
            history.record(|| signal(1, seq, Audience::All), true, at(seq));
        }
        assert_eq!(history.since(0).count(), 3, "by bytes");
        assert_eq!(history.trimmed().signals[&sender], (1, 0));
        history.record(|| signal(1, 5, Audience::One(receiver)), true, at(13));
        assert_eq!(history.since(0).count(), 3, "2 and then none by age");
        history.record(|| signal(1, 6, Audience::All), true, at(30));
        assert_eq!(history.since(0).count(), 1, "by age");
        assert_eq!(history.trimmed().signals[&sender], (4, 3));
        assert_eq!(history.trimmed().directed[&(receiver, sender)], (5, 4));
        assert_eq!(history.mark().position, 6);
        assert_eq!(history.since(6).count(), 0);
    }

    #[test]
    fn the_bounds_hold_after_a_restore_by_the_new_clock() {
        let mut history = History::new(bounds());
        for seq in 1..=3 {
            history.record(|| signal(1, seq, Audience::All), true, at(1000));
        }
        let bytes = postcard::to_stdvec(&history).unwrap();
        let restore = || {
            let history: History = postcard::from_bytes(&bytes).unwrap();
            history.restored(bounds(), at(5))
        };
        let mut full = restore();
        full.record(|| signal(1, 4, Audience::All), true, at(5));
        assert_eq!(full.since(0).count(), 3, "by bytes");
        let mut old = restore();
        old.trim(at(15));
        assert_eq!(old.since(0).count(), 3, "not older than this process");
        old.trim(at(16));
        assert_eq!(old.since(0).count(), 0, "by age");
    }

    #[test]
    fn the_record_of_dropped_entries_is_bounded() {
        let mut history = History::new(HistoryBounds { bytes: 0, age: at(10) });
        for n in 0..2 * MAX_TRIMMED as u128 {
            let from = ConnectionId::from_bytes(n.to_be_bytes()).into();
            let (frame, encoding, audience) = (Bytes::new(), Encoding::Shared, Audience::All);
            let entry = LogEntry::Signal { from, seq: 1, audience, encoding, frame };
            history.record(|| entry, true, at(0));
            assert!(history.trimmed().signals.len() <= MAX_TRIMMED);
        }
        assert!(history.trimmed().unknown_before > 0);
    }
}

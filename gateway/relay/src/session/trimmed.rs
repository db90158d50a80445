//! Record of the entries that a history has dropped at its bounds.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use serde::{Deserialize, Serialize};
use signalbox_protocol::{ConnectionId, Sender};

use super::log_entry::{Audience, LogEntry};

/// Departed senders that are remembered. Clients that declined presence learn which signals of
/// departed senders are lost; beyond this number they learn that some may be.
const MAX_DEPARTED: usize = 1024;

/// Maximum number of entries in the two maps of [`Trimmed`]. Beyond it, both are replaced by
/// `unknown_before`.
pub(crate) const MAX_TRIMMED: usize = 4096;

/// Sequence number and history position of a signal.
pub(crate) type LastSignal = (u64, u64);

/// The dropped entries of a history, as far as a client can be told of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Trimmed {
    /// The last signal of each sender that had several receivers.
    pub(crate) signals: HashMap<Sender, LastSignal>,
    /// The last signal that had one receiver, by receiver and sender.
    pub(crate) directed: HashMap<(ConnectionId, Sender), LastSignal>,
    /// Number of the last presence event.
    pub(crate) events: u64,
    /// Last signals of connections whose end was dropped, too; the latest [`MAX_DEPARTED`].
    pub(crate) departed: VecDeque<DepartedSender>,
    /// `departed` is incomplete for earlier positions.
    pub(crate) departed_unknown_before: u64,
    /// Nothing is known of entries at earlier positions.
    pub(crate) unknown_before: u64,
}

/// Records a later signal. A loss may have been recorded before an earlier signal is dropped.
fn raise<K>(entry: Entry<'_, K, LastSignal>, signal: LastSignal) {
    let last = entry.or_default();
    *last = signal.max(*last);
}

/// The last dropped signal of a destroyed connection.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct DepartedSender {
    pub(crate) from: ConnectionId,
    /// The only receiver; none if the signal had several.
    pub(crate) to: Option<ConnectionId>,
    pub(crate) seq: u64,
    pub(crate) position: u64,
}

impl Trimmed {
    /// Records that signals of a sender up to this one were lost before they could be recorded.
    pub(crate) fn record_loss(&mut self, from: Sender, seq: u64, position: u64) {
        raise(self.signals.entry(from), (seq, position));
        self.bound(position);
    }

    /// Records that the entry at `position` was dropped.
    pub(crate) fn record(&mut self, entry: LogEntry, position: u64) {
        match entry {
            LogEntry::Signal { from, seq, audience: Audience::One(to), .. } => {
                raise(self.directed.entry((to, from)), (seq, position));
            }
            LogEntry::Signal { from, seq, .. } => {
                raise(self.signals.entry(from), (seq, position));
            }
            LogEntry::Created { number, .. } => self.events = number,
            LogEntry::Elsewhere => {}
            LogEntry::Destroyed { number, id, .. } => {
                // A client that has missed this event receives the full list of members.
                self.events = number;
                self.depart(id);
            }
        }
        self.bound(position);
    }

    fn bound(&mut self, position: u64) {
        if self.signals.len() + self.directed.len() > MAX_TRIMMED {
            self.signals = HashMap::new();
            self.directed = HashMap::new();
            self.unknown_before = position + 1;
        }
    }

    /// Moves the last signals of a destroyed connection to `departed`.
    fn depart(&mut self, id: ConnectionId) {
        let sender = Sender::Connection(id);
        let to_many = self.signals.remove(&sender).map(|last| (None, last));
        let directed = self.directed.extract_if(|(to, from), _| *to == id || *from == sender);
        let sent = directed.filter(|((_, from), _)| *from == sender);
        let to_one = sent.map(|((to, _), last)| (Some(to), last));
        for (to, (seq, position)) in to_many.into_iter().chain(to_one) {
            if self.departed.len() == MAX_DEPARTED
                && let Some(oldest) = self.departed.pop_front()
            {
                let known_from = oldest.position + 1;
                self.departed_unknown_before = self.departed_unknown_before.max(known_from);
            }
            self.departed.push_back(DepartedSender { from: id, to, seq, position });
        }
    }
}

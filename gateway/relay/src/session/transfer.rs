//! The transfer of a session's history to a gateway that opens the session, so that clients can
//! resume there.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use signalbox_protocol::{ConnectionId, Sender};

use super::{
    history::{ExportedHistory, History},
    log_entry::LogEntry,
    resumable::{Resumable, Unseen},
    roster::Member,
    state::SessionState,
};

/// The history of a session on one gateway.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Transfer {
    history: ExportedHistory,
    complete: bool,
    /// The last signal of each sender that the gateway knows of.
    sent: Vec<(Sender, u64)>,
    /// The position from which the client of each resumable connection may miss entries.
    positions: Vec<(ConnectionId, u64)>,
}

impl SessionState {
    /// The history, for another gateway.
    pub(crate) fn export_history(&self) -> Transfer {
        let local = self.roster.iter().map(|it| (it.id(), Member::resumable(it)));
        let remote = self.roster.remote().map(|it| (it.record.info.id, it.resumable.as_ref()));
        let positions = local
            .chain(remote)
            .filter_map(|(id, resumable)| Some((id, resumable.map(Resumable::position)?)));
        let positions = positions.collect();
        let complete = self.is_history_complete();
        let sent = self.sent_counts().collect();
        Transfer { history: self.history.export(), complete, sent, positions }
    }

    /// Puts the history of another gateway before that of this one. Signals that this gateway has
    /// received itself, or is going to receive, are left out.
    pub(crate) fn import_history(&mut self, transfer: Transfer, now: Duration) {
        if self.roster.iter().next().is_some() {
            return;
        }
        let Transfer { history, complete, sent: exported, positions } = transfer;
        self.set_history_complete(complete);
        let mut first: HashMap<Sender, u64> = HashMap::new();
        let empty = History::new(self.history.bounds());
        let own = std::mem::replace(&mut self.history, empty);
        for entry in own.since(0) {
            if let LogEntry::Signal { from, seq, .. } = entry {
                first.entry(from.clone()).or_insert(*seq);
            }
        }
        let sent = |from: &Sender| match from {
            Sender::Connection(id) => self.roster.record(*id).map(|record| record.sent),
            // A gateway that has reported no signals is going to report all of them.
            Sender::Server(gateway) => Some(self.server_count(gateway).unwrap_or(0)),
        };
        let exported: HashMap<_, _> = exported.into_iter().collect();
        let earlier = |from: &Sender, seq: u64| match (first.get(from), sent(from)) {
            (Some(first), _) => seq < *first,
            (None, Some(sent)) => seq <= sent,
            // Its gateway has not reported it yet, and then it reports all of its signals; or it has
            // left.
            (None, None) => !exported.contains_key(from),
        };
        let resumable = self.roster.has_resumable();
        let exported = |from: &Sender| exported.get(from).copied().unwrap_or(0);
        let (merged, shift) = own.after(history, earlier, exported, resumable, now);
        self.history = merged;
        let positions: HashMap<_, _> = positions.into_iter().collect();
        let mut remaining: Vec<(Arc<Unseen>, Arc<Unseen>)> = Vec::new();
        for (id, resumable) in self.remote_tickets() {
            let own = resumable.position().saturating_add_signed(shift);
            let Some(position) = positions.get(&id) else {
                resumable.rebase(own);
                continue;
            };
            resumable.rebase(*position);
            if let Some(unseen) = resumable.unseen() {
                // Most connections share one.
                let known = remaining.iter().find(|(before, _)| Arc::ptr_eq(before, unseen));
                let left = known.map(|(_, left)| left.clone()).unwrap_or_else(|| {
                    let left = unseen.iter().filter(|(from, until)| **until > exported(from));
                    let left = Arc::new(left.map(|(from, until)| (from.clone(), *until)).collect());
                    remaining.push((unseen.clone(), Arc::clone(&left)));
                    left
                });
                resumable.set_unseen(Some(left));
            }
        }
    }
}

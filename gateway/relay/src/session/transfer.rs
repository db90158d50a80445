//! The transfer of a session's history to a gateway that opens the session, so that clients can
//! resume there.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use signalbox_protocol::{ConnectionId, Sender};

use super::{
    history::{ExportedHistory, History},
    log_entry::LogEntry,
    resumable::Unseen,
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
    positions: Vec<ClientPosition>,
    /// Signals that the history may lack; most connections share one set.
    unseen: Vec<Vec<(Sender, u64)>>,
}

/// The entries that the client of a resumable connection may miss.
#[derive(Debug, Serialize, Deserialize)]
struct ClientPosition {
    connection: ConnectionId,
    /// The first of them in the history.
    position: u64,
    /// Index of the signals that the history may lack.
    unseen: Option<usize>,
}

impl SessionState {
    /// The history, for another gateway.
    pub(crate) fn export_history(&self) -> Transfer {
        let local = self.roster.iter().map(|it| (it.id(), Member::resumable(it)));
        let remote = self.roster.remote().map(|it| (it.record.info.id, it.resumable.as_ref()));
        let resumable = local.chain(remote).filter_map(|(id, it)| Some((id, it?)));
        let mut sets: Vec<Arc<Unseen>> = Vec::new();
        let positions = resumable.map(|(connection, resumable)| {
            let unseen = resumable.unseen().map(|unseen| {
                let known = sets.iter().position(|set| Arc::ptr_eq(set, unseen));
                known.unwrap_or_else(|| {
                    sets.push(unseen.clone());
                    sets.len() - 1
                })
            });
            ClientPosition { connection, position: resumable.position(), unseen }
        });
        let positions = positions.collect();
        let unseen = sets.iter().map(|set| set.iter().map(|(from, seq)| (from.clone(), *seq)));
        Transfer {
            history: self.history.export(),
            complete: self.is_history_complete(),
            sent: self.sent_counts().collect(),
            positions,
            unseen: unseen.map(Iterator::collect).collect(),
        }
    }

    /// Puts the history of another gateway before that of this one. Signals that this gateway has
    /// received itself, or is going to receive, are left out.
    pub(crate) fn import_history(&mut self, transfer: Transfer, now: Duration) {
        if self.roster.iter().next().is_some() {
            return;
        }
        let Transfer { history, complete, sent: exported, positions, unseen: sets } = transfer;
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
        let positions: HashMap<_, _> =
            positions.into_iter().map(|it| (it.connection, it)).collect();
        // By address: each set lives until its last connection has been given the merged one.
        let mut merged: HashMap<(Option<*const Unseen>, Option<usize>), Arc<Unseen>> =
            HashMap::new();
        for (id, resumable) in self.remote_tickets() {
            let own = resumable.position().saturating_add_signed(shift);
            let Some(there) = positions.get(&id) else {
                resumable.rebase(own);
                continue;
            };
            resumable.rebase(there.position);
            // What the history here lacked is in the other one, unless that lacks it, too.
            let here = resumable.unseen();
            let set = merged.entry((here.map(Arc::as_ptr), there.unseen)).or_insert_with(|| {
                let here = here.iter().flat_map(|it| it.iter());
                let here = here.filter(|(from, until)| **until > exported(from));
                let mut left: Unseen = here.map(|(from, until)| (from.clone(), *until)).collect();
                for (from, until) in there.unseen.and_then(|it| sets.get(it)).into_iter().flatten()
                {
                    let last = left.entry(from.clone()).or_default();
                    *last = (*last).max(*until);
                }
                Arc::new(left)
            });
            resumable.set_unseen(Some(set.clone()));
        }
    }
}

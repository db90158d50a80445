//! The serialized form of a session.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use signalbox_protocol::{CloseReason, ConnectionInfo};

use super::{
    history::{History, HistoryBounds},
    roster::{Member, MemberState},
    state::SessionState,
};
use crate::seat::Seat;

/// A session with its resumable members.
#[derive(Serialize, Deserialize)]
pub(crate) struct SessionSnapshot {
    id: String,
    members: Vec<MemberState>,
    server_seq: u64,
    history: History,
}

impl SessionSnapshot {
    /// The session's id, as text.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The descriptions of its members.
    pub(crate) fn infos(&self) -> impl Iterator<Item = &ConnectionInfo> {
        self.members.iter().map(|member| &*member.record.info)
    }
}

impl SessionState {
    /// Removes all members: those that are not resumable end, as at a shutdown; the others are
    /// returned, together with their descriptions.
    pub(crate) fn take_snapshot(
        &mut self,
        now: Duration,
    ) -> (SessionSnapshot, Vec<Arc<ConnectionInfo>>) {
        let others = self.roster.iter().filter(|member| member.resumable().is_none());
        let others: Vec<_> = others.map(Member::id).collect();
        for id in others {
            // Resumable members get this event from the history after the restore.
            self.remove(id, CloseReason::ShuttingDown, now);
        }
        let mut members = Vec::with_capacity(self.roster.len());
        let mut infos = Vec::with_capacity(self.roster.len());
        for member in self.roster.drain() {
            if let Some(link) = member.link() {
                link.outbox.close(CloseReason::ShuttingDown);
            }
            if let (record, resumable @ Some(_)) = member.into_parts() {
                infos.push(record.info.clone());
                members.push(MemberState { record, resumable });
            }
        }
        let empty = History::new(self.history.bounds());
        let history = std::mem::replace(&mut self.history, empty);
        let id = self.id.to_string();
        (SessionSnapshot { id, members, server_seq: self.server_seq, history }, infos)
    }

    /// Notifies the observer that these connections, which are in no snapshot, have ended.
    pub(crate) fn report_destroyed(&self, connections: &[Arc<ConnectionInfo>]) {
        let reason = CloseReason::ShuttingDown.disconnect_reason();
        for info in connections {
            self.context.observer.destroyed(&self.id, info, reason);
        }
    }

    /// Fills a new session from a snapshot. All of its members are detached; their seats are
    /// returned.
    pub(crate) fn restore(&mut self, snapshot: SessionSnapshot, now: Duration) -> Vec<Seat> {
        let bounds: HistoryBounds = self.history.bounds();
        self.history = snapshot.history.restored(bounds, now);
        self.server_seq = snapshot.server_seq;
        let mut seats = Vec::with_capacity(snapshot.members.len());
        for MemberState { record, resumable } in snapshot.members {
            let Some(resumable) = resumable else { continue };
            let member = Member::restored(record, resumable, &self.context.settings());
            seats.push(member.seat());
            self.roster.insert(member);
        }
        seats
    }
}

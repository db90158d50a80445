//! A shared session: a session with members on several gateways.
//!
//! Each gateway of a session sends an [`Update`] for every change of its own part to the others,
//! which apply it at the point at which a local change would take effect. So every gateway has all
//! members, all signals and the whole history, and a connection can be resumed on any of them.
//!
//! A connection has one *home*. Resuming on another gateway moves it there, with a higher
//! generation. If two gateways claim a connection, the higher generation wins, and on a tie the
//! lower instance; the other gateway closes its link. A client numbers its attempts with a ticket,
//! and uses the last one alone, so a later attempt makes a higher generation: an earlier one may
//! reach a gateway that has stood still meanwhile.

use std::{collections::HashSet, sync::Arc, time::Duration};

use signalbox_protocol::{CloseReason, ConnectionId, DisconnectReason, Sender, Signal};

use super::{
    closed_sessions::ClosedSession,
    log_entry::Audience,
    resumable::{Resumable, Unseen},
    roster::{Member, MemberState},
    state::SessionState,
};
use crate::{
    encoding::SignalEncodings,
    instance::Instance,
    receipts::Answer,
    update::{Other, Part, SessionUpdate, Update},
};

/// Maximum time of an update on its way. A gateway whose updates take longer is lost.
pub(super) const MAX_BUS_DELAY: Duration = Duration::from_millis(2500);

impl SessionState {
    /// The other gateways of the session.
    pub(crate) fn peers(&self) -> &[Instance] {
        self.shared.as_ref().map_or(&[], |shared| &shared.peers)
    }

    /// The gateway of the session from which to take the history.
    pub(crate) fn history_donor(&self) -> Option<&Instance> {
        let shared = self.shared.as_ref()?;
        shared.complete.first().or(shared.peers.first())
    }

    /// The history reaches back to the beginning of the session, or not.
    pub(super) fn set_history_complete(&mut self, complete: bool) {
        if let Some(shared) = &mut self.shared {
            shared.incomplete = !complete;
        }
    }

    /// Whether the history reaches back to the beginning of the session.
    pub(super) fn is_history_complete(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| !shared.incomplete)
    }

    /// Connections of other gateways whose clients may resume here, with their tickets.
    pub(super) fn remote_tickets(
        &mut self,
    ) -> impl Iterator<Item = (ConnectionId, &mut Resumable)> {
        let hearsay = self.shared.iter_mut().flat_map(|shared| shared.hearsay.iter_mut());
        let hearsay = hearsay.map(|(id, other)| (*id, &mut other.state.resumable));
        let remote = self.roster.remote_mut();
        let remote = remote.map(|member| (member.record.info.id, &mut member.resumable));
        hearsay.chain(remote).filter_map(|(id, resumable)| Some((id, resumable.as_mut()?)))
    }

    /// Whether a connection is on this gateway.
    pub(crate) fn is_local(&self, id: ConnectionId) -> bool {
        self.roster.get(id).is_some()
    }

    /// Sends an update to the other gateways of the session. `update` is not called if there are
    /// none.
    pub(super) fn publish<'a>(&self, update: impl FnOnce() -> Update<'a>) {
        if let Some(shared) = &self.shared
            && !shared.peers.is_empty()
        {
            self.send_update(&shared.peers, update());
        }
    }

    pub(super) fn send_update(&self, peers: &[Instance], update: Update<'_>) {
        if let Some(cluster) = &self.context.cluster {
            cluster.backplane.publish(&self.id, peers, &SessionUpdate(update));
        }
    }

    /// Adds another gateway to the session, and sends it this gateway's part.
    pub(crate) fn share(&mut self, peer: &Instance, now: Duration) {
        self.roster.expect_resumable();
        let shared = self.shared.get_or_insert_default();
        if !shared.peers.contains(peer) {
            shared.peers.push(peer.clone());
        }
        let part = Update::Part(self.part(now));
        self.send_update(std::slice::from_ref(peer), part);
    }

    /// Continues an earlier opening of the session here.
    pub(super) fn reopen(&mut self) {
        let Some(cluster) = &self.context.cluster else { return };
        let ClosedSession { tombstones, server_seq } = cluster.closed_sessions.take(&self.id);
        self.server_seq = server_seq.max(self.server_seq);
        if tombstones.len() > 0 {
            self.shared.get_or_insert_default().destroyed = tombstones;
        }
    }

    /// Keeps the part of the session, which is closed, that other gateways may still need.
    pub(super) fn keep_closed(&mut self) {
        if let Some(cluster) = &self.context.cluster {
            let shared = self.shared.as_mut();
            let tombstones = shared.map(|it| std::mem::take(&mut it.destroyed)).unwrap_or_default();
            let closed = ClosedSession { tombstones, server_seq: self.server_seq };
            cluster.closed_sessions.insert(self.id.clone(), closed);
        }
    }

    /// Other gateways remember these connections as destroyed.
    pub(crate) fn bury_all(&mut self, ids: Vec<ConnectionId>, now: Duration) {
        for id in ids {
            self.heard_destroyed(id, DisconnectReason::NetworkDisconnected, now);
        }
    }

    pub(super) fn part(&self, now: Duration) -> Part {
        let others = self.roster.remote().map(|member| {
            let (record, resumable) = (member.record.clone(), member.resumable.clone());
            Other {
                state: MemberState { record, resumable },
                home: member.home.clone(),
                left: member.orphan_until.map(|until| until.saturating_sub(now)),
            }
        });
        let hearsay = self.shared.iter().flat_map(|shared| shared.hearsay.values().cloned());
        let destroyed = self.shared.iter().flat_map(|shared| shared.destroyed.iter());
        let orphaned = self.shared.iter().flat_map(|shared| shared.destroyed.orphans());
        Part {
            destroyed: destroyed.collect(),
            orphaned: orphaned.collect(),
            complete: self.is_history_complete(),
            members: self.roster.iter().map(Member::state).collect(),
            others: others.chain(hearsay).collect(),
            servers: self.server_counts().filter(|(_, seq)| *seq > 0).collect(),
        }
    }

    /// Applies an update of another gateway.
    pub(crate) fn apply(&mut self, from: &Instance, update: Update<'_>, now: Duration) {
        match update {
            Update::Part(part) => self.apply_part(from, part, now),
            Update::Created(state) => {
                // Its gateway may not have had the latest signals when the connection was created.
                let position = self.history.position_at(now.saturating_sub(MAX_BUS_DELAY));
                self.appear(from, state.rebased(position), now);
            }
            Update::Signal { from: sender, seq, audience, signal } => {
                self.apply_signal(sender, seq, audience, signal, now);
            }
            Update::Resumed(state) => {
                let id = state.record.info.id;
                let position = self.history.mark().position.saturating_sub(1);
                let new = !self.roster.contains(id);
                if !self.claimed(from, state.rebased(position), now) {
                    self.send_update(std::slice::from_ref(from), Update::Refused { ids: vec![id] });
                } else if new {
                    self.mark_unseen(&HashSet::from([id]));
                }
            }
            Update::TicketConfirmed { id } => {
                if let Some(resumable) = self.of(from, id).and_then(|it| it.resumable.as_mut()) {
                    resumable.confirm_ticket();
                }
            }
            Update::Rejected { id, rejection } => {
                if let Some(member) = self.of(from, id) {
                    member.record.sent = member.record.sent.max(rejection.signal);
                    if let Some(resumable) = &mut member.resumable {
                        resumable.record_rejection(rejection);
                    }
                }
            }
            Update::Destroyed { id, reason, sent } => {
                self.catch_up(id, sent);
                self.heard_destroyed(id, reason, now);
            }
            Update::Disconnect { id } => {
                self.force_disconnect(id, now);
            }
            Update::Refused { ids } => {
                for id in ids {
                    self.remove(id, CloseReason::NetworkDisconnected, now);
                }
            }
            Update::Moved { id, home, generation } => self.moved(id, home, generation, now),
            Update::Requested { transaction, from: sender, seq, audience, signal } => {
                // Before the signal: its receivers may end here, and with them the session.
                let member = self.roster.get_remote(sender);
                if let Some(receipts) = member
                    .filter(|member| seq > member.record.sent)
                    .and_then(|member| member.resumable.as_mut()?.receipts_mut())
                {
                    receipts.answer(transaction, Answer::Accepted, now);
                }
                self.apply_signal(sender.into(), seq, audience, signal, now);
            }
            Update::Confirmed(clients) => self.confirmed_elsewhere(from, &clients),
            Update::Closed => {
                self.peer_left(from, now);
            }
        }
    }

    /// Reconciles the session with the whole part of another gateway.
    fn apply_part(&mut self, from: &Instance, part: Part, now: Duration) {
        let known = self.peers().contains(from);
        if !known {
            // It has sent its part first, and needs this gateway's.
            self.share(from, now);
        }
        if let Some(shared) = &mut self.shared {
            shared.unsure.retain(|it| it != from);
            shared.hearsay.retain(|_, other| other.home != *from);
            shared.complete.retain(|it| it != from);
            shared.complete.extend(part.complete.then(|| from.clone()));
        }
        for (gateway, seq) in part.servers {
            self.server_advanced(gateway, seq, from);
        }
        // Clients of members that are new here may have missed something that was sent before.
        let position = self.history.mark().position.saturating_sub(1);
        let named = part.members.iter().chain(part.others.iter().map(|other| &other.state));
        let named = named.map(|state| state.record.info.id);
        let new: HashSet<_> = named.filter(|id| !self.roster.contains(*id)).collect();
        let mut refused = Vec::new();
        let mut listed = HashSet::with_capacity(part.members.len());
        for state in part.members {
            let id = state.record.info.id;
            listed.insert(id);
            if !self.claimed(from, state.rebased(position), now) {
                refused.push(id);
            }
        }
        for id in part.orphaned {
            self.report_orphan(id, now);
        }
        self.bury_all(part.destroyed, now);
        for other in part.others {
            let state = other.state.rebased(position);
            self.hear_of(Other { state, ..other }, now);
        }
        self.release_remote(from, |id| !listed.contains(&id), now);
        if !refused.is_empty() {
            self.send_update(std::slice::from_ref(from), Update::Refused { ids: refused });
        }
        self.mark_unseen(&new);
    }

    /// The history here may lack signals that these connections have not received.
    fn mark_unseen(&mut self, ids: &HashSet<ConnectionId>) {
        let unseen: Arc<Unseen> = Arc::new(self.sent_counts().collect());
        for (id, resumable) in self.remote_tickets() {
            if ids.contains(&id) {
                resumable.set_unseen(Some(unseen.clone()));
            }
        }
    }

    fn apply_signal(
        &mut self,
        from: Sender,
        seq: u64,
        audience: Audience,
        signal: Signal<'_>,
        now: Duration,
    ) {
        match &from {
            Sender::Connection(id) => {
                // The client of a connection that has moved here sends its signals again.
                let Some(member) = self.roster.get_remote(*id) else { return };
                if seq <= member.record.sent {
                    return;
                }
                member.record.sent = seq;
            }
            Sender::Server(gateway) => {
                let Some(shared) = &mut self.shared else { return };
                let last = shared.servers.entry(gateway.clone()).or_default();
                if seq <= *last {
                    return;
                }
                let after = std::mem::replace(last, seq);
                if seq - after > 1 {
                    self.lose(from.clone(), after, seq - 1);
                }
            }
        }
        self.deliver(SignalEncodings::new(from, seq, signal), audience, now);
    }

    /// Removes a remote member, and announces its end.
    pub(super) fn remove_remote(
        &mut self,
        id: ConnectionId,
        reason: DisconnectReason,
        now: Duration,
    ) {
        let Some(member) = self.roster.remove_remote(id) else { return };
        self.announce_end(&member.record, reason, now);
        if reason == DisconnectReason::ForceDisconnected
            && let Some(resumable) = member.resumable
        {
            self.context.evicted.push(&self.id, id, resumable);
        }
    }

    /// Disconnects a member of another gateway on behalf of a moderator or a server. `false` if
    /// there is none, or if another gateway may have it that cannot be reached.
    pub(super) fn disconnect_remote(&mut self, id: ConnectionId, now: Duration) -> bool {
        let Some(member) = self.roster.get_remote(id) else { return false };
        if member.orphan_until.is_none() {
            let home = member.home.clone();
            self.send_update(std::slice::from_ref(&home), Update::Disconnect { id });
            return true;
        }
        let (info, sent) = (member.record.info.clone(), member.record.sent);
        if self.is_unsure() {
            return false;
        }
        let reason = DisconnectReason::ForceDisconnected;
        self.context.observer.destroyed(&self.id, &info, reason);
        self.remove_remote(id, reason, now);
        self.publish(|| Update::Destroyed { id, reason, sent });
        true
    }
}

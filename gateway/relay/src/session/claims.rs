//! Claims of gateways to connections of a shared session. Each connection has one home.

use std::{collections::HashMap, time::Duration};

use signalbox_protocol::{CloseReason, ConnectionId, DisconnectReason, Sender};

use super::{
    resumable::Resumable,
    roster::{Member, MemberState, RemoteMember},
    state::SessionState,
};
use crate::{
    instance::Instance,
    update::{Other, Update},
};

impl SessionState {
    /// A remote member, if it is on this gateway.
    pub(super) fn of(&mut self, home: &Instance, id: ConnectionId) -> Option<&mut RemoteMember> {
        self.roster.get_remote(id).filter(|member| member.home == *home)
    }

    /// Another gateway has reported a connection as destroyed. Here it ends, too, even if its client
    /// has resumed here meanwhile.
    pub(super) fn heard_destroyed(
        &mut self,
        id: ConnectionId,
        reason: DisconnectReason,
        now: Duration,
    ) {
        if self.roster.get(id).is_some() {
            if reason != DisconnectReason::ForceDisconnected {
                self.remove(id, CloseReason::NetworkDisconnected, now);
            } else if let Some(member) = self.remove(id, CloseReason::ForceDisconnected, now) {
                self.evict(member);
            }
        } else if self.roster.get_remote(id).is_some() {
            self.remove_remote(id, reason, now);
        } else if let Some(shared) = &mut self.shared {
            shared.bury(id);
        }
    }

    /// Another gateway tells of a connection on a third one.
    ///
    /// That counts once the third one is lost.
    pub(super) fn hear_of(&mut self, other: Other, now: Duration) {
        let Other { state, home, left } = other;
        let Some(cluster) = &self.context.cluster else { return };
        if home == cluster.instance {
            return;
        }
        let (id, generation) = (state.record.info.id, state.record.generation);
        if cluster.backplane.is_live(&home) {
            // It reports its connections itself.
            if self.roster.get_remote(id).is_some() {
                self.moved(id, home, generation, now);
            } else if self.opening
                && !self.roster.contains(id)
                && let Some(shared) = &mut self.shared
            {
                shared.hearsay.entry(id).or_insert(Other { state, home, left });
            }
            return;
        }
        let orphan_until = self.roster.get_remote(id).and_then(|member| member.orphan_until);
        let Some(window) = state.resumable.as_ref().map(Resumable::orphan_window) else {
            // It has ended with its gateway.
            if !self.roster.contains(id)
                && let Some(shared) = &mut self.shared
            {
                shared.bury(id);
            }
            return;
        };
        if self.claimed(&home, state, now)
            && let Some(member) = self.roster.get_remote(id)
            && member.home == home
        {
            let until = || now.saturating_add(left.unwrap_or(window));
            member.orphan_until = Some(orphan_until.unwrap_or_else(until));
        }
    }

    /// A connection has moved to another gateway.
    pub(super) fn moved(
        &mut self,
        id: ConnectionId,
        home: Instance,
        generation: u64,
        now: Duration,
    ) {
        let live = self.context.cluster.as_ref().is_some_and(|it| it.backplane.is_live(&home));
        if let Some(member) = self.roster.get_remote(id)
            && let Some(resumable) = &member.resumable
            && prevails((generation, &home), (member.record.generation, &member.home))
        {
            let until = now.saturating_add(resumable.orphan_window());
            member.orphan_until = (!live).then(|| member.orphan_until.unwrap_or(until));
            member.record.generation = generation;
            member.home = home;
        }
    }

    /// All gateways have answered to the opening of the session. Connections that they have not
    /// named no longer exist.
    pub(crate) fn finish_opening(&mut self) {
        self.opening = false;
        if let Some(shared) = &mut self.shared {
            shared.hearsay = HashMap::new();
        }
    }

    /// Another gateway claims a connection. `false` if the connection was destroyed before.
    pub(super) fn claimed(&mut self, by: &Instance, state: MemberState, now: Duration) -> bool {
        let id = state.record.info.id;
        let claim = (state.record.generation, by);
        let here = self.context.cluster.as_ref().map(|cluster| &cluster.instance);
        if let (Some(member), Some(here)) = (self.roster.get(id), here) {
            if prevails(claim, (member.record().generation, here)) {
                let (sent, generation) = (state.record.sent, state.record.generation);
                self.publish(|| Update::Moved { id, home: by.clone(), generation });
                self.give_away(id, by, CloseReason::Superseded);
                self.catch_up(id, sent);
                self.update_remote(id, by, state);
            }
            return true;
        }
        let Some(member) = self.roster.get_remote(id) else {
            // Signals that it sent before are not in the history here.
            let (id, sent) = (state.record.info.id, state.record.sent);
            let appeared = self.appear(by, state, now);
            if appeared && sent > 0 {
                self.lose(Sender::Connection(id), 0, sent);
                if let Some(shared) = &mut self.shared {
                    shared.incomplete = true;
                }
            }
            return appeared;
        };
        let (generation, home) = (member.record.generation, &member.home);
        if home == by && generation <= claim.0 || prevails(claim, (generation, home)) {
            if here.is_some_and(|here| home == here) {
                // Its link has ended here, and no other gateway knows that it has moved.
                self.publish(|| Update::Moved { id, home: by.clone(), generation: claim.0 });
            }
            self.catch_up(id, state.record.sent);
            self.update_remote(id, by, state);
        }
        true
    }

    pub(super) fn update_remote(&mut self, id: ConnectionId, home: &Instance, state: MemberState) {
        if let Some(mut member) = self.roster.remove_remote(id) {
            member.update(state, home.clone());
            self.roster.insert_remote(member);
        }
    }

    /// Adds a connection of another gateway, and announces it. `false` if it was destroyed before.
    pub(super) fn appear(&mut self, home: &Instance, state: MemberState, now: Duration) -> bool {
        let id = state.record.info.id;
        if self.shared.as_ref().is_some_and(|shared| shared.destroyed.contains(id)) {
            if let Some(resumable) = state.resumable
                && self.context.evicted.has(id)
            {
                // It had moved meanwhile, and has another ticket.
                self.context.evicted.push(&self.id, id, resumable);
            }
            return false;
        }
        if !self.roster.contains(id) {
            self.announce(&state.record.info.clone(), now);
            self.roster.insert_remote(RemoteMember::new(state, home.clone()));
        }
        true
    }

    /// Gives a connection of this gateway to another one that has taken it.
    pub(super) fn give_away(&mut self, id: ConnectionId, to: &Instance, reason: CloseReason) {
        let Some(member) = self.roster.remove(id) else { return };
        if let Some(link) = member.link() {
            link.outbox.close(reason);
        }
        let (record, resumable) = member.into_parts();
        let member = RemoteMember::new(MemberState { record, resumable }, to.clone());
        self.roster.insert_remote(member);
    }

    /// Takes a connection of another gateway, whose client resumes here.
    ///
    /// The client may have confirmations of signals that only its lost gateway has seen. Those
    /// signals are lost for everybody else.
    pub(super) fn take(&mut self, id: ConnectionId, accepted: u64) {
        self.catch_up(id, accepted);
        if let Some(member) = self.roster.remove_remote(id)
            && let Some(resumable) = member.resumable
        {
            let member = Member::restored(member.record, resumable, &self.context.settings());
            self.roster.insert_taken(member);
        }
    }
}

/// Whether a claim to a connection prevails over another.
fn prevails(claim: (u64, &Instance), over: (u64, &Instance)) -> bool {
    claim.0 > over.0 || (claim.0 == over.0 && claim.1 < over.1)
}

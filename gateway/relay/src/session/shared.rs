//! A shared session: a session with members on several gateways.
//!
//! Each gateway of a session sends an [`Update`] for every change of its own part to the others,
//! which apply it at the point at which a local change would take effect. So every gateway has all
//! members, all signals and the whole history, and a connection can be resumed on any of them.
//!
//! A connection has one *home*. Resuming on another gateway moves it there, with a higher
//! generation. If two gateways claim a connection, the higher generation wins, and on a tie the
//! lower instance; the other gateway closes its link.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use signalbox_protocol::{
    CloseReason, ConnectionId, DisconnectReason, GatewayId, GatewayMessage, Sender, Signal,
    message::Lost,
};

use super::{
    log_entry::Audience,
    resumable::{Resumable, Unseen},
    roster::{Member, MemberState, RemoteMember},
    state::SessionState,
    tombstones::Tombstones,
};
use crate::{
    encoding::{EventEncodings, SignalEncodings},
    error::ResumeError,
    instance::Instance,
    outgoing::Outgoing,
    resume::ResumeRequest,
    seat::Seat,
    update::{Other, Part, SessionUpdate, Update},
};

/// Numbers that this gateway's servers skip when the session is opened again. The previous run of
/// this gateway may have sent signals that no other gateway has seen.
const SERVER_SEQ_STEP: u64 = 1_000_000;

/// The state that a session has once it has been shared with another gateway.
#[derive(Default)]
pub(crate) struct Shared {
    /// The other gateways of the session, which receive the updates of this one.
    peers: Vec<Instance>,
    /// The peers whose histories reach back to the beginning of the session.
    complete: Vec<Instance>,
    /// Whether the history here does not reach back to the beginning of the session.
    incomplete: bool,
    /// The last signal of the servers of each other gateway.
    servers: HashMap<GatewayId, u64>,
    destroyed: Tombstones,
    /// Connections of live gateways that have not sent their parts yet, known from other gateways.
    hearsay: HashMap<ConnectionId, Other>,
}

impl Shared {
    pub(crate) fn bury(&mut self, id: ConnectionId) {
        self.destroyed.insert(id);
    }
}

/// Maximum time of an update on its way. A gateway whose updates take longer is lost.
const MAX_BUS_DELAY: Duration = Duration::from_millis(2500);

/// Signals of one sender that a client may have received, or have confirmations of, and that no
/// remaining gateway has seen. A client that claims more is rejected.
const MAX_UNSEEN: u64 = 65_536;

/// The same for servers, which skip numbers.
const MAX_UNSEEN_OF_SERVERS: u64 = 8 * SERVER_SEQ_STEP;

/// Gateways of which a session counts the servers' signals.
const MAX_SERVERS: usize = 256;

fn check_unseen(from: &Sender, seen: u64, claimed: u64) -> Result<(), ResumeError> {
    let most = if from.is_server() { MAX_UNSEEN_OF_SERVERS } else { MAX_UNSEEN };
    if claimed - seen > most { Err(ResumeError::CursorAhead) } else { Ok(()) }
}

/// Whether a claim to a connection prevails over another.
fn prevails(claim: (u64, &Instance), over: (u64, &Instance)) -> bool {
    claim.0 > over.0 || (claim.0 == over.0 && claim.1 < over.1)
}

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

    /// Whether there are connections of lost gateways.
    pub(crate) fn has_orphans(&self) -> bool {
        self.roster.remote().any(|it| it.orphan_until.is_some())
    }

    /// Whether a connection is on this gateway.
    pub(crate) fn is_local(&self, id: ConnectionId) -> bool {
        self.roster.get(id).is_some()
    }

    /// The last known signal of each gateway's servers.
    fn server_counts(&self) -> impl Iterator<Item = (GatewayId, u64)> {
        let others = self.shared.iter().flat_map(|shared| shared.servers.clone());
        others.chain([(self.context.settings.gateway.clone(), self.server_seq)])
    }

    /// The last known signal of a gateway's servers.
    pub(super) fn server_count(&self, gateway: &GatewayId) -> Option<u64> {
        if *gateway == self.context.settings.gateway {
            return Some(self.server_seq);
        }
        self.shared.as_ref()?.servers.get(gateway).copied()
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

    fn send_update(&self, peers: &[Instance], update: Update<'_>) {
        if let Some(cluster) = &self.context.cluster {
            cluster.backplane.publish(&self.id, peers, &SessionUpdate(update));
        }
    }

    /// Adds another gateway to the session, and sends it this gateway's part.
    pub(crate) fn share(&mut self, peer: &Instance, now: Duration) {
        let shared = self.shared.get_or_insert_default();
        if !shared.peers.contains(peer) {
            shared.peers.push(peer.clone());
        }
        let part = Update::Part(self.part(now));
        self.send_update(std::slice::from_ref(peer), part);
    }

    fn part(&self, now: Duration) -> Part {
        let others = self.roster.remote().map(|member| {
            let (record, resumable) = (member.record.clone(), member.resumable.clone());
            Other {
                state: MemberState { record, resumable },
                home: member.home.clone(),
                left: member.orphan_until.map(|until| until.saturating_sub(now)),
            }
        });
        let hearsay = self.shared.iter().flat_map(|shared| shared.hearsay.values().cloned());
        let others = others.chain(hearsay).collect();
        let destroyed = self.shared.iter().flat_map(|shared| shared.destroyed.iter());
        Part {
            destroyed: destroyed.collect(),
            complete: self.is_history_complete(),
            members: self.roster.iter().map(Member::state).collect(),
            others,
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
                if !self.claimed(from, state.rebased(position), now) {
                    self.send_update(std::slice::from_ref(from), Update::Refused { ids: vec![id] });
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
                let member = self.roster.get_remote(id);
                if member.is_some_and(|it| it.home == *from || it.orphan_until.is_some()) {
                    self.catch_up(id, sent);
                    self.remove_remote(id, reason, now);
                }
            }
            Update::Disconnect { id } => {
                self.force_disconnect(id, now);
            }
            Update::Refused { ids } => {
                for id in ids {
                    self.remove(id, CloseReason::NetworkDisconnected, now);
                }
            }
            Update::Closed => self.peer_left(from, now),
        }
    }

    /// A remote member, if it is on this gateway.
    fn of(&mut self, home: &Instance, id: ConnectionId) -> Option<&mut RemoteMember> {
        self.roster.get_remote(id).filter(|member| member.home == *home)
    }

    /// Reconciles the session with the whole part of another gateway.
    fn apply_part(&mut self, from: &Instance, part: Part, now: Duration) {
        let known = self.peers().contains(from);
        if !known {
            // It has sent its part first, and needs this gateway's.
            self.share(from, now);
        }
        if let Some(shared) = &mut self.shared {
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
        let mut listed = Vec::with_capacity(part.members.len());
        for state in part.members {
            let id = state.record.info.id;
            listed.push(id);
            if !self.claimed(from, state.rebased(position), now) {
                refused.push(id);
            }
        }
        if let Some(shared) = &mut self.shared {
            shared.hearsay.retain(|_, other| other.home != *from);
        }
        for id in part.destroyed {
            self.heard_destroyed(id, now);
        }
        for other in part.others {
            let state = other.state.rebased(position);
            self.hear_of(from, Other { state, ..other }, now);
        }
        let gone = self.roster.remote().filter(|it| it.home == *from);
        let gone = gone.map(|it| it.record.info.id).filter(|id| !listed.contains(id));
        for id in gone.collect::<Vec<_>>() {
            self.remove_remote(id, DisconnectReason::NetworkDisconnected, now);
        }
        if !refused.is_empty() {
            self.send_update(std::slice::from_ref(from), Update::Refused { ids: refused });
        }
        let unseen: Arc<Unseen> = Arc::new(self.sent_counts().collect());
        for (id, resumable) in self.remote_tickets() {
            if new.contains(&id) {
                resumable.set_unseen(Some(unseen.clone()));
            }
        }
    }

    /// The last signal of each sender.
    pub(super) fn sent_counts(&self) -> impl Iterator<Item = (Sender, u64)> {
        let members = self.roster.records().map(|it| (it.info.id.into(), it.sent));
        members.chain(self.server_counts().map(|(gateway, seq)| (Sender::Server(gateway), seq)))
    }

    /// Another gateway has reported a connection as destroyed. Here it ends, too.
    fn heard_destroyed(&mut self, id: ConnectionId, now: Duration) {
        if self.roster.get(id).is_some() {
            self.remove(id, CloseReason::NetworkDisconnected, now);
        } else if self.roster.get_remote(id).is_some() {
            self.remove_remote(id, DisconnectReason::NetworkDisconnected, now);
        } else if let Some(shared) = &mut self.shared {
            shared.bury(id);
        }
    }

    /// Another gateway tells of a connection on a third one.
    fn hear_of(&mut self, from: &Instance, other: Other, now: Duration) {
        let id = other.state.record.info.id;
        let generation = other.state.record.generation;
        if let Some(member) = self.of(from, id) {
            // The connection has moved on from there, which its new home reports itself.
            if prevails((generation, &other.home), (member.record.generation, from)) {
                member.home = other.home;
                member.record.generation = generation;
            }
            return;
        }
        let Some(cluster) = &self.context.cluster else { return };
        if self.roster.contains(id) || other.home == cluster.instance {
            return;
        }
        if other.left.is_none() && cluster.backplane.is_live(&other.home) {
            // It reports the connection itself, unless it is lost before.
            if let Some(shared) = &mut self.shared {
                shared.hearsay.insert(id, other);
            }
            return;
        }
        self.adopt(other, now);
    }

    /// Adds a connection of a lost gateway, known from a third one.
    fn adopt(&mut self, other: Other, now: Duration) {
        let Other { state, home, left } = other;
        let (id, window) = (state.record.info.id, state.resumable.as_ref().map(Resumable::window));
        let Some(window) = window else {
            // It has ended with its gateway.
            if let Some(shared) = &mut self.shared {
                shared.bury(id);
            }
            return;
        };
        if !self.roster.contains(id)
            && self.claimed(&home, state, now)
            && let Some(member) = self.roster.get_remote(id)
        {
            member.orphan_until = Some(now + left.unwrap_or(window));
        }
    }

    /// Another gateway claims a connection. `false` if the connection was destroyed before.
    fn claimed(&mut self, by: &Instance, state: MemberState, now: Duration) -> bool {
        let id = state.record.info.id;
        let claim = (state.record.generation, by);
        let here = self.context.cluster.as_ref().map(|cluster| &cluster.instance);
        if let (Some(member), Some(here)) = (self.roster.get(id), here) {
            if prevails(claim, (member.record().generation, here)) {
                let sent = state.record.sent;
                self.give_away(id, by);
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
            self.catch_up(id, state.record.sent);
            self.update_remote(id, by, state);
        }
        true
    }

    fn update_remote(&mut self, id: ConnectionId, home: &Instance, state: MemberState) {
        if let Some(mut member) = self.roster.remove_remote(id) {
            member.update(state, home.clone());
            self.roster.insert_remote(member);
        }
    }

    /// Adds a connection of another gateway, and announces it. `false` if it was destroyed before.
    fn appear(&mut self, home: &Instance, state: MemberState, now: Duration) -> bool {
        let id = state.record.info.id;
        if self.shared.as_ref().is_some_and(|shared| shared.destroyed.contains(id)) {
            return false;
        }
        if !self.roster.contains(id) {
            self.announce(&state.record.info.clone(), now);
            self.roster.insert_remote(RemoteMember::new(state, home.clone()));
        }
        true
    }

    /// Gives a connection of this gateway to another one that has taken it.
    fn give_away(&mut self, id: ConnectionId, to: &Instance) {
        let Some(member) = self.roster.remove(id) else { return };
        if let Some(link) = member.link() {
            link.outbox.close(CloseReason::Superseded);
        }
        let (record, resumable) = member.into_parts();
        let member = RemoteMember { record, resumable, home: to.clone(), orphan_until: None };
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
            let settings = &self.context.settings;
            self.roster.insert_taken(Member::restored(member.record, resumable, settings));
        }
    }

    /// Checks the position of a client in a shared session. The client may have received signals
    /// that only a lost gateway has seen, which are lost for everybody else.
    pub(super) fn check_shared_position(
        &mut self,
        request: &ResumeRequest<'_>,
    ) -> Result<(), ResumeError> {
        let own = self.roster.record(request.connection).map_or(0, |record| record.sent);
        if request.accepted > own {
            if self.roster.get(request.connection).is_some() {
                return Err(ResumeError::CursorAhead);
            }
            check_unseen(&request.connection.into(), own, request.accepted)?;
        }
        let mut unseen = Vec::new();
        for (from, seq) in request.cursors {
            let (sent, lost) = match from {
                Sender::Connection(id) => {
                    let Some(record) = self.roster.record(*id) else { continue };
                    let sent = record.sent;
                    let remote = self.roster.get_remote(*id);
                    (sent, remote.is_some_and(|remote| remote.orphan_until.is_some()))
                }
                Sender::Server(gateway) => {
                    let live = self.peers().iter().any(|peer| peer.gateway == *gateway);
                    (self.server_count(gateway).unwrap_or(0), !live)
                }
            };
            if *seq > sent {
                check_unseen(from, sent, *seq)?;
                if !lost {
                    return Err(ResumeError::Behind);
                }
                unseen.push((from, *seq));
            }
        }
        for (from, seq) in unseen {
            match from {
                Sender::Connection(id) => self.catch_up(*id, seq),
                Sender::Server(gateway) if *gateway == self.context.settings.gateway => {
                    self.server_seq = seq;
                    self.skip_server_seqs = true;
                }
                Sender::Server(gateway) => {
                    if let Some(shared) = &mut self.shared
                        && (shared.servers.contains_key(gateway)
                            || shared.servers.len() < MAX_SERVERS)
                    {
                        let after = shared.servers.insert(gateway.clone(), seq).unwrap_or(0);
                        self.lose(Sender::Server(gateway.clone()), after, seq);
                    }
                }
            }
        }
        Ok(())
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
                *last = seq;
            }
        }
        self.deliver(SignalEncodings::new(from, seq, signal), audience, now);
    }

    /// Another gateway knows of signals of a gateway's servers up to this one.
    fn server_advanced(&mut self, gateway: GatewayId, seq: u64, by: &Instance) {
        if gateway == self.context.settings.gateway {
            if seq > self.server_seq {
                self.server_seq = seq;
                self.skip_server_seqs = true;
            }
            return;
        }
        let Some(shared) = &mut self.shared else { return };
        let last = shared.servers.entry(gateway.clone()).or_default();
        let (after, own) = (*last, gateway == by.gateway);
        *last = seq.max(after);
        if seq <= after {
            return;
        }
        // A gateway's own count is exact; what others know of it may still be on its way.
        if own || after == 0 {
            self.lose(Sender::Server(gateway), after, seq);
        }
    }

    /// Signals of a remote member up to this one have been sent. Those that have not arrived are
    /// lost.
    pub(super) fn catch_up(&mut self, id: ConnectionId, sent: u64) {
        let Some(member) = self.roster.get_remote(id) else { return };
        let after = member.record.sent;
        if sent > after {
            member.record.sent = sent;
            self.lose(Sender::Connection(id), after, sent);
        }
    }

    /// Reports lost signals to the members of this gateway.
    fn lose(&mut self, from: Sender, after: u64, until: u64) {
        let lost = vec![Lost { from: from.clone(), after, until }];
        let mut gap =
            EventEncodings::new(GatewayMessage::Gap { lost, presence: false, present: 0 });
        self.push_all(|member, link| {
            member.receives().then(|| Outgoing::Frame(gap.get(link.encoding)))
        });
        // For detached members, and for those of other gateways whose clients resume here.
        self.history.record_loss(from, until, self.roster.has_resumable());
    }

    /// The number of the next signal of this gateway's servers.
    pub(super) fn next_server_seq(&mut self) -> u64 {
        let step = if std::mem::take(&mut self.skip_server_seqs) { SERVER_SEQ_STEP } else { 1 };
        self.server_seq += step;
        self.server_seq
    }

    /// Removes a remote member, and announces its end.
    fn remove_remote(&mut self, id: ConnectionId, reason: DisconnectReason, now: Duration) {
        let Some(member) = self.roster.remove_remote(id) else { return };
        self.announce_end(&member.record, reason, now);
        if reason == DisconnectReason::ForceDisconnected
            && let Some(resumable) = member.resumable
        {
            self.context.evicted.push(id, resumable);
        }
    }

    /// Disconnects a member of another gateway on behalf of a moderator or a server. `false` if
    /// there is none.
    pub(super) fn disconnect_remote(&mut self, id: ConnectionId, now: Duration) -> bool {
        let Some(member) = self.roster.get_remote(id) else { return false };
        if member.orphan_until.is_none() {
            let home = member.home.clone();
            self.send_update(std::slice::from_ref(&home), Update::Disconnect { id });
            return true;
        }
        let reason = DisconnectReason::ForceDisconnected;
        let (info, sent) = (member.record.info.clone(), member.record.sent);
        self.context.observer.destroyed(&self.id, &info, reason);
        self.remove_remote(id, reason, now);
        self.publish(|| Update::Destroyed { id, reason, sent });
        true
    }

    /// Another gateway has left the session, without connections.
    pub(crate) fn peer_left(&mut self, peer: &Instance, now: Duration) {
        self.remove_peer(peer);
        if let Some(shared) = &mut self.shared {
            shared.hearsay.retain(|_, other| other.home != *peer);
        }
        let gone = self.roster.remote().filter(|it| it.home == *peer && it.orphan_until.is_none());
        for id in gone.map(|it| it.record.info.id).collect::<Vec<_>>() {
            self.remove_remote(id, DisconnectReason::NetworkDisconnected, now);
        }
    }

    fn remove_peer(&mut self, peer: &Instance) {
        if let Some(shared) = &mut self.shared {
            shared.peers.retain(|it| it != peer);
            shared.complete.retain(|it| it != peer);
        }
    }

    /// Another gateway is lost. Its resumable connections are kept for their windows; all others
    /// end. Returns whether connections are kept.
    pub(crate) fn peer_lost(&mut self, peer: &Instance, now: Duration) -> bool {
        self.remove_peer(peer);
        let mut ended = Vec::new();
        let mut kept = false;
        for member in self.roster.remote_mut().filter(|it| it.home == *peer) {
            match &member.resumable {
                Some(resumable) => {
                    member.orphan_until.get_or_insert(now + resumable.window());
                    kept = true;
                }
                None => ended.push(member.record.info.id),
            }
        }
        for id in ended {
            self.end_orphan(id, peer, now);
        }
        let hearsay: Vec<Other> = self
            .shared
            .iter_mut()
            .flat_map(|shared| {
                shared.hearsay.extract_if(|_, other| other.home == *peer).map(|(_, other)| other)
            })
            .collect();
        for other in hearsay {
            self.adopt(other, now);
        }
        kept || self.has_orphans()
    }

    /// This gateway has been cut off from the others since a time. They have reported those of its
    /// connections as destroyed whose windows have passed, and those without one, which therefore
    /// end.
    pub(crate) fn fence(&mut self, since: Duration, now: Duration) {
        if self.peers().is_empty() {
            return;
        }
        let ended = self.roster.iter().filter(|member| {
            member.resumable().is_none_or(|resumable| since + resumable.window() <= now)
        });
        for id in ended.map(Member::id).collect::<Vec<_>>() {
            self.remove(id, CloseReason::NetworkDisconnected, now);
        }
    }

    /// The resume window of a connection has passed. It ends, unless it may have been resumed on
    /// another gateway from which this one is cut off: then it is kept until that is known.
    pub(crate) fn expire(&mut self, seat: Seat, now: Duration) {
        let here = self.context.cluster.as_ref().filter(|_| self.is_cut_off());
        let here = here.map(|cluster| cluster.instance.clone());
        if let Some(here) = here
            && !self.peers().is_empty()
            && self.roster.seated(seat).is_some()
        {
            self.give_away(seat.id, &here);
            if let Some(member) = self.roster.get_remote(seat.id) {
                member.orphan_until = Some(now);
            }
        } else {
            self.leave(seat, CloseReason::NetworkDisconnected, now);
        }
    }

    fn is_cut_off(&self) -> bool {
        let cluster = self.context.cluster.as_ref();
        cluster.is_some_and(|cluster| cluster.cut_off.load(Ordering::Relaxed))
    }

    /// Ends the connections of lost gateways whose windows have passed. Returns whether some are
    /// left.
    pub(crate) fn expire_orphans(&mut self, now: Duration) -> bool {
        if self.is_cut_off() {
            return self.has_orphans();
        }
        let mut left = false;
        let mut expired = Vec::new();
        for member in self.roster.remote() {
            match member.orphan_until {
                Some(until) if until <= now => {
                    expired.push((member.record.info.id, member.home.clone()));
                }
                Some(_) => left = true,
                None => {}
            }
        }
        for (id, home) in expired {
            self.end_orphan(id, &home, now);
        }
        left
    }

    /// Ends a connection of a lost gateway. One of the remaining gateways reports it to the
    /// observer.
    fn end_orphan(&mut self, id: ConnectionId, home: &Instance, now: Duration) {
        let Some(info) = self.roster.record(id).map(|record| record.info.clone()) else { return };
        if self.is_keeper(id, home) {
            let reason = DisconnectReason::NetworkDisconnected;
            self.context.observer.destroyed(&self.id, &info, reason);
        }
        self.remove_remote(id, DisconnectReason::NetworkDisconnected, now);
    }

    /// Whether this gateway is the one that acts for a lost gateway's connection: the one with the
    /// highest rendezvous hash among the remaining gateways of the session.
    fn is_keeper(&self, id: ConnectionId, lost: &Instance) -> bool {
        let Some(cluster) = &self.context.cluster else { return false };
        let own = rendezvous(id, &cluster.instance);
        let peers = self.peers().iter().filter(|peer| *peer != lost);
        peers.map(|peer| rendezvous(id, peer)).all(|other| own > other)
    }
}

/// A hash of a connection and a gateway (FNV-1a), equal on all gateways.
fn rendezvous(id: ConnectionId, gateway: &Instance) -> (u64, u64) {
    let epoch = gateway.epoch.to_be_bytes();
    let bytes = id.as_bytes().iter().chain(gateway.gateway.as_str().as_bytes()).chain(&epoch);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash, gateway.epoch)
}

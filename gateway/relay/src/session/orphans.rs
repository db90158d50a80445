//! Lost gateways of a shared session, and the connections that they leave behind.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use signalbox_protocol::{CloseReason, ConnectionId, ConnectionInfo, DisconnectReason};

use super::{
    peers::LeftReport, resumable::Resumable, roster::Member, shared::MAX_BUS_DELAY,
    state::SessionState,
};
use crate::{instance::Instance, seat::Seat, stable_hash::stable_hash, update::Update};

/// Maximum time for which the loss of a gateway may be unnoticed.
const UNNOTICED: Duration = Duration::from_secs(3);

/// Reports that are remembered for a gateway that may be lost; the oldest is forgotten first.
const MAX_LEFT: usize = 4096;

impl SessionState {
    /// Whether there are connections of lost gateways.
    pub(crate) fn has_orphans(&self) -> bool {
        self.roster.remote().any(|it| it.orphan_until.is_some())
    }

    /// Another gateway has left the session. Returns whether connections are kept.
    pub(crate) fn peer_left(&mut self, peer: &Instance, now: Duration) -> bool {
        self.remove_peer(peer);
        if let Some(shared) = &mut self.shared {
            shared.hearsay.retain(|_, other| other.home != *peer);
        }
        self.release_remote(peer, |_| true, now);
        self.has_orphans()
    }

    /// Another gateway no longer has some of its connections. Those that were destroyed are known as
    /// such, unless that update was lost; the others have moved on, which their new homes report.
    pub(super) fn release_remote(
        &mut self,
        peer: &Instance,
        released: impl Fn(ConnectionId) -> bool,
        now: Duration,
    ) {
        let (mut ended, mut kept) = (Vec::new(), Vec::new());
        for member in self.roster.remote_mut().filter(|it| it.home == *peer) {
            let id = member.record.info.id;
            if !released(id) {
                continue;
            }
            if member.resumable.is_some() {
                let until = now.saturating_add(MAX_BUS_DELAY);
                kept.push(id);
                member.orphan_until = Some(member.orphan_until.map_or(until, |it| it.min(until)));
            } else {
                ended.push(id);
            }
        }
        for id in ended {
            self.remove_remote(id, DisconnectReason::NetworkDisconnected, now);
        }
        self.appoint_reporters(kept);
    }

    pub(super) fn remove_peer(&mut self, peer: &Instance) {
        if let Some(shared) = &mut self.shared {
            shared.peers.retain(|it| it != peer);
            shared.complete.retain(|it| it != peer);
            shared.unsure.retain(|it| it != peer);
        }
    }

    /// Another gateway is lost. Its resumable connections are kept for their orphan windows; all others
    /// end. The remaining gateways exchange their parts, as some may have received updates of the
    /// lost one that others have not. Returns whether connections are kept.
    pub(crate) fn peer_lost(&mut self, peer: &Instance, now: Duration) -> bool {
        let was_peer = self.peers().contains(peer);
        self.remove_peer(peer);
        self.report_for(peer, now);
        let orphans = self.roster.remote();
        let orphans = orphans.filter(|it| it.home == *peer || it.orphan_until.is_some());
        self.appoint_reporters(orphans.map(|it| it.record.info.id).collect());
        let mut ended = Vec::new();
        for member in self.roster.remote_mut().filter(|it| it.home == *peer) {
            match &member.resumable {
                Some(resumable) => {
                    member
                        .orphan_until
                        .get_or_insert(now.saturating_add(resumable.orphan_window()));
                }
                None => ended.push(member.record.info.id),
            }
        }
        for id in ended {
            self.end_orphan(id, now);
        }
        let hearsay = self.shared.iter_mut().flat_map(|shared| {
            shared.hearsay.extract_if(|_, other| other.home == *peer).map(|(_, other)| other)
        });
        let hearsay: Vec<_> = hearsay.collect();
        let concerned = was_peer || !hearsay.is_empty();
        for other in hearsay {
            self.hear_of(other, now);
        }
        if concerned && !self.peers().is_empty() {
            let part = Update::Part(self.part(now));
            self.send_update(self.peers(), part);
        }
        self.has_orphans()
    }

    /// Another gateway has lost a gateway, too: sends it the part of the session if it has
    /// connections of the lost one.
    pub(crate) fn share_orphans(&mut self, lost: &Instance, peer: &Instance, now: Duration) {
        if self.peers().contains(peer) && self.roster.remote().any(|it| it.home == *lost) {
            self.share(peer, now);
        }
    }

    /// This gateway has been cut off from the others since a time. They have reported those of its
    /// connections as destroyed whose orphan windows have passed, and those without one, unless they have
    /// resumed there. Their links end. Connections that have joined meanwhile stay: the others do not
    /// know them.
    pub(crate) fn fence(&mut self, since: Duration, now: Duration) {
        let Some(shared) = &mut self.shared else { return };
        if shared.peers.is_empty() {
            return;
        }
        shared.unsure.clone_from(&shared.peers);
        let ended = self.roster.iter().filter(|member| {
            let window = member.resumable().map_or(Duration::ZERO, Resumable::orphan_window);
            member.joined() < since && since.saturating_add(window) <= now
        });
        for id in ended.map(Member::id).collect::<Vec<_>>() {
            self.suspend(id, now);
        }
    }

    /// The orphan window of a connection has passed. It ends, unless it has been left to other
    /// gateways, or may have been resumed on another gateway from which this one is cut off: then it
    /// is kept until that is known.
    pub(crate) fn expire(&mut self, seat: Seat, now: Duration) {
        if self.is_left_to_peers() {
            return;
        }
        if self.is_unsure() && self.roster.seated(seat).is_some() {
            self.suspend(seat.id, now);
        } else {
            self.leave(seat, CloseReason::NetworkDisconnected, now);
        }
    }

    /// Ends the link of a connection. Whether the connection has ended is for the other gateways to
    /// say.
    fn suspend(&mut self, id: ConnectionId, now: Duration) {
        let Some(cluster) = &self.context.cluster else { return };
        let here = cluster.instance.clone();
        self.give_away(id, &here, CloseReason::NetworkDisconnected);
        if let Some(member) = self.roster.get_remote(id) {
            member.orphan_until = Some(now);
        }
    }

    /// Whether other gateways may have taken or destroyed connections without the knowledge of this
    /// one.
    pub(super) fn is_unsure(&self) -> bool {
        let unsure = self.shared.as_ref().is_some_and(|shared| !shared.unsure.is_empty());
        unsure || self.is_cut_off() && !self.peers().is_empty()
    }

    pub(super) fn is_cut_off(&self) -> bool {
        let cluster = self.context.cluster.as_ref();
        cluster.is_some_and(|cluster| cluster.cut_off.load(Ordering::Relaxed))
    }

    /// Ends the connections of lost gateways whose orphan windows have passed. Returns whether some are
    /// left.
    pub(crate) fn expire_orphans(&mut self, now: Duration) -> bool {
        if self.is_unsure() {
            return self.has_orphans();
        }
        let mut left = false;
        let mut expired = Vec::new();
        for member in self.roster.remote() {
            match member.orphan_until {
                Some(until) if until <= now => {
                    expired.push(member.record.info.id);
                }
                Some(_) => left = true,
                None => {}
            }
        }
        for id in expired {
            self.end_orphan(id, now);
        }
        left
    }

    /// Ends a connection of a lost gateway, or one of this gateway that no other has taken.
    fn end_orphan(&mut self, id: ConnectionId, now: Duration) {
        let Some(member) = self.roster.get_remote(id) else { return };
        let (info, sent) = (member.record.info.clone(), member.record.sent);
        let home = member.home.clone();
        let reason = DisconnectReason::NetworkDisconnected;
        if self.is_here(&home) {
            self.context.observer.destroyed(&self.id, &info, reason);
            self.publish(|| Update::Destroyed { id, reason, sent });
        } else {
            self.report_orphan(id, now);
        }
        self.remove_remote(id, reason, now);
    }

    /// A connection of a lost gateway ends: reports it to the observer, or leaves that to another
    /// gateway. This gateway may not have noticed the loss yet.
    pub(super) fn report_orphan(&mut self, id: ConnectionId, now: Duration) {
        let Some(member) = self.roster.get_remote(id) else { return };
        let (info, home) = (member.record.info.clone(), member.home.clone());
        let decided = member.orphan_until.map(|_| member.reported_here);
        if self.is_here(&home) {
            // The others have lost this gateway, and report it.
            return;
        }
        if decided.unwrap_or_else(|| self.reporter(id, &home).is_none()) {
            let reason = DisconnectReason::NetworkDisconnected;
            self.context.observer.destroyed(&self.id, &info, reason);
        } else {
            self.leave_report(info, &home, now);
        }
        if let Some(shared) = &mut self.shared {
            shared.destroyed.insert_orphan(id);
        }
    }

    fn is_here(&self, home: &Instance) -> bool {
        self.context.cluster.as_ref().is_some_and(|it| it.instance == *home)
    }

    /// Decides whether this gateway reports the ends of these connections of lost gateways. It is
    /// decided at the loss, on which the gateways agree better than on the end: a gateway that opens
    /// the session meanwhile does not report.
    fn appoint_reporters(&mut self, ids: Vec<ConnectionId>) {
        for id in ids {
            let Some(home) = self.roster.get_remote(id).map(|it| it.home.clone()) else { continue };
            let reported_here = self.reporter(id, &home).is_none();
            if let Some(member) = self.roster.get_remote(id) {
                member.reported_here |= reported_here;
            }
        }
    }

    /// Leaves a report to another gateway.
    fn leave_report(&mut self, info: Arc<ConnectionInfo>, home: &Instance, now: Duration) {
        let Some(reporter) = self.reporter(info.id, home).cloned() else { return };
        let Some(shared) = &mut self.shared else { return };
        let is_recent = |left: &LeftReport| now.saturating_sub(left.at) <= UNNOTICED;
        while shared.left.len() >= MAX_LEFT
            || shared.left.front().is_some_and(|left| !is_recent(left))
        {
            shared.left.pop_front();
        }
        shared.left.push_back(LeftReport { reporter, info, at: now });
    }

    /// A gateway is lost: reports what was left to it when it may have been lost already.
    fn report_for(&mut self, lost: &Instance, now: Duration) {
        let left = self.shared.as_mut().map(|it| std::mem::take(&mut it.left)).unwrap_or_default();
        for left in left {
            if left.reporter == *lost && now.saturating_sub(left.at) <= UNNOTICED {
                if self.reporter(left.info.id, lost).is_none() {
                    let reason = DisconnectReason::NetworkDisconnected;
                    self.context.observer.destroyed(&self.id, &left.info, reason);
                }
            } else if let Some(shared) = &mut self.shared {
                shared.left.push_back(left);
            }
        }
    }

    /// The gateway that reports the end of a lost gateway's connection: the one with the highest
    /// rendezvous hash among the remaining gateways of the session. None if it is this one.
    fn reporter(&self, id: ConnectionId, lost: &Instance) -> Option<&Instance> {
        let cluster = self.context.cluster.as_ref()?;
        let own = rendezvous(id, &cluster.instance);
        let peers = self.peers().iter().filter(|peer| *peer != lost);
        let highest = peers.max_by_key(|peer| rendezvous(id, peer))?;
        (rendezvous(id, highest) > own).then_some(highest)
    }
}

/// A hash of a connection and a gateway, equal on all gateways.
fn rendezvous(id: ConnectionId, gateway: &Instance) -> (u64, u64) {
    let epoch = gateway.epoch.to_be_bytes();
    let bytes = id.as_bytes().iter().chain(gateway.gateway.as_str().as_bytes()).chain(&epoch);
    (stable_hash(bytes), gateway.epoch)
}

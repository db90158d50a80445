//! Lost gateways of a shared session, and the connections that they leave behind.

use std::{sync::atomic::Ordering, time::Duration};

use signalbox_protocol::{CloseReason, ConnectionId, DisconnectReason};

use super::{roster::Member, state::SessionState};
use crate::{instance::Instance, seat::Seat, stable_hash::stable_hash, update::Other};

impl SessionState {
    /// Whether there are connections of lost gateways.
    pub(crate) fn has_orphans(&self) -> bool {
        self.roster.remote().any(|it| it.orphan_until.is_some())
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

    pub(super) fn remove_peer(&mut self, peer: &Instance) {
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
                    member.orphan_until.get_or_insert(now.saturating_add(resumable.window()));
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
            member
                .resumable()
                .is_none_or(|resumable| since.saturating_add(resumable.window()) <= now)
        });
        for id in ended.map(Member::id).collect::<Vec<_>>() {
            self.remove(id, CloseReason::NetworkDisconnected, now);
        }
    }

    /// The resume window of a connection has passed. It ends, unless it has been left to other
    /// gateways, or may have been resumed on another gateway from which this one is cut off: then it
    /// is kept until that is known.
    pub(crate) fn expire(&mut self, seat: Seat, now: Duration) {
        if self.is_left_to_peers() {
            return;
        }
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

    pub(super) fn is_cut_off(&self) -> bool {
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
    pub(super) fn end_orphan(&mut self, id: ConnectionId, home: &Instance, now: Duration) {
        let Some(info) = self.roster.record(id).map(|record| record.info.clone()) else { return };
        if self.is_keeper(id, home) {
            let reason = DisconnectReason::NetworkDisconnected;
            self.context.observer.destroyed(&self.id, &info, reason);
        }
        self.remove_remote(id, DisconnectReason::NetworkDisconnected, now);
    }

    /// Whether this gateway is the one that acts for a lost gateway's connection: the one with the
    /// highest rendezvous hash among the remaining gateways of the session.
    pub(super) fn is_keeper(&self, id: ConnectionId, lost: &Instance) -> bool {
        let Some(cluster) = &self.context.cluster else { return false };
        let own = rendezvous(id, &cluster.instance);
        let peers = self.peers().iter().filter(|peer| *peer != lost);
        peers.map(|peer| rendezvous(id, peer)).all(|other| own > other)
    }
}

/// A hash of a connection and a gateway, equal on all gateways.
fn rendezvous(id: ConnectionId, gateway: &Instance) -> (u64, u64) {
    let epoch = gateway.epoch.to_be_bytes();
    let bytes = id.as_bytes().iter().chain(gateway.gateway.as_str().as_bytes()).chain(&epoch);
    (stable_hash(bytes), gateway.epoch)
}

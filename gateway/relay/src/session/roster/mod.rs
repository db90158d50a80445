//! The roster: the members of a session, and their counts.

mod member;
mod remote;

use std::{collections::HashMap, sync::Arc};

use indexmap::IndexMap;
use signalbox_protocol::{ConnectionId, ConnectionInfo, Transport};

pub(crate) use self::{
    member::{Member, MemberLink, MemberRecord, MemberState},
    remote::RemoteMember,
};
use crate::{seat::Seat, session::resumable::Resumable, turns::SMALL_SESSION};

/// The members of a session. All changes of membership go through it, so that its counts are right.
#[derive(Default)]
pub(crate) struct Roster {
    /// Connections on this gateway.
    by_id: IndexMap<ConnectionId, Member>,
    /// Connections on other gateways.
    remote: HashMap<ConnectionId, RemoteMember>,
    /// Number of resumable members, on all gateways. One more if other gateways may announce some.
    resumable: usize,
    /// Whether other gateways may announce resumable members that have been there for a moment.
    expecting: bool,
    /// Changes that the directory has not counted yet.
    changes: Vec<RosterChange>,
}

/// A change of the members on this gateway that their project's usage has yet to follow. A new
/// member is counted before it joins.
#[derive(Debug)]
pub(crate) enum RosterChange {
    Removed(Arc<ConnectionInfo>),
    /// Taken over from another gateway.
    Taken(Arc<ConnectionInfo>),
}

impl RosterChange {
    fn removed(member: &Member) -> Self {
        Self::Removed(member.record().info.clone())
    }
}

impl Roster {
    /// Number of members on all gateways.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len() + self.remote.len()
    }

    /// Whether there is no member on any gateway.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is a member on this gateway, or one whose gateway is lost.
    pub(crate) fn is_in_use(&self) -> bool {
        !self.by_id.is_empty() || self.remote.values().any(|it| it.orphan_until.is_some())
    }

    pub(crate) fn contains(&self, id: ConnectionId) -> bool {
        self.by_id.contains_key(&id) || self.remote.contains_key(&id)
    }

    /// The record of a member on any gateway.
    pub(crate) fn record(&self, id: ConnectionId) -> Option<&MemberRecord> {
        let local = self.by_id.get(&id).map(Member::record);
        local.or_else(|| self.remote.get(&id).map(|remote| &remote.record))
    }

    /// The resume state of a member on any gateway.
    pub(crate) fn resumable(&self, id: ConnectionId) -> Option<&Resumable> {
        match self.by_id.get(&id) {
            Some(member) => member.resumable(),
            None => self.remote.get(&id)?.resumable.as_ref(),
        }
    }

    /// The records of all members on all gateways.
    pub(crate) fn records(&self) -> impl Iterator<Item = &MemberRecord> {
        let local = self.by_id.values().map(Member::record);
        local.chain(self.remote.values().map(|remote| &remote.record))
    }

    pub(crate) fn remote(&self) -> impl Iterator<Item = &RemoteMember> {
        self.remote.values()
    }

    pub(crate) fn remote_mut(&mut self) -> impl Iterator<Item = &mut RemoteMember> {
        self.remote.values_mut()
    }

    pub(crate) fn get_remote(&mut self, id: ConnectionId) -> Option<&mut RemoteMember> {
        self.remote.get_mut(&id)
    }

    pub(crate) fn insert_remote(&mut self, member: RemoteMember) {
        self.resumable += usize::from(member.resumable.is_some());
        if let Some(replaced) = self.remote.insert(member.record.info.id, member) {
            self.resumable -= usize::from(replaced.resumable.is_some());
        }
    }

    pub(crate) fn remove_remote(&mut self, id: ConnectionId) -> Option<RemoteMember> {
        let member = self.remote.remove(&id)?;
        self.resumable -= usize::from(member.resumable.is_some());
        Some(member)
    }

    /// Adds a connection that this gateway has taken over.
    pub(crate) fn insert_taken(&mut self, member: Member) {
        self.changes.push(RosterChange::Taken(member.record().info.clone()));
        self.insert(member);
    }

    /// Other gateways may announce resumable members from now on.
    pub(crate) fn expect_resumable(&mut self) {
        self.resumable += usize::from(!self.expecting);
        self.expecting = true;
    }

    /// Whether a member on any gateway is resumable, or may be before this gateway knows it.
    pub(crate) fn has_resumable(&self) -> bool {
        self.resumable > 0
    }

    /// Whether a push to all members on this gateway may wake their links at once.
    pub(crate) fn is_small(&self) -> bool {
        self.by_id.len() <= SMALL_SESSION
    }

    /// The members on this gateway.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.by_id.values()
    }

    /// The member, if it is on this gateway.
    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Member> {
        self.by_id.get(&id)
    }

    /// The member, if this is its present link.
    pub(crate) fn seated(&mut self, seat: Seat) -> Option<&mut Member> {
        self.seated_at(seat).map(|(_, member)| member)
    }

    /// The member and its index, if this is its present link. The index is valid until a member is
    /// removed.
    pub(crate) fn seated_at(&mut self, seat: Seat) -> Option<(usize, &mut Member)> {
        let (index, _, member) = self.by_id.get_full_mut(&seat.id)?;
        (member.seat() == seat).then_some((index, member))
    }

    pub(crate) fn at_mut(&mut self, index: usize) -> Option<&mut Member> {
        self.by_id.get_index_mut(index).map(|(_, member)| member)
    }

    pub(crate) fn at(&self, index: usize) -> Option<&Member> {
        self.by_id.get_index(index).map(|(_, member)| member)
    }

    /// Descriptions of all members, oldest first.
    pub(crate) fn present(&self) -> Vec<Arc<ConnectionInfo>> {
        let mut present: Vec<_> = self.records().map(|it| it.info.clone()).collect();
        present.sort_by_key(|info| info.created_at);
        present
    }

    pub(crate) fn insert(&mut self, member: Member) {
        self.resumable += usize::from(member.resumable().is_some());
        if let Some(replaced) = self.by_id.insert(member.id(), member) {
            self.changes.push(RosterChange::removed(&replaced));
            self.resumable -= usize::from(replaced.resumable().is_some());
        }
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Member> {
        let member = self.by_id.swap_remove(&id)?;
        self.changes.push(RosterChange::removed(&member));
        self.resumable -= usize::from(member.resumable().is_some());
        Some(member)
    }

    /// Removes all members of this gateway.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Member> {
        self.changes.extend(self.by_id.values().map(RosterChange::removed));
        let remote = self.remote.values().filter(|it| it.resumable.is_some()).count();
        self.resumable = remote + usize::from(self.expecting);
        self.by_id.drain(..).map(|(_, member)| member)
    }

    /// Takes the link of a resumable member away, and returns it.
    pub(crate) fn detach(&mut self, seat: Seat) -> Option<MemberLink> {
        self.seated(seat)?.detach()
    }

    /// Gives a member a new link. Returns the member, and its old link if it had one.
    pub(crate) fn attach(
        &mut self,
        id: ConnectionId,
        link: MemberLink,
        transport: Transport,
        attempt: u32,
    ) -> Option<(&mut Member, Option<MemberLink>)> {
        let member = self.by_id.get_mut(&id)?;
        let old_link = member.attach(link, transport, attempt);
        Some((member, old_link))
    }

    /// Changes since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<RosterChange> {
        std::mem::take(&mut self.changes)
    }
}

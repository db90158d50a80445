//! The roster: the members of a session, and their counts.

mod member;

use std::sync::Arc;

use indexmap::IndexMap;
use signalbox_protocol::{ConnectionId, ConnectionInfo, Transport};

pub(crate) use self::member::{Member, MemberLink, MemberRecord};
use crate::seat::Seat;

/// The members of a session. All changes of membership go through it, so that its counts are right.
#[derive(Default)]
pub(crate) struct Roster {
    by_id: IndexMap<ConnectionId, Member>,
    /// Number of resumable members.
    resumable: usize,
    /// Number of removed members that the directory has not subtracted yet.
    removed: usize,
}

impl Roster {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(crate) fn contains(&self, id: ConnectionId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Whether at least one member is resumable.
    pub(crate) fn has_resumable(&self) -> bool {
        self.resumable > 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_id.values()
    }

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

    pub(crate) fn at(&self, index: usize) -> Option<&Member> {
        self.by_id.get_index(index).map(|(_, member)| member)
    }

    /// Descriptions of all members, oldest first.
    pub(crate) fn present(&self) -> Vec<Arc<ConnectionInfo>> {
        let mut present: Vec<_> = self.iter().map(|it| it.record().info.clone()).collect();
        present.sort_by_key(|info| info.created_at);
        present
    }

    pub(crate) fn insert(&mut self, member: Member) {
        self.resumable += usize::from(member.resumable().is_some());
        if let Some(replaced) = self.by_id.insert(member.id(), member) {
            self.removed += 1;
            self.resumable -= usize::from(replaced.resumable().is_some());
        }
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Member> {
        let member = self.by_id.swap_remove(&id)?;
        self.removed += 1;
        self.resumable -= usize::from(member.resumable().is_some());
        Some(member)
    }

    /// Removes all members.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Member> {
        self.removed += self.by_id.len();
        self.resumable = 0;
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
    ) -> Option<(&mut Member, Option<MemberLink>)> {
        let member = self.by_id.get_mut(&id)?;
        let old_link = member.attach(link, transport);
        Some((member, old_link))
    }

    /// Number of members removed since the last call.
    pub(crate) fn take_removed(&mut self) -> usize {
        std::mem::take(&mut self.removed)
    }
}

//! A remote member: a connection on another gateway.

use std::time::Duration;

use super::member::{MemberRecord, MemberState};
use crate::{instance::Instance, session::resumable::Resumable};

/// A connection on another gateway, or on one that is lost.
pub(crate) struct RemoteMember {
    pub(crate) record: MemberRecord,
    pub(crate) resumable: Option<Resumable>,
    /// The gateway that the connection is, or was last, on.
    pub(crate) home: Instance,
    /// When the connection ends, if its gateway is lost and no other gateway takes it.
    pub(crate) orphan_until: Option<Duration>,
    /// If it ends so, whether this gateway reports it to the observer.
    pub(crate) reported_here: bool,
}

impl RemoteMember {
    /// A connection that is new to this gateway. Its tickets count from a position of the history
    /// here.
    pub(crate) fn new(state: MemberState, home: Instance) -> Self {
        let MemberState { record, resumable } = state;
        Self { record, resumable, home, orphan_until: None, reported_here: false }
    }

    /// Applies a newer state. The entries of the history here that the client may miss stay
    /// the same.
    pub(crate) fn update(&mut self, state: MemberState, home: Instance) {
        let position = self.resumable.as_ref().map(Resumable::position);
        let unseen = self.resumable.as_ref().and_then(Resumable::unseen).cloned();
        let sent = self.record.sent.max(state.record.sent);
        let reported_here = self.reported_here && self.home == home;
        let receipts = self.resumable.as_mut().and_then(Resumable::take_receipts);
        *self = Self::new(state.rebased(position.unwrap_or_default()), home);
        self.record.sent = sent;
        self.reported_here = reported_here;
        if let Some(resumable) = &mut self.resumable {
            resumable.set_unseen(unseen);
            // Of a lost gateway's updates, some may have arrived here alone.
            if let (Some(receipts), Some(known)) = (resumable.receipts_mut(), receipts) {
                receipts.merge(&known);
            }
        }
    }
}

//! Disconnection of several members by a server.

use std::{sync::Arc, time::Duration};

use signalbox_protocol::{CloseReason, ConnectionId, ConnectionInfo};

use super::{
    roster::{Member, MemberRecord},
    state::SessionState,
};
use crate::token::TokenIdentity;

impl SessionState {
    /// Disconnects the members on this gateway that `matches` selects, and those of lost gateways
    /// whose ends this one reports. All of its own are removed before the others are notified:
    /// notifying each of the end of the others would take the square of their number. Returns their
    /// number.
    pub(crate) fn disconnect_matching(
        &mut self,
        matches: impl Fn(&ConnectionInfo, &TokenIdentity) -> bool,
        now: Duration,
    ) -> usize {
        let is_selected = |record: &MemberRecord| matches(&record.info, &record.token);
        let selected = self.roster.iter().filter(|member| is_selected(member.record()));
        let selected: Vec<_> = selected.map(Member::id).collect();
        let reason = CloseReason::ForceDisconnected;
        let removed: Vec<_> =
            selected.into_iter().filter_map(|id| self.take_out(id, reason)).collect();
        let own = removed.len();
        for member in removed {
            self.report_end(member.record(), reason.disconnect_reason(), now);
            self.evict(member);
        }
        let orphans = self.roster.remote().filter(|it| it.orphan_until.is_some());
        let orphans = orphans.filter(|it| it.reported_here && is_selected(&it.record));
        let orphans: Vec<_> = orphans.map(|it| it.record.info.id).collect();
        own + orphans.into_iter().filter(|id| self.disconnect_remote(*id, now)).count()
    }

    /// The description of a member on any gateway, and the token with which it joined.
    pub(crate) fn token(
        &self,
        connection: ConnectionId,
    ) -> Option<(Arc<ConnectionInfo>, TokenIdentity)> {
        let record = self.roster.record(connection)?;
        Some((record.info.clone(), record.token))
    }
}

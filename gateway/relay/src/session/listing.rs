//! Descriptions of a session's members on this gateway, for operators.

use super::{roster::Member, state::SessionState};
use crate::listing::{ConnectionPage, ListedConnection, SessionSize};

impl SessionState {
    /// Number of members.
    pub(crate) fn size(&self) -> SessionSize {
        let here = self.roster.iter().len();
        SessionSize { here, elsewhere: self.roster.len() - here }
    }

    /// At most `limit` members on this gateway before a position, from the last position down. A member
    /// that leaves is replaced by the last one. So a member may move to a lower position only, and
    /// pages that go down miss none.
    pub(crate) fn list_connections(&self, before: Option<usize>, limit: usize) -> ConnectionPage {
        let end = self.roster.iter().len().min(before.unwrap_or(usize::MAX));
        let start = end.saturating_sub(limit);
        let members = (start..end).rev().filter_map(|position| self.roster.at(position));
        let connections = members.map(describe).collect();
        ConnectionPage { connections, next: (start > 0).then_some(start) }
    }
}

fn describe(member: &Member) -> ListedConnection {
    let record = member.record();
    ListedConnection {
        info: record.info.clone(),
        role: record.role,
        transport: record.transport,
        codec: record.codec,
        resumable: member.resumable().is_some(),
        sent: record.sent,
        outbox: member.link().map(|link| link.outbox.status()),
    }
}

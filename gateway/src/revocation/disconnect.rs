//! Disconnection of the connections that a matcher selects.

use std::sync::Arc;

use signalbox_protocol::ProjectKey;

use super::{
    change::{NewRevocation, Revocation, RevocationChange},
    identity::Presented,
    list::ListFull,
    matcher::Matcher,
};
use crate::services::Services;

/// A revocation that has taken effect.
pub(crate) struct Revoked {
    pub(crate) revocation: Arc<Revocation>,
    /// The changes of the list, for other gateways. None if an earlier revocation covers this one,
    /// which is then returned.
    pub(crate) changes: Vec<RevocationChange>,
    /// Number of connections of this gateway that were disconnected.
    pub(crate) disconnected: usize,
}

/// Revokes tokens, and disconnects the connections of this gateway that have joined with one.
pub(crate) fn revoke(services: &Services, new: NewRevocation) -> Result<Revoked, ListFull> {
    let (revocation, changes) = services.revocations().revoke(new)?;
    let disconnected = disconnect_revoked(services, &revocation);
    Ok(Revoked { revocation, changes, disconnected })
}

/// Applies changes that were made by an earlier run or by another gateway. Connections of this
/// gateway whose tokens are newly revoked are disconnected.
pub(crate) fn merge(services: &Services, changes: Vec<RevocationChange>) -> usize {
    let new = services.revocations().merge(changes);
    new.iter().map(|revocation| disconnect_revoked(services, revocation)).sum()
}

fn disconnect_revoked(services: &Services, revocation: &Revocation) -> usize {
    let is_revoked = revocation.predicate();
    disconnect_if(services, &revocation.project, &revocation.matcher, is_revoked)
}

/// Disconnects the connections of this gateway that a matcher selects. Returns their number.
pub(crate) fn disconnect(services: &Services, project: &ProjectKey, matcher: &Matcher) -> usize {
    disconnect_if(services, project, matcher, matcher.predicate())
}

fn disconnect_if(
    services: &Services,
    project: &ProjectKey,
    matcher: &Matcher,
    is_selected: impl Fn(&Presented<'_>) -> bool,
) -> usize {
    let session = matcher.session.as_ref();
    let now = services.uptime();
    services.relay().disconnect_matching(
        project,
        session,
        |session, info, token| is_selected(&Presented { session, data: &info.data, token: *token }),
        now,
    )
}

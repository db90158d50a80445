//! Disconnection of the connections that a matcher selects.

use std::sync::Arc;

use signalbox_protocol::ProjectKey;

use super::{
    change::{NewRevocation, Revocation, RevocationChange, RevocationId},
    identity::Presented,
    list::{ListFull, Revocations},
    matcher::Matcher,
    update::RevocationUpdate,
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
    RevocationUpdate::of(&changes).for_each(|update| update.send(services));
    Ok(Revoked { revocation, changes, disconnected })
}

/// Deletes a revocation. `false` if there is none with this id.
pub(crate) fn delete(services: &Services, project: &ProjectKey, id: RevocationId) -> bool {
    let deletion = services.revocations().delete(project, id);
    let updates = RevocationUpdate::of(deletion.as_slice());
    updates.for_each(|update| update.send(services));
    deletion.is_some()
}

/// The whole list, for a gateway that may not know it: messages for [`apply`].
pub(crate) fn export(services: &Services) -> Vec<Vec<u8>> {
    let changes = services.revocations().read(Revocations::changes);
    RevocationUpdate::of(&changes).map(|update| update.encode()).collect()
}

/// Applies a message of another gateway. `false` if it is malformed.
pub(crate) fn apply(services: &Services, message: &[u8]) -> bool {
    match postcard::from_bytes(message) {
        Ok(RevocationUpdate::Changes(changes)) => {
            merge(services, changes);
        }
        Ok(RevocationUpdate::Disconnect { project, matcher }) => {
            disconnect_here(services, &project, &matcher);
        }
        Err(_) => return false,
    }
    true
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

/// Disconnects the connections that a matcher selects, on all gateways. Returns the number of those
/// that were on this one.
pub(crate) fn disconnect(services: &Services, project: &ProjectKey, matcher: &Matcher) -> usize {
    let (key, matched) = (project.clone(), matcher.clone());
    RevocationUpdate::Disconnect { project: key, matcher: matched }.send(services);
    disconnect_here(services, project, matcher)
}

/// Disconnects the connections of this gateway that a matcher selects. Returns their number.
fn disconnect_here(services: &Services, project: &ProjectKey, matcher: &Matcher) -> usize {
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

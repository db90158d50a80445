//! The list of revocations of a running gateway.

use std::sync::Arc;

use parking_lot::RwLock;
use signalbox_protocol::ProjectKey;
use tokio::sync::Notify;

use super::{
    change::{NewRevocation, Revocation, RevocationChange, RevocationId},
    list::{ListFull, Revocations},
};
use crate::clock::unix_time;

/// The list, shared by links, REST handlers and the state file. Relay locks may be taken under its
/// lock, never the other way round.
#[derive(Default)]
pub(crate) struct RevocationList {
    list: RwLock<Revocations>,
    changed: Notify,
}

impl RevocationList {
    /// Runs `act`, which checks a token and admits its client. No revocation is added meanwhile: it
    /// is either seen by the check, or it finds the new connection.
    pub(crate) fn read<T>(&self, act: impl FnOnce(&Revocations) -> T) -> T {
        act(&self.list.read())
    }

    /// Adds a revocation. Returns it together with the changes; if another one covers it, that one
    /// and no changes. Its connections are still to be disconnected.
    pub(super) fn revoke(
        &self,
        new: NewRevocation,
    ) -> Result<(Arc<Revocation>, Vec<RevocationChange>), ListFull> {
        let added = self.list.write().add(new, now())?;
        self.changed.notify_one();
        Ok(added)
    }

    /// Deletes a revocation. None if there is none with this id.
    pub(crate) fn delete(
        &self,
        project: &ProjectKey,
        id: RevocationId,
    ) -> Option<RevocationChange> {
        let deletion = self.list.write().delete(project, id, now())?;
        self.changed.notify_one();
        Some(deletion)
    }

    /// Applies changes that were made elsewhere. Returns the revocations that are new, whose
    /// connections are still to be disconnected.
    pub(super) fn merge(&self, changes: Vec<RevocationChange>) -> Vec<Arc<Revocation>> {
        let new = self.list.write().merge(changes, now());
        self.changed.notify_one();
        new
    }

    /// The revocations of a project, oldest first.
    pub(crate) fn of_project(&self, project: &ProjectKey) -> Vec<Arc<Revocation>> {
        self.read(|list| list.of_project(project, now()))
    }

    /// Waits for the next change, or returns at once if there was one since the last call.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

fn now() -> u64 {
    unix_time().as_secs()
}

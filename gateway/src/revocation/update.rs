//! Updates about revocations and disconnections for the other gateways of a cluster.

use serde::{Deserialize, Serialize};
use signalbox_protocol::ProjectKey;

use super::{change::RevocationChange, matcher::Matcher};
use crate::services::Services;

/// Changes in one update.
const CHANGES: usize = 256;

/// A message to all other gateways. New variants are appended, as gateways are upgraded one after
/// the other.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum RevocationUpdate {
    /// Changes of the list of revocations.
    Changes(Vec<RevocationChange>),
    /// A project's server disconnects the connections that a matcher selects.
    Disconnect { project: ProjectKey, matcher: Matcher },
}

impl RevocationUpdate {
    /// The changes, in updates of bounded size.
    pub(super) fn of(changes: &[RevocationChange]) -> impl Iterator<Item = Self> {
        changes.chunks(CHANGES).map(|changes| Self::Changes(changes.to_vec()))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        // Serialization into memory cannot fail for these types.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Sends it to all other gateways, if there are any.
    pub(super) fn send(&self, services: &Services) {
        if let Some(cluster) = services.cluster() {
            cluster.announce(&self.encode());
        }
    }
}

//! Messages between gateways that do not belong to a session: revocations of tokens, and
//! disconnections of users.

use std::sync::{Arc, OnceLock, Weak};

use serde::{Deserialize, Serialize};
use signalbox_cluster::SharedState;
use signalbox_protocol::ProjectKey;

use crate::{
    revocation::{self, Matcher, RevocationChange, Revocations},
    services::Services,
};

/// Changes in one message.
const CHANGES: usize = 256;

/// A message to all other gateways. New variants are appended, as gateways are upgraded one after
/// the other.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum News {
    /// Changes of the list of revocations.
    Revocations(Vec<RevocationChange>),
    /// A project's server disconnects the connections that a matcher selects.
    Disconnect { project: ProjectKey, matcher: Matcher },
}

impl News {
    pub(super) fn encode(&self) -> Vec<u8> {
        // Serialization into memory cannot fail for these types.
        postcard::to_stdvec(self).unwrap_or_default()
    }
}

/// Applies the news of other gateways to the services of this one.
#[derive(Default)]
pub(super) struct NewsDesk {
    /// Set before the gateway joins the cluster.
    services: OnceLock<Weak<Services>>,
}

impl NewsDesk {
    pub(super) fn attach(&self, services: &Arc<Services>) {
        self.services.get_or_init(|| Arc::downgrade(services));
    }

    fn services(&self) -> Option<Arc<Services>> {
        self.services.get()?.upgrade()
    }
}

impl SharedState for NewsDesk {
    fn export(&self) -> Vec<Vec<u8>> {
        let Some(services) = self.services() else { return Vec::new() };
        let changes = services.revocations().read(Revocations::changes);
        let chunks = changes.chunks(CHANGES);
        chunks.map(|changes| News::Revocations(changes.to_vec()).encode()).collect()
    }

    fn apply(&self, message: &[u8]) -> bool {
        let Ok(news) = postcard::from_bytes(message) else { return false };
        let Some(services) = self.services() else { return true };
        match news {
            News::Revocations(changes) => {
                revocation::merge(&services, changes);
            }
            News::Disconnect { project, matcher } => {
                revocation::disconnect_here(&services, &project, &matcher);
            }
        }
        true
    }
}

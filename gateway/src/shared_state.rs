//! State that the gateways of a cluster share, apart from sessions: revocations.

use std::sync::{Arc, OnceLock, Weak};

use signalbox_cluster::SharedState;

use crate::{revocation, services::Services};

/// The shared state of this gateway. It is a part of the services.
#[derive(Default)]
pub(crate) struct GatewayState {
    /// Set before the gateway joins its cluster.
    services: OnceLock<Weak<Services>>,
}

impl GatewayState {
    pub(crate) fn attach(&self, services: &Arc<Services>) {
        self.services.get_or_init(|| Arc::downgrade(services));
    }

    fn services(&self) -> Option<Arc<Services>> {
        self.services.get()?.upgrade()
    }
}

impl SharedState for GatewayState {
    fn export(&self) -> Vec<Vec<u8>> {
        self.services().map(|services| revocation::export(&services)).unwrap_or_default()
    }

    fn apply(&self, message: &[u8]) -> bool {
        self.services().is_none_or(|services| revocation::apply(&services, message))
    }
}

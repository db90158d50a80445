//! AdmissionControl control: permits for clients that have not joined yet, and for idle server connections.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::LimitsConfig;

/// The permit of a client between accept and welcome. It is returned when its last clone is dropped.
pub(crate) type AdmissionPermit = Arc<OwnedSemaphorePermit>;

/// The gateway's permits.
pub(crate) struct AdmissionControl {
    /// For clients that have not joined yet. Each listener has its own, so that a flood on one port
    /// leaves the other open.
    quic: Arc<Semaphore>,
    tcp: Arc<Semaphore>,
    /// For HTTP connections of servers that have shown a credential.
    servers: Arc<Semaphore>,
}

impl AdmissionControl {
    pub(crate) fn new(limits: &LimitsConfig) -> Self {
        Self {
            quic: Arc::new(Semaphore::new(limits.pending_handshakes)),
            tcp: Arc::new(Semaphore::new(limits.pending_handshakes)),
            servers: Arc::new(Semaphore::new(limits.http_keep_alive_connections)),
        }
    }

    pub(crate) fn quic(&self) -> &Arc<Semaphore> {
        &self.quic
    }

    pub(crate) fn tcp(&self) -> &Arc<Semaphore> {
        &self.tcp
    }

    pub(crate) fn servers(&self) -> &Arc<Semaphore> {
        &self.servers
    }
}

//! The backplane: carries updates of shared sessions between gateways.

use signalbox_protocol::SessionId;

use crate::{instance::Instance, update::SessionUpdate};

/// Carries the updates of this gateway to its peers.
///
/// Between two gateways, updates must arrive in order, each at most once. When some are lost, the
/// receiver gets a new [part](crate::Relay::share) of each session before any later update.
///
/// The session is locked during a call. An implementation must return at once, and must not call
/// the relay.
pub trait Backplane: Send + Sync {
    /// Queues an update of a session for these gateways.
    fn publish(&self, session: &SessionId, peers: &[Instance], update: &SessionUpdate<'_>);

    /// Whether a gateway is alive, as far as this one knows.
    fn is_live(&self, gateway: &Instance) -> bool;
}

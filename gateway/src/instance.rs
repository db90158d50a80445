//! The identity of a running gateway.

use signalbox_protocol::GatewayId;
use signalbox_relay::Instance;

/// A new run of the gateway with this name. Its epoch is random, as a clock that is set back could
/// not tell a restart from an uninterrupted run.
pub(crate) fn start(gateway: GatewayId) -> Instance {
    let (epoch, _) = uuid::Uuid::new_v4().as_u64_pair();
    Instance { gateway, epoch }
}

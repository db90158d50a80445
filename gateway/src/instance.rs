//! The identity of a running gateway: its name, and the epoch of this run.

use std::fmt;

use signalbox_protocol::GatewayId;

/// One run of one gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instance {
    pub(crate) gateway: GatewayId,
    /// Random, new at each start of the process. It tells a restart from an uninterrupted run,
    /// which a clock that is set back could not.
    pub(crate) epoch: u64,
}

impl Instance {
    /// A new run of the gateway with this name.
    pub(crate) fn start(gateway: GatewayId) -> Self {
        let (epoch, _) = uuid::Uuid::new_v4().as_u64_pair();
        Self { gateway, epoch }
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:016x}", self.gateway, self.epoch)
    }
}

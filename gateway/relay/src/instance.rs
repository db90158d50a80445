//! The identity of a running gateway: its name, and the epoch of this run.

use std::fmt;

use serde::{Deserialize, Serialize};
use signalbox_protocol::GatewayId;

/// One run of one gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Instance {
    /// Its name.
    pub gateway: GatewayId,
    /// Random, new at each start of the process. It tells a restart from an uninterrupted run,
    /// which a clock that is set back could not.
    pub epoch: u64,
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:016x}", self.gateway, self.epoch)
    }
}

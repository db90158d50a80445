//! Usage of a project on one gateway, which the other gateways of a cluster count against its limits.

use serde::{Deserialize, Serialize};

/// Usage of a project on one gateway, or on several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectUse {
    /// Connections.
    pub connections: usize,
    /// Signals per second. Zero if the project has no limit for them.
    pub signals_per_second: u32,
}

impl ProjectUse {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            connections: self.connections.saturating_add(other.connections),
            signals_per_second: self.signals_per_second.saturating_add(other.signals_per_second),
        }
    }
}

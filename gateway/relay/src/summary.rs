//! A connection as the REST API lists it.

use std::sync::Arc;

use signalbox_protocol::{Codec, ConnectionInfo, Role, Transport};

/// A connection as its project's servers see it.
#[derive(Debug, Clone)]
pub struct ConnectionSummary {
    /// Its id, creation time and data.
    pub info: Arc<ConnectionInfo>,
    /// Its role.
    pub role: Role,
    /// Transport of its latest link.
    pub transport: Transport,
    /// Codec of its latest link.
    pub codec: Codec,
}

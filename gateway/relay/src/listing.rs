//! Descriptions of sessions and connections for operators.

use std::sync::Arc;

use signalbox_protocol::{Codec, ConnectionInfo, Role, Transport};

/// Number of a session's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionSize {
    /// Connections on this gateway, detached ones included.
    pub here: usize,
    /// Connections on other gateways, or on lost ones.
    pub elsewhere: usize,
}

/// Some connections of a session on this gateway, the latest first.
#[derive(Debug)]
pub struct ConnectionPage {
    /// The connections.
    pub connections: Vec<ListedConnection>,
    /// Position at which the next page begins; none if this is the last one.
    pub next: Option<usize>,
}

/// A connection on this gateway, as operators see it.
#[derive(Debug, Clone)]
pub struct ListedConnection {
    /// Its id, creation time and data.
    pub info: Arc<ConnectionInfo>,
    /// Its role.
    pub role: Role,
    /// Transport of its latest link.
    pub transport: Transport,
    /// Codec of its latest link.
    pub codec: Codec,
    /// Whether its client may resume it after the loss of its link.
    pub resumable: bool,
    /// Signals that it has sent over all of its links, rejected ones included.
    pub sent: u64,
    /// The messages to its client; none while it is detached.
    pub outbox: Option<OutboxStatus>,
}

/// Messages to one client over its present link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxStatus {
    /// Messages that the link has written.
    pub written: u64,
    /// Messages that wait to be written.
    pub frames: usize,
    /// Their bytes.
    pub bytes: usize,
}

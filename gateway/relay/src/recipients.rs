//! Recipients of a signal from a server.

use std::collections::HashSet;

use signalbox_protocol::ConnectionId;

/// Recipients of a signal from a server.
#[derive(Debug, Clone, Copy)]
pub enum Recipients<'a> {
    /// All members of the session.
    All,
    /// This connection.
    One(ConnectionId),
    /// These connections.
    Only(&'a HashSet<ConnectionId>),
    /// All members except these connections.
    Except(&'a HashSet<ConnectionId>),
}

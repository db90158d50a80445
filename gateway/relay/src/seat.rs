//! A seat: one particular link of a connection.

use signalbox_protocol::ConnectionId;

/// A connection and the generation of its link. Each resume raises the generation, so that calls
/// on behalf of an older link have no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) id: ConnectionId,
    pub(crate) generation: u64,
}

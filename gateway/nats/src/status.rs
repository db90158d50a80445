//! The state of the bus, for operators.

use std::time::Duration;

/// The state of the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusStatus {
    /// Whether the gateway is connected to NATS, and NATS delivers its messages.
    pub connected: bool,
    /// Since this time of the gateway's clock.
    pub since: Duration,
    /// The last error of NATS or of the connection, even if it has been overcome.
    pub last_error: Option<String>,
    /// Round-trip time of the last message of this gateway to itself.
    pub rtt: Option<Duration>,
    /// Messages passed to NATS.
    pub published: u64,
    /// Messages received, including the gateway's own heartbeats.
    pub received: u64,
    /// Messages that could not be passed to NATS. Channels repeat what they contained.
    pub dropped: u64,
    /// Received messages that were unusable.
    pub malformed: u64,
    /// Messages that were lost because this gateway received too slowly. Channels repeat them.
    pub slow: u64,
}

//! Settings of a relay, and the limits of a project.

use std::time::Duration;

use signalbox_protocol::GatewayId;

/// Settings of a relay. Every number is at least 1 unless its description says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Name of the gateway, which is the sender of signals from servers.
    pub gateway: GatewayId,
    /// Maximum number of connections in one session.
    pub connections_per_session: usize,
    /// Limits of each project without [limits of its own](crate::Relay::set_limits).
    pub project: ProjectLimits,
    /// Frames that may wait for one connection. One more closes it as a slow consumer.
    pub outbox_frames: usize,
    /// Bytes that may wait for one connection. More close it as a slow consumer.
    pub outbox_bytes: usize,
    /// Signals per second that one connection may send, averaged over two seconds; 0 means no
    /// limit. Signals above it are rejected as rate limited.
    pub signals_per_second: u32,
    /// Bytes of type and data per second that one connection may send in signals, averaged over one
    /// second; 0 means no limit. A connection above it [must wait](crate::SignalCost::wait).
    pub bytes_per_second: u32,
    /// Deliveries per second that the members of one session may cause, averaged over one second; 0
    /// means no limit. A signal to all causes one for each member, at least 64, and as many again for
    /// each full KiB of type and data. A connection above it must wait, unless it has caused less than an
    /// eighth itself.
    pub deliveries_per_second: u32,
    /// Whether subscribers may send signals. The vendor's documentation does not specify it.
    pub subscribers_may_send: bool,
    /// Bytes of history that a session keeps for detached members.
    pub history_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            gateway: GatewayId::default(),
            // The vendor's current limit.
            connections_per_session: 15_000,
            project: ProjectLimits::default(),
            outbox_frames: 4096,
            outbox_bytes: 1024 * 1024,
            signals_per_second: 1000,
            bytes_per_second: 256 * 1024,
            deliveries_per_second: 100_000,
            subscribers_may_send: false,
            history_bytes: 1024 * 1024,
        }
    }
}

/// Limits of one project, over all of its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProjectLimits {
    /// Maximum number of concurrent connections; at least 1.
    pub connections: usize,
    /// Maximum number of concurrent sessions; at least 1.
    pub sessions: usize,
    /// Maximum number of concurrent connections of one user on this gateway: of those with the same
    /// connection data, which is not empty; 0 means no limit.
    pub connections_per_user: usize,
    /// Signals per second of all its clients and servers, averaged over one second; 0 means no
    /// limit. Signals above it are rejected as rate limited.
    pub signals_per_second: u32,
    /// How long its sessions keep history for detached members; zero if connections cannot be
    /// resumable. A session keeps the value with which it was created.
    pub history_age: Duration,
}

impl Default for ProjectLimits {
    fn default() -> Self {
        // Every session has a connection, so that the number of connections bounds both.
        Self {
            connections: 100_000,
            sessions: 100_000,
            connections_per_user: 0,
            signals_per_second: 0,
            history_age: Duration::from_secs(60),
        }
    }
}

//! The state of a cluster, for operators.

use std::time::Duration;

use signalbox_relay::Instance;

/// The cluster as one gateway sees it.
#[derive(Debug, Clone)]
pub struct ClusterStatus {
    /// The gateway itself.
    pub instance: Instance,
    /// Time since its own heartbeat has come back over the bus. `None` if none ever has.
    pub echo_age: Option<Duration>,
    /// Whether this gateway has heard every live gateway: it has been connected to the bus for at
    /// least a lease.
    pub settled: bool,
    /// Another gateway with the same name, if one has been heard within the lease.
    pub duplicate: Option<Instance>,
    /// The other live gateways.
    pub peers: Vec<PeerStatus>,
    /// Channels to peers that have started over, since the gateway started.
    pub restarts: u64,
}

/// Another live gateway.
#[derive(Debug, Clone)]
pub struct PeerStatus {
    /// The gateway.
    pub instance: Instance,
    /// Time since its last heartbeat.
    pub heartbeat_age: Duration,
    /// Fragments that it has not confirmed.
    pub unconfirmed: usize,
}

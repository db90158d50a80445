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
    /// Fragments that were sent again because a peer lacked them, since the gateway started.
    pub resent: u64,
    /// Gaps in the signals of other gateways that were reported to sessions here, since the gateway
    /// started.
    pub gaps: u64,
    /// Sessions that are open on this gateway.
    pub sessions: usize,
    /// Those that are open on another gateway as well.
    pub shared_sessions: usize,
    /// Those with resumable connections of lost gateways.
    pub orphaned_sessions: usize,
}

/// Another live gateway.
#[derive(Debug, Clone)]
pub struct PeerStatus {
    /// The gateway.
    pub instance: Instance,
    /// Time since its last heartbeat.
    pub heartbeat_age: Duration,
    /// The last fragment that was sent to it, counted from 1 since the channel started.
    pub sent: u64,
    /// The last fragment that it has confirmed.
    pub confirmed: u64,
    /// Fragments that it has not confirmed, including those that have not been sent.
    pub unconfirmed: usize,
    /// The last fragment that was received from it, counted in the same way.
    pub received: u64,
}

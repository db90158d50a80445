//! State shared by all sessions of a relay.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64},
};

use crate::{
    backplane::Backplane, evicted::EvictedTickets, instance::Instance, observer::Observer,
    session::closed_sessions::ClosedSessions, settings::Settings, shared_counter::SharedCounter,
    turns::Turns,
};

/// Settings, observer, evicted tickets and turns of one relay.
pub(crate) struct RelayContext {
    pub(crate) settings: Settings,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) evicted: EvictedTickets,
    pub(crate) turns: Turns,
    /// Signals that were pushed, once for each receiver.
    pub(crate) deliveries: SharedCounter,
    /// None if the gateway is on its own.
    pub(crate) cluster: Option<ClusterContext>,
}

/// This gateway's place among several.
pub(crate) struct ClusterContext {
    pub(crate) instance: Instance,
    pub(crate) backplane: Arc<dyn Backplane>,
    pub(crate) closed_sessions: ClosedSessions,
    /// Whether the gateway is cut off from the others.
    pub(crate) cut_off: AtomicBool,
    /// Gaps in the signals of other gateways that were reported to sessions.
    pub(crate) gaps: AtomicU64,
}

//! State shared by all sessions of a relay.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use signalbox_protocol::{GatewayId, SessionId};

use crate::{
    backplane::Backplane, evicted::EvictedTickets, instance::Instance, observer::Observer,
    session::closed_sessions::ClosedSessions, settings::Settings, shared_counter::SharedCounter,
    turns::Turns,
};

/// Settings, observer, evicted tickets and turns of one relay.
pub(crate) struct RelayContext {
    /// Name of the gateway.
    pub(crate) gateway: GatewayId,
    settings: RwLock<Settings>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) evicted: EvictedTickets,
    pub(crate) turns: Turns,
    /// Signals that were pushed, once for each receiver.
    pub(crate) deliveries: SharedCounter,
    /// None if the gateway is on its own.
    pub(crate) cluster: Option<ClusterContext>,
}

impl RelayContext {
    pub(crate) fn new(
        settings: Settings,
        observer: Arc<dyn Observer>,
        cluster: Option<ClusterContext>,
    ) -> Self {
        let (evicted, turns, deliveries) = Default::default();
        let gateway = settings.gateway.clone();
        let settings = RwLock::new(settings);
        Self { gateway, settings, observer, evicted, turns, deliveries, cluster }
    }

    /// The current settings. A signal does not read them: its sender and its session keep what they
    /// need.
    pub(crate) fn settings(&self) -> RwLockReadGuard<'_, Settings> {
        self.settings.read()
    }

    /// Replaces the settings. The gateway keeps its name.
    pub(crate) fn set_settings(&self, settings: Settings) {
        *self.settings.write() = settings;
    }
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
    /// Sessions with confirmations that the other gateways have not been told of. This lock is an
    /// inner one: nothing else is locked under it.
    pub(crate) confirmed: Mutex<HashSet<SessionId>>,
}

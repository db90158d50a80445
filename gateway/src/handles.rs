//! Handles of a running gateway for the program around it.

use std::sync::Arc;

use signalbox_cluster::ClusterStatus;
use signalbox_relay::Stats;

use crate::{
    admission::{AdmissionControl, RefusalCause},
    context::ServerContext,
    services::Services,
};

/// Reads the counters of a running gateway.
#[derive(Clone)]
pub struct StatsHandle {
    services: Arc<Services>,
    admission: Arc<AdmissionControl>,
}

impl StatsHandle {
    pub(crate) fn new(context: &ServerContext) -> Self {
        let ServerContext { services, admission, .. } = context.clone();
        Self { services, admission }
    }

    /// The current numbers of sessions and connections.
    pub fn current(&self) -> Stats {
        self.services.relay().stats()
    }

    /// The number of strangers refused so far, by the name of the cause.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let refusals = self.admission.refusals();
        RefusalCause::ALL.into_iter().map(|cause| (cause.name(), refusals.count(cause)))
    }

    /// The cluster as this gateway sees it; none without a cluster, or before it has been joined.
    pub fn cluster(&self) -> Option<ClusterStatus> {
        self.services.cluster()?.status()
    }
}

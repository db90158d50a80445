//! Handles of a running gateway for the program around it.

use std::sync::Arc;

use parking_lot::Mutex;
use signalbox_cluster::ClusterStatus;
use signalbox_relay::Stats;

use crate::{
    admission::{AdmissionControl, RefusalCause},
    config::{Config, Problem, ProjectConfig, RedactedConfig},
    context::ServerContext,
    project::Projects,
    services::Services,
};

/// Replaces the projects of a running gateway. Clones are handles of the same gateway.
#[derive(Clone)]
pub struct ProjectsHandle(Arc<Configured>);

struct Configured {
    services: Arc<Services>,
    /// The configuration in effect, as configured.
    config: Mutex<Config>,
    /// Its projects with the text of their public keys.
    current: Mutex<Vec<ProjectConfig>>,
}

impl ProjectsHandle {
    pub(crate) fn new(
        services: Arc<Services>,
        config: Config,
        current: Vec<ProjectConfig>,
    ) -> Self {
        let (config, current) = (Mutex::new(config), Mutex::new(current));
        Self(Arc::new(Configured { services, config, current }))
    }

    /// The configuration in effect, without its secrets.
    pub(crate) fn redacted(&self) -> RedactedConfig {
        self.0.config.lock().redacted()
    }

    /// Takes the projects of a configuration and ignores its other settings. Returns whether the
    /// projects changed. New tokens and requests are checked against the new projects; existing
    /// connections stay, even if their project was removed.
    ///
    /// # Errors
    /// Every problem of the projects. The gateway then keeps its current projects.
    pub fn replace(&self, config: &Config) -> Result<bool, Vec<Problem>> {
        let entries = crate::project::read_keys(config)?;
        let mut current = self.0.current.lock();
        if *current == entries {
            return Ok(false);
        }
        let mut running = self.0.config.lock();
        self.0.services.replace_projects(Projects::new(&entries, &running)?);
        running.projects.clone_from(&config.projects);
        *current = entries;
        Ok(true)
    }
}

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

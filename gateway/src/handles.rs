//! Handles of a running gateway for the program around it.

use std::sync::Arc;

use parking_lot::Mutex;
use signalbox_cluster::ClusterStatus;
use signalbox_relay::Stats;

use crate::{
    config::{Config, Problem, ProjectConfig},
    project::Projects,
    services::Services,
};

/// Replaces the projects of a running gateway. Clones are handles of the same gateway.
#[derive(Clone)]
pub struct ProjectsHandle(Arc<Configured>);

struct Configured {
    services: Arc<Services>,
    /// The configuration that the gateway was started with.
    config: Config,
    /// The current projects as configured, with the text of their public keys.
    current: Mutex<Vec<ProjectConfig>>,
}

impl ProjectsHandle {
    pub(crate) fn new(
        services: Arc<Services>,
        config: Config,
        current: Vec<ProjectConfig>,
    ) -> Self {
        Self(Arc::new(Configured { services, config, current: Mutex::new(current) }))
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
        self.0.services.replace_projects(Projects::new(&entries, &self.0.config)?);
        *current = entries;
        Ok(true)
    }
}

/// Reads the counters of a running gateway.
#[derive(Clone)]
pub struct StatsHandle(Arc<Services>);

impl StatsHandle {
    pub(crate) fn new(services: Arc<Services>) -> Self {
        Self(services)
    }

    /// The current numbers of sessions and connections.
    pub fn current(&self) -> Stats {
        self.0.relay().stats()
    }

    /// The cluster as this gateway sees it; none without a cluster, or before it has been joined.
    pub fn cluster(&self) -> Option<ClusterStatus> {
        self.0.cluster()?.status()
    }
}

//! What one project uses of the relay, and how much it may.

use std::{collections::HashMap, sync::Arc};

use signalbox_protocol::ProjectKey;

use crate::{rate::Shared as Rate, relay::JoinError};

/// What one project may use, in all its sessions together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProjectLimits {
    /// Connections at a time; at least 1.
    pub connections: usize,
    /// Sessions with a connection at a time; at least 1.
    pub sessions: usize,
    /// Signals per second of all its clients and servers, on average over a second; 0 means no
    /// limit. What is over is refused as rate limited.
    pub signals_per_second: u32,
}

impl Default for ProjectLimits {
    fn default() -> Self {
        // Sessions need a connection each, so that they are bounded by these.
        Self { connections: 100_000, sessions: 100_000, signals_per_second: 0 }
    }
}

/// The projects that have a connection, and the limits of those that have their own.
#[derive(Default)]
pub(crate) struct Projects {
    default: ProjectLimits,
    own: HashMap<ProjectKey, Own>,
    used: HashMap<ProjectKey, Use>,
}

/// What a project with limits of its own may use.
struct Own {
    limits: ProjectLimits,
    /// Outlives its connections: who leaves and comes back finds it as it was.
    rate: Arc<Rate>,
}

/// What a project uses now. Exists while it has a connection.
struct Use {
    connections: usize,
    sessions: usize,
    rate: Arc<Rate>,
}

impl Projects {
    pub(crate) fn new(default: ProjectLimits) -> Self {
        Self { default, ..Self::default() }
    }

    /// Replaces all limits. Connections that are there stay, even if there are too many now.
    pub(crate) fn set_limits(&mut self, own: HashMap<ProjectKey, ProjectLimits>) {
        let rates = |key: &ProjectKey| {
            let used = self.used.get(key).map(|used| &used.rate);
            used.or(self.own.get(key).map(|own| &own.rate)).cloned().unwrap_or_default()
        };
        let own = own.into_iter().map(|(key, limits)| {
            let rate = rates(&key);
            (key, Own { limits, rate })
        });
        self.own = own.collect();
        for own in self.own.values() {
            own.rate.set(own.limits.signals_per_second);
        }
        for (_, used) in self.used.iter().filter(|(key, _)| !self.own.contains_key(*key)) {
            used.rate.set(self.default.signals_per_second);
        }
    }

    fn limits(&self, key: &ProjectKey) -> ProjectLimits {
        self.own.get(key).map_or(self.default, |own| own.limits)
    }

    pub(crate) fn connections(&self) -> usize {
        self.used.values().map(|used| used.connections).sum()
    }

    /// Counts a connection in.
    pub(crate) fn enter(&mut self, key: &ProjectKey) -> Result<(), JoinError> {
        let limits = self.limits(key);
        let rate = || {
            let own = self.own.get(key).map(|own| own.rate.clone());
            own.unwrap_or_else(|| Arc::new(Rate::new(limits.signals_per_second)))
        };
        let used = self.used.entry(key.clone()).or_insert_with(|| Use {
            connections: 0,
            sessions: 0,
            rate: rate(),
        });
        if used.connections >= limits.connections {
            return Err(JoinError::ProjectFull);
        }
        used.connections += 1;
        Ok(())
    }

    /// Counts connections out.
    pub(crate) fn leave(&mut self, key: &ProjectKey, connections: usize) {
        if let Some(used) = self.used.get_mut(key) {
            used.connections -= connections;
            if used.connections == 0 {
                self.used.remove(key);
            }
        }
    }

    /// Counts a session in, for a connection that has entered; its signals count in the rate.
    pub(crate) fn open(&mut self, key: &ProjectKey) -> Result<Arc<Rate>, JoinError> {
        let limit = self.limits(key).sessions;
        match self.used.get_mut(key) {
            Some(used) if used.sessions < limit => {
                used.sessions += 1;
                Ok(used.rate.clone())
            }
            _ => Err(JoinError::TooManySessions),
        }
    }

    /// Counts a session out, before its last connection.
    pub(crate) fn close(&mut self, key: &ProjectKey) {
        if let Some(used) = self.used.get_mut(key) {
            used.sessions -= 1;
        }
    }
}

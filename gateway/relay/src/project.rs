//! What one project uses of the relay, and how much it may.

use std::{collections::HashMap, sync::Arc, time::Duration};

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
    /// For how long its sessions keep what happens for those who are away; zero if nobody can be.
    /// Sessions that there are keep theirs.
    pub backlog_age: Duration,
}

impl Default for ProjectLimits {
    fn default() -> Self {
        // Sessions need a connection each, so that they are bounded by these.
        Self {
            connections: 100_000,
            sessions: 100_000,
            signals_per_second: 0,
            backlog_age: Duration::from_secs(60),
        }
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

    fn used(&mut self, key: &ProjectKey) -> &mut Use {
        let limits = self.limits(key);
        let rate = || {
            let own = self.own.get(key).map(|own| own.rate.clone());
            own.unwrap_or_else(|| Arc::new(Rate::new(limits.signals_per_second)))
        };
        self.used.entry(key.clone()).or_insert_with(|| Use {
            connections: 0,
            sessions: 0,
            rate: rate(),
        })
    }

    /// Counts a session and its connections in, even if they are too many. The rest as for `open`.
    pub(crate) fn reopen(&mut self, key: &ProjectKey, connections: usize) -> (Arc<Rate>, Duration) {
        let age = self.limits(key).backlog_age;
        let used = self.used(key);
        used.connections += connections;
        used.sessions += 1;
        (used.rate.clone(), age)
    }

    /// Counts a connection in.
    pub(crate) fn enter(&mut self, key: &ProjectKey) -> Result<(), JoinError> {
        let limits = self.limits(key);
        let used = self.used(key);
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

    /// Counts a session in, for a connection that has entered. Returns the rate in which its
    /// signals count, and how long it keeps what happens.
    pub(crate) fn open(&mut self, key: &ProjectKey) -> Result<(Arc<Rate>, Duration), JoinError> {
        let limits = self.limits(key);
        match self.used.get_mut(key) {
            Some(used) if used.sessions < limits.sessions => {
                used.sessions += 1;
                Ok((used.rate.clone(), limits.backlog_age))
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

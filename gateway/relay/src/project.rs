//! Usage and limits of projects.

use std::{collections::HashMap, sync::Arc, time::Duration};

use signalbox_protocol::ProjectKey;

use crate::{error::JoinError, rate::SharedRateLimiter, settings::ProjectLimits};

/// Usage of the projects with a connection or a session, and limits of the projects with limits of their own.
#[derive(Default)]
pub(crate) struct ProjectTable {
    default: ProjectLimits,
    own: HashMap<ProjectKey, OwnLimits>,
    used: HashMap<ProjectKey, ProjectUsage>,
}

/// Limits of one project in place of the default.
struct OwnLimits {
    limits: ProjectLimits,
    /// It outlives the project's connections: leaving and joining again does not refill it.
    rate: Arc<SharedRateLimiter>,
}

/// Current usage of one project. It exists while the project has a connection or a session.
struct ProjectUsage {
    connections: usize,
    sessions: usize,
    rate: Arc<SharedRateLimiter>,
}

impl ProjectTable {
    pub(crate) fn new(default: ProjectLimits) -> Self {
        Self { default, ..Self::default() }
    }

    /// Replaces all own limits. Existing connections stay, even above the new limits.
    pub(crate) fn set_limits(&mut self, own: HashMap<ProjectKey, ProjectLimits>) {
        let rates = |key: &ProjectKey| {
            let used = self.used.get(key).map(|used| &used.rate);
            used.or(self.own.get(key).map(|own| &own.rate)).cloned().unwrap_or_default()
        };
        let own = own.into_iter().map(|(key, limits)| {
            let rate = rates(&key);
            (key, OwnLimits { limits, rate })
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

    fn used(&mut self, key: &ProjectKey) -> &mut ProjectUsage {
        let limits = self.limits(key);
        let rate = || {
            let own = self.own.get(key).map(|own| own.rate.clone());
            own.unwrap_or_else(|| Arc::new(SharedRateLimiter::new(limits.signals_per_second)))
        };
        self.used.entry(key.clone()).or_insert_with(|| ProjectUsage {
            connections: 0,
            sessions: 0,
            rate: rate(),
        })
    }

    /// Adds a restored session and its connections, regardless of the limits. Returns the same as
    /// `open`.
    pub(crate) fn reopen(
        &mut self,
        key: &ProjectKey,
        connections: usize,
    ) -> (Arc<SharedRateLimiter>, Duration) {
        let age = self.limits(key).history_age;
        let used = self.used(key);
        used.connections += connections;
        used.sessions += 1;
        (used.rate.clone(), age)
    }

    /// Adds a connection.
    pub(crate) fn enter(&mut self, key: &ProjectKey) -> Result<(), JoinError> {
        let limits = self.limits(key);
        let used = self.used(key);
        if used.connections >= limits.connections {
            return Err(JoinError::ProjectFull);
        }
        used.connections += 1;
        Ok(())
    }

    /// Subtracts connections.
    pub(crate) fn leave(&mut self, key: &ProjectKey, connections: usize) {
        if let Some(used) = self.used.get_mut(key) {
            used.connections -= connections;
            self.remove_unused(key);
        }
    }

    /// Adds connections that another gateway admitted, regardless of the limits.
    pub(crate) fn arrive(&mut self, key: &ProjectKey, connections: usize) {
        self.used(key).connections += connections;
    }

    /// Adds a session. Returns the project's rate limiter and how long the session keeps its
    /// history.
    pub(crate) fn open(
        &mut self,
        key: &ProjectKey,
    ) -> Result<(Arc<SharedRateLimiter>, Duration), JoinError> {
        let limits = self.limits(key);
        let used = self.used(key);
        if used.sessions < limits.sessions {
            used.sessions += 1;
            return Ok((used.rate.clone(), limits.history_age));
        }
        self.remove_unused(key);
        Err(JoinError::TooManySessions)
    }

    /// Subtracts a session.
    pub(crate) fn close(&mut self, key: &ProjectKey) {
        if let Some(used) = self.used.get_mut(key) {
            used.sessions -= 1;
            self.remove_unused(key);
        }
    }

    fn remove_unused(&mut self, key: &ProjectKey) {
        if self.used.get(key).is_some_and(|used| used.connections == 0 && used.sessions == 0) {
            self.used.remove(key);
        }
    }
}

//! Usage and limits of projects.

use std::{collections::HashMap, sync::Arc, time::Duration};

use signalbox_protocol::ProjectKey;

use crate::{
    error::JoinError,
    rate::SharedRateLimiter,
    settings::ProjectLimits,
    usage::ProjectUse,
    users::{UserCounts, UserDigests},
};

/// Usage of the projects with a connection or a session, and limits of the projects with limits of their own.
#[derive(Default)]
pub(crate) struct ProjectTable {
    default: ProjectLimits,
    own: HashMap<ProjectKey, OwnLimits>,
    used: HashMap<ProjectKey, ProjectUsage>,
    digests: UserDigests,
    /// Usage on the other gateways of a cluster.
    elsewhere: HashMap<ProjectKey, ProjectUse>,
    /// Number of the other gateways.
    others: u32,
}

/// A project that uses less than this part of each limit is not reported to other gateways. So each
/// of them may exceed a limit by this part of it.
const REPORTED: usize = 64;

/// Limits of one project in place of the default.
struct OwnLimits {
    limits: ProjectLimits,
    /// It outlives the project's connections: leaving and joining again does not refill it.
    rate: Arc<SharedRateLimiter>,
}

/// Current usage of one project. It exists while the project has a connection or a session.
struct ProjectUsage {
    connections: usize,
    /// Counted without a limit, too, so that one that is set later holds for the connections of then.
    users: UserCounts,
    sessions: usize,
    rate: Arc<SharedRateLimiter>,
}

impl ProjectTable {
    pub(crate) fn new(default: ProjectLimits) -> Self {
        Self { default, ..Self::default() }
    }

    /// Replaces the limits of projects without limits of their own. Existing connections stay.
    pub(crate) fn set_default(&mut self, limits: ProjectLimits) {
        self.default = limits;
        self.set_rates();
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
        self.set_rates();
    }

    /// Sets the rate of every project: what its limit leaves for this gateway.
    fn set_rates(&self) {
        for (key, own) in &self.own {
            own.rate.set(self.rate_here(key, own.limits));
        }
        for (key, used) in self.used.iter().filter(|(key, _)| !self.own.contains_key(*key)) {
            used.rate.set(self.rate_here(key, self.default));
        }
    }

    /// The part of a project's rate that the other gateways do not use; at least an equal share.
    fn rate_here(&self, key: &ProjectKey, limits: ProjectLimits) -> u32 {
        let limit = limits.signals_per_second;
        let elsewhere = self.elsewhere.get(key).map_or(0, |used| used.signals_per_second);
        // Zero would mean no limit.
        let share = limit.div_ceil(self.others.saturating_add(1));
        limit.saturating_sub(elsewhere).max(share)
    }

    /// Replaces the usage on other gateways, and their number.
    pub(crate) fn set_elsewhere(
        &mut self,
        elsewhere: HashMap<ProjectKey, ProjectUse>,
        others: u32,
    ) {
        if elsewhere.is_empty() && self.elsewhere.is_empty() && others == self.others {
            return;
        }
        (self.elsewhere, self.others) = (elsewhere, others);
        self.set_rates();
    }

    /// Usage of the projects that use a considerable part of a limit. The rates are those since the
    /// last call, of which `elapsed` is the time.
    pub(crate) fn report(&self, elapsed: Duration) -> Vec<(ProjectKey, ProjectUse)> {
        let usage = self.used.iter().filter_map(|(key, used)| {
            let limits = self.limits(key);
            let taken = f64::from(used.rate.count_taken()) / elapsed.as_secs_f64().max(0.1);
            // Saturates.
            let signals_per_second = taken.ceil() as u32;
            let connections = used.connections;
            let is_considerable = connections > limits.connections / REPORTED
                || signals_per_second as usize > limits.signals_per_second as usize / REPORTED;
            is_considerable.then(|| (key.clone(), ProjectUse { connections, signals_per_second }))
        });
        usage.collect()
    }

    fn limits(&self, key: &ProjectKey) -> ProjectLimits {
        self.own.get(key).map_or(self.default, |own| own.limits)
    }

    pub(crate) fn connections(&self) -> usize {
        self.used.values().map(|used| used.connections).sum()
    }

    fn used(&mut self, key: &ProjectKey) -> &mut ProjectUsage {
        let here = self.rate_here(key, self.limits(key));
        let rate = || {
            let own = self.own.get(key).map(|own| own.rate.clone());
            own.unwrap_or_else(|| Arc::new(SharedRateLimiter::new(here)))
        };
        self.used.entry(key.clone()).or_insert_with(|| ProjectUsage {
            connections: 0,
            users: UserCounts::default(),
            sessions: 0,
            rate: rate(),
        })
    }

    /// Adds a restored session, regardless of the limits. Its connections are added by
    /// [`Self::arrive`]. Returns the same as `open`.
    pub(crate) fn reopen(&mut self, key: &ProjectKey) -> (Arc<SharedRateLimiter>, Duration) {
        let age = self.limits(key).history_age;
        let used = self.used(key);
        used.sessions += 1;
        (used.rate.clone(), age)
    }

    /// Adds a connection with this connection data.
    pub(crate) fn enter(&mut self, key: &ProjectKey, data: &str) -> Result<(), JoinError> {
        let limits = self.limits(key);
        let elsewhere = self.elsewhere.get(key).map_or(0, |used| used.connections);
        let user = self.digests.of(data);
        let used = self.used(key);
        if used.connections.saturating_add(elsewhere) >= limits.connections {
            return Err(JoinError::ProjectFull);
        }
        if let Some(user) = user {
            let limit = limits.connections_per_user;
            if limit > 0 && used.users.of(user) >= limit {
                return Err(JoinError::UserFull);
            }
            used.users.add(user);
        }
        used.connections += 1;
        Ok(())
    }

    /// Subtracts a connection.
    pub(crate) fn leave(&mut self, key: &ProjectKey, data: &str) {
        let user = self.digests.of(data);
        if let Some(used) = self.used.get_mut(key) {
            used.connections -= 1;
            if let Some(user) = user {
                used.users.subtract(user);
            }
            self.remove_unused(key);
        }
    }

    /// Adds a connection that this or another gateway has admitted before, regardless of the limits.
    pub(crate) fn arrive(&mut self, key: &ProjectKey, data: &str) {
        let user = self.digests.of(data);
        let used = self.used(key);
        used.connections += 1;
        if let Some(user) = user {
            used.users.add(user);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key() -> ProjectKey {
        "1".parse().unwrap()
    }

    fn table(connections: usize, signals_per_second: u32) -> ProjectTable {
        let limits = ProjectLimits::default();
        ProjectTable::new(ProjectLimits { connections, signals_per_second, ..limits })
    }

    fn elsewhere(connections: usize, signals_per_second: u32) -> HashMap<ProjectKey, ProjectUse> {
        HashMap::from([(key(), ProjectUse { connections, signals_per_second })])
    }

    #[test]
    fn connections_on_other_gateways_count() {
        let mut table = table(3, 0);
        table.enter(&key(), "").unwrap();
        table.set_elsewhere(elsewhere(2, 0), 1);
        assert_eq!(table.enter(&key(), ""), Err(JoinError::ProjectFull));
        table.set_elsewhere(elsewhere(1, 0), 1);
        table.enter(&key(), "").unwrap();
    }

    #[test]
    fn gateways_that_use_all_of_a_rate_share_it() {
        let mut tables = [table(10, 100), table(10, 100)];
        let rates: Vec<_> = tables.iter_mut().map(|table| table.open(&key()).unwrap().0).collect();
        let mut sent = [0; 2];
        for second in 1..10 {
            for (sent, rate) in sent.iter_mut().zip(&rates) {
                *sent = (0..200).filter(|_| rate.take(second * SECOND)).count();
            }
            let used = [tables[0].report(SECOND), tables[1].report(SECOND)];
            let [first, second] = used.map(|used| used.into_iter().collect());
            tables[0].set_elsewhere(second, 1);
            tables[1].set_elsewhere(first, 1);
        }
        assert_eq!(sent, [50, 50]);
        // One of them alone may use all of it.
        tables[0].set_elsewhere(HashMap::new(), 1);
        assert_eq!((0..200).filter(|_| rates[0].take(20 * SECOND)).count(), 100);
    }

    #[test]
    fn small_usage_is_not_reported() {
        let mut table = table(640, 0);
        for _ in 0..10 {
            table.enter(&key(), "").unwrap();
        }
        assert_eq!(table.report(SECOND), []);
        table.enter(&key(), "").unwrap();
        let used = ProjectUse { connections: 11, signals_per_second: 0 };
        assert_eq!(table.report(SECOND), [(key(), used)]);
    }
}

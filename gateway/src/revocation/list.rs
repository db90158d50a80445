//! The list of revocations, without I/O and without a clock.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use signalbox_protocol::ProjectKey;

use super::{
    change::{NewRevocation, Revocation, RevocationChange, RevocationId},
    identity::Presented,
    matcher::MatchKey,
};

/// Maximum number of revocations of a project.
pub(super) const MAX_REVOCATIONS: usize = 10_000;

/// Maximum number of deleted revocations of a project that are remembered. The one that would expire
/// first is forgotten first.
const MAX_DELETED: usize = 10_000;

/// The project has [`MAX_REVOCATIONS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the project has {MAX_REVOCATIONS} revocations; delete some, or wait until some expire")]
pub(crate) struct ListFull;

/// The revocations of all projects. `now` is in seconds since 1970.
///
/// It is the union of the changes that it has seen, so gateways that have seen the same changes have
/// the same list. The maximum applies to [`Revocations::add`] alone: what another gateway has
/// accepted is not refused here.
#[derive(Debug, Default)]
pub(crate) struct Revocations {
    projects: HashMap<ProjectKey, ProjectRevocations>,
    /// None expires before.
    next_expiry: u64,
}

#[derive(Debug, Default)]
struct ProjectRevocations {
    by_id: HashMap<RevocationId, Arc<Revocation>>,
    /// Several only if gateways have added them at the same time, or if none covers the others.
    by_key: HashMap<MatchKey, Vec<Arc<Revocation>>>,
    /// When deleted revocations would have expired.
    deleted: HashMap<RevocationId, u64>,
}

impl Revocations {
    /// Whether a token is revoked. The cost does not depend on the number of revocations.
    pub(crate) fn is_revoked(&self, presented: &Presented<'_>, now: u64) -> bool {
        let Some(project) = self.projects.get(presented.session.project()) else { return false };
        if project.by_key.is_empty() {
            return false;
        }
        let mut found = MatchKey::all_of(presented).filter_map(|key| project.by_key.get(&key));
        let applies =
            |it: &Arc<Revocation>| it.expires > now && it.is_for(presented.token.issued_at);
        found.any(|same_key| same_key.iter().any(applies))
    }

    /// Adds a revocation. It replaces those that it covers. Returns it together with the changes; if
    /// another one covers it, that one and no changes.
    pub(crate) fn add(
        &mut self,
        new: NewRevocation,
        now: u64,
    ) -> Result<(Arc<Revocation>, Vec<RevocationChange>), ListFull> {
        self.forget_expired(now);
        let project = self.projects.entry(new.project.clone()).or_default();
        let same_key = project.by_key.get(&new.matcher.key()).map_or(&[][..], Vec::as_slice);
        if let Some(existing) = same_key.iter().find(|it| it.covers(new.issued_before, new.expires))
        {
            return Ok((existing.clone(), Vec::new()));
        }
        let added = Arc::new(Revocation::new(new, now));
        let covered = same_key.iter().filter(|it| added.covers(it.issued_before, it.expires));
        let mut changes: Vec<_> = covered.map(|it| it.deletion()).collect();
        if project.by_id.len() - changes.len() >= MAX_REVOCATIONS {
            return Err(ListFull);
        }
        changes.push(RevocationChange::Added(added.clone()));
        self.merge(changes.clone(), now);
        Ok((added, changes))
    }

    /// Deletes a revocation. None if there is none with this id.
    pub(super) fn delete(
        &mut self,
        project: &ProjectKey,
        id: RevocationId,
        now: u64,
    ) -> Option<RevocationChange> {
        self.forget_expired(now);
        let deletion = self.projects.get(project)?.by_id.get(&id)?.deletion();
        self.merge([deletion.clone()], now);
        Some(deletion)
    }

    /// Applies changes. Returns the revocations that are new.
    pub(super) fn merge(
        &mut self,
        changes: impl IntoIterator<Item = RevocationChange>,
        now: u64,
    ) -> Vec<Arc<Revocation>> {
        self.forget_expired(now);
        let mut new = Vec::new();
        for change in changes {
            let (project, expires) = match &change {
                RevocationChange::Added(added) => (&added.project, added.expires),
                RevocationChange::Deleted { project, expires, .. } => (project, *expires),
            };
            if expires <= now {
                continue;
            }
            self.next_expiry = self.next_expiry.min(expires);
            let project = self.projects.entry(project.clone()).or_default();
            match change {
                RevocationChange::Added(added) => {
                    if project.insert(&added) {
                        new.push(added);
                    }
                }
                RevocationChange::Deleted { id, expires, .. } => project.bury(id, expires),
            }
        }
        new
    }

    /// Everything that another list needs to become equal to this one.
    pub(crate) fn changes(&self) -> Vec<RevocationChange> {
        let of_project =
            |(key, project): (&ProjectKey, &ProjectRevocations)| {
                let added = project.by_id.values().cloned().map(RevocationChange::Added);
                let deleted = project.deleted.iter().map(|(id, expires)| {
                    RevocationChange::Deleted { id: *id, project: key.clone(), expires: *expires }
                });
                added.chain(deleted).collect::<Vec<_>>()
            };
        self.projects.iter().flat_map(of_project).collect()
    }

    /// The revocations of a project, oldest first.
    pub(crate) fn of_project(&self, project: &ProjectKey, now: u64) -> Vec<Arc<Revocation>> {
        let all = self.projects.get(project).into_iter().flat_map(|it| it.by_id.values());
        let mut valid: Vec<_> = all.filter(|it| it.expires > now).cloned().collect();
        valid.sort_by_key(|it| (it.created, it.id));
        valid
    }

    fn forget_expired(&mut self, now: u64) {
        if self.next_expiry > now {
            return;
        }
        let mut next_expiry = u64::MAX;
        let mut is_kept = |expires: u64| {
            let is_kept = expires > now;
            if is_kept {
                next_expiry = next_expiry.min(expires);
            }
            is_kept
        };
        self.projects.retain(|_, project| {
            project.by_id.retain(|_, it| is_kept(it.expires));
            project.by_key.retain(|_, same_key| {
                same_key.retain(|it| it.expires > now);
                !same_key.is_empty()
            });
            project.deleted.retain(|_, expires| is_kept(*expires));
            !project.by_id.is_empty() || !project.deleted.is_empty()
        });
        self.next_expiry = next_expiry;
    }
}

impl ProjectRevocations {
    /// `false` if it is not new, or was deleted.
    fn insert(&mut self, added: &Arc<Revocation>) -> bool {
        if self.deleted.contains_key(&added.id) {
            return false;
        }
        let Entry::Vacant(entry) = self.by_id.entry(added.id) else { return false };
        entry.insert(added.clone());
        self.by_key.entry(added.matcher.key()).or_default().push(added.clone());
        true
    }

    fn bury(&mut self, id: RevocationId, expires: u64) {
        if let Some(deleted) = self.by_id.remove(&id)
            && let Entry::Occupied(mut same_key) = self.by_key.entry(deleted.matcher.key())
        {
            same_key.get_mut().retain(|it| it.id != id);
            if same_key.get().is_empty() {
                same_key.remove();
            }
        }
        if self.deleted.len() >= MAX_DELETED
            && let Some(first) =
                self.deleted.iter().min_by_key(|(_, expires)| **expires).map(|(id, _)| *id)
        {
            self.deleted.remove(&first);
        }
        self.deleted.insert(id, expires);
    }
}

#[cfg(test)]
mod tests;

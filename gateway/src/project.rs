//! Projects: the tenants of a gateway, and the secrets by which their servers are known.

use std::{collections::HashMap, fmt};

use signalbox_protocol::ProjectKey;

/// A tenant: its key, which is public, and its secrets, which sign tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct Project {
    key: ProjectKey,
    secrets: Vec<String>,
}

impl Project {
    /// A project. Several secrets are all good, so that one can be replaced without a gap.
    pub fn new(key: ProjectKey, secrets: impl IntoIterator<Item = String>) -> Self {
        Self { key, secrets: secrets.into_iter().collect() }
    }

    /// The key.
    pub fn key(&self) -> &ProjectKey {
        &self.key
    }

    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.secrets.iter().map(String::as_str)
    }
}

impl fmt::Debug for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Secrets are never logged.
        f.debug_struct("Project").field("key", &self.key).finish_non_exhaustive()
    }
}

/// All projects of a gateway, by key.
#[derive(Debug, Clone, Default)]
pub struct Projects(HashMap<String, Project>);

impl Projects {
    /// These projects. Of two with the same key the later one counts.
    pub fn new(projects: impl IntoIterator<Item = Project>) -> Self {
        let by_key = |project: Project| (project.key.as_str().to_owned(), project);
        Self(projects.into_iter().map(by_key).collect())
    }

    /// The project with this key.
    pub fn get(&self, key: &str) -> Option<&Project> {
        self.0.get(key)
    }
}

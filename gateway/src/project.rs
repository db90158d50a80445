//! Projects: the tenants of a gateway, with their verification keys, limits and webhooks.

use std::{collections::HashMap, fmt, sync::Arc};

use signalbox_protocol::ProjectKey;
use signalbox_relay::ProjectLimits;
use signalbox_token::{KeyStore, PublicKey, VerificationKeys};

use crate::{
    config::{Config, Problem, ProjectConfig},
    connect_webhook::ConnectEndpoint,
    webhook::endpoint::Endpoint,
};

/// A tenant: its public key, the keys that verify its tokens, its limits and its webhook.
pub struct Project {
    key: ProjectKey,
    keys: VerificationKeys,
    limits: ProjectLimits,
    resume_window_ms: u32,
    webhook: Option<Arc<Endpoint>>,
    connect_webhook: Option<Arc<ConnectEndpoint>>,
}

impl Project {
    /// A project from its configuration, with the text of its public keys
    /// ([`ProjectConfig::read_keys`]).
    ///
    /// # Errors
    /// Every problem of the project.
    pub(crate) fn new(entry: &ProjectConfig, defaults: &Config) -> Result<Self, Vec<Problem>> {
        let mut problems: Vec<_> =
            entry.limits.check().into_iter().map(|it| it.within("limits")).collect();
        let mut public = Vec::new();
        for (index, pem) in entry.public_keys.iter().enumerate() {
            let checked = signalbox_certs::check_public_key(pem.as_bytes());
            let key = checked.map_err(|error| error.to_string()).and_then(|()| {
                PublicKey::from_pem(pem).map_err(|error| format!("cannot be used: {error}"))
            });
            match key {
                Ok(key) => public.push(key),
                Err(why) => problems.push(Problem::invalid(format!("public_keys.{index}"), why)),
            }
        }
        // With an empty secret, anyone could sign.
        let secrets: Vec<_> = entry.secrets.iter().filter(|it| !it.is_empty()).cloned().collect();
        let keys = match (secrets.is_empty(), entry.public_keys.is_empty()) {
            (false, true) => VerificationKeys::Secrets(secrets),
            (true, false) => VerificationKeys::Public(public),
            (true, true) => {
                problems.push(Problem::invalid("", "has no secret and no public key"));
                VerificationKeys::Secrets(secrets)
            }
            (false, false) => {
                let problem = "has secrets and public keys, but must have only one kind";
                problems.push(Problem::invalid("", problem));
                VerificationKeys::Secrets(secrets)
            }
        };
        let (own, all) = (&entry.limits, &defaults.limits);
        let resume_window_ms = own.resume_window_ms.unwrap_or(defaults.resume.window_ms);
        let limits = ProjectLimits {
            connections: own.connections.unwrap_or(all.connections_per_project),
            sessions: own.sessions.unwrap_or(all.sessions_per_project),
            connections_per_user: own.connections_per_user.unwrap_or(all.connections_per_user),
            signals_per_second: own
                .signals_per_second
                .unwrap_or(all.signals_per_second_per_project),
            history_age: defaults.history_age(resume_window_ms),
        };
        let webhook = entry.webhook.as_ref();
        let webhook = match webhook.map(|it| Endpoint::new(&it.url, &it.secret)).transpose() {
            Ok(webhook) => webhook.map(Arc::new),
            Err(wrong) => {
                problems.extend(wrong.into_iter().map(|problem| problem.within("webhook")));
                None
            }
        };
        let connect_webhook = entry.connect_webhook.as_ref().map(ConnectEndpoint::new).transpose();
        let connect_webhook = connect_webhook.unwrap_or_else(|wrong| {
            problems.extend(wrong.into_iter().map(|problem| problem.within("connect_webhook")));
            None
        });
        if problems.is_empty() {
            Ok(Self {
                key: entry.key.clone(),
                keys,
                limits,
                resume_window_ms,
                webhook,
                connect_webhook: connect_webhook.map(Arc::new),
            })
        } else {
            Err(problems)
        }
    }

    /// The project's key, which is in all its session ids.
    pub fn key(&self) -> &ProjectKey {
        &self.key
    }

    /// Whether its tokens are verified by a public key and not by a secret.
    pub(crate) fn is_application(&self) -> bool {
        matches!(self.keys, VerificationKeys::Public(_))
    }

    /// Resume window of its connections, in milliseconds. 0 disables resumption.
    pub(crate) fn resume_window_ms(&self) -> u32 {
        self.resume_window_ms
    }

    pub(crate) fn webhook(&self) -> Option<&Arc<Endpoint>> {
        self.webhook.as_ref()
    }

    pub(crate) fn connect_webhook(&self) -> Option<&Arc<ConnectEndpoint>> {
        self.connect_webhook.as_ref()
    }
}

impl fmt::Debug for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Secrets are never logged.
        f.debug_struct("Project").field("key", &self.key).finish_non_exhaustive()
    }
}

/// All projects of a gateway, by key.
#[derive(Debug, Default)]
pub struct Projects(HashMap<String, Project>);

impl Projects {
    /// The projects from their configuration.
    ///
    /// # Errors
    /// Every problem, with the position of its project.
    pub fn new(entries: &[ProjectConfig], defaults: &Config) -> Result<Self, Vec<Problem>> {
        let mut projects = HashMap::new();
        let mut problems = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let within = |problem: Problem| problem.within(format_args!("projects.{index}"));
            if let Some(first) = entries.iter().take(index).position(|it| it.key == entry.key) {
                let problem = format!("is the key of projects.{first}, too: {}", entry.key);
                problems.push(within(Problem::invalid("key", problem)));
            }
            match Project::new(entry, defaults) {
                Ok(project) => {
                    projects.insert(entry.key.as_str().to_owned(), project);
                }
                Err(wrong) => problems.extend(wrong.into_iter().map(within)),
            }
        }
        if problems.is_empty() { Ok(Self(projects)) } else { Err(problems) }
    }

    /// The projects of a configuration. Their public keys are read from their files.
    ///
    /// # Errors
    /// Every problem, with the position of its project.
    pub fn from_config(config: &Config) -> Result<Self, Vec<Problem>> {
        Self::new(&read_keys(config)?, config)
    }

    /// The project with this key.
    pub fn get(&self, key: &str) -> Option<&Project> {
        self.0.get(key)
    }

    /// All projects, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Project> {
        self.0.values()
    }

    /// The limits of each project.
    pub(crate) fn limits(&self) -> HashMap<ProjectKey, ProjectLimits> {
        self.0.values().map(|project| (project.key.clone(), project.limits)).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl KeyStore for Projects {
    fn find(&self, project: &str) -> Option<(&ProjectKey, &VerificationKeys)> {
        self.get(project).map(|project| (&project.key, &project.keys))
    }
}

/// Every fault of a configuration, of its projects and of the files that it names.
pub(crate) fn check(config: &Config) -> Vec<Problem> {
    let mut problems = config.check();
    problems.extend(Projects::from_config(config).err().unwrap_or_default());
    problems
}

/// The configured projects with the text of their public keys, read from their files.
///
/// # Errors
/// Every problem, with the position of its project.
pub(crate) fn read_keys(config: &Config) -> Result<Vec<ProjectConfig>, Vec<Problem>> {
    let (mut projects, mut problems) = (Vec::new(), Vec::new());
    for (index, project) in config.projects.iter().enumerate() {
        let (project, unread) = project.read_keys();
        projects.push(project);
        let within = |problem: Problem| problem.within(format_args!("projects.{index}"));
        problems.extend(unread.into_iter().map(within));
    }
    if problems.is_empty() {
        return Ok(projects);
    }
    // The other faults are reported too, except that the path of an unreadable file is no key.
    let others = Projects::new(&projects, config).err().unwrap_or_default();
    let reported = |it: &Problem| problems.iter().any(|known| known.setting == it.setting);
    let others: Vec<_> = others.into_iter().filter(|it| !reported(it)).collect();
    problems.extend(others);
    Err(problems)
}

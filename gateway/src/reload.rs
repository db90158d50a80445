//! Reload: a changed configuration is applied to the running gateway, all of it or nothing.
//!
//! Everything that may fail comes first. Settings that only a restart changes
//! ([`SettingEffect`](crate::SettingEffect)) keep their values and are reported.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use signalbox_certs::{Certificates, LoadedCertificate};
use tracing::{info, warn};

use crate::{
    config::{Config, DrainConfig, Problem, ProjectConfig, RedactedConfig, SettingChange},
    context::ServerContext,
    error_chain::with_causes,
    listen::{http, quic::QuicSettings, tcp::SharedRouter},
    log_filter::LogFilter,
    ops_token::SharedToken,
    project::{self, Projects},
    webhook::Webhooks,
};

/// The answer of `GET /config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationReport {
    /// The configuration in effect.
    pub settings: RedactedConfig,
    /// The differences of the configuration that was read last: they take effect after a restart.
    pub awaiting_restart: Vec<SettingChange>,
}

/// What a reload has changed: the answer of `POST /reload`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReloadReport {
    /// Settings that have changed.
    pub changed: Vec<SettingChange>,
    /// The differences that take effect after a restart.
    pub awaiting_restart: Vec<SettingChange>,
    /// Whether public keys of projects have changed, perhaps in their files alone.
    pub keys_changed: bool,
}

/// Applies changed configurations to a running gateway. Clones are handles of the same gateway.
#[derive(Clone)]
pub struct ReloadHandle(Arc<Reloader>);

/// The parts of a gateway that a reload changes.
pub(crate) struct Reloadable {
    pub(crate) context: ServerContext,
    pub(crate) webhooks: Webhooks,
    pub(crate) certificates: Certificates,
    pub(crate) quic: QuicSettings,
    pub(crate) router: SharedRouter,
    pub(crate) ops_token: SharedToken,
    /// Origins that are allowed beside the configured ones.
    pub(crate) page_origins: Vec<String>,
}

struct Reloader {
    parts: Reloadable,
    log_filter: OnceLock<LogFilter>,
    state: Mutex<ReloadState>,
}

struct ReloadState {
    /// The configuration in effect, as configured.
    config: Config,
    /// Its projects with the text of their public keys.
    projects: Vec<ProjectConfig>,
    awaiting_restart: Vec<SettingChange>,
}

/// A configuration of which everything has been read.
struct Prepared {
    config: Config,
    /// Its projects with the text of their public keys.
    entries: Vec<ProjectConfig>,
    projects: Projects,
    /// None if the certificate comes from ACME, which reloads it by itself.
    certificate: Option<LoadedCertificate>,
}

impl ReloadHandle {
    /// `config` is the one with which the gateway starts, and `projects` are its projects with the text of
    /// their public keys.
    pub(crate) fn new(parts: Reloadable, config: Config, projects: Vec<ProjectConfig>) -> Self {
        let state = ReloadState { config, projects, awaiting_restart: Vec::new() };
        Self(Arc::new(Reloader { parts, log_filter: OnceLock::new(), state: Mutex::new(state) }))
    }

    /// The filter of the log. Only the first one counts.
    pub(crate) fn set_log_filter(&self, filter: LogFilter) {
        let _ = self.0.log_filter.set(filter);
    }

    /// The configuration in effect, without its secrets.
    pub(crate) fn report(&self) -> ConfigurationReport {
        let state = self.0.state.lock();
        let awaiting_restart = state.awaiting_restart.clone();
        ConfigurationReport { settings: state.config.redacted(), awaiting_restart }
    }

    /// The times of a drain that would begin now.
    pub fn drain(&self) -> DrainConfig {
        self.0.state.lock().config.drain.clone()
    }

    /// Takes the projects of a configuration and ignores its other settings. Returns whether the
    /// projects changed. New tokens and requests are checked against the new projects; existing
    /// connections stay, even if their project was removed.
    ///
    /// # Errors
    /// Every problem of the projects. The gateway then keeps its current projects.
    pub fn replace_projects(&self, config: &Config) -> Result<bool, Vec<Problem>> {
        let entries = project::read_keys(config)?;
        let mut state = self.0.state.lock();
        if state.projects == entries {
            return Ok(false);
        }
        let projects = Projects::new(&entries, &state.config)?;
        self.0.parts.context.services.replace_projects(projects);
        state.config.projects.clone_from(&config.projects);
        state.projects = entries;
        Ok(true)
    }

    /// Applies a configuration, and returns what has changed. Each changed setting is logged, and each that
    /// needs a restart. Blocks while files are read.
    ///
    /// # Errors
    /// Every problem of the configuration. Nothing has changed then.
    pub fn apply(&self, wanted: &Config) -> Result<ReloadReport, Vec<Problem>> {
        let mut state = self.0.state.lock();
        let prepared = Prepared::read(wanted, &state.config)?;
        let filter = &prepared.config.log.filter;
        if let Some(log) = self.0.log_filter.get().filter(|_| *filter != state.config.log.filter) {
            log.set(filter).map_err(|why| vec![Problem::invalid("log.filter", why)])?;
        }
        let changes = state.config.redacted().changes_to(&prepared.config.redacted());
        let awaiting_restart = prepared.config.redacted().changes_to(&wanted.redacted());
        // Public keys may have changed in their files alone.
        let keys_changed = state.projects != prepared.entries;
        let Prepared { config, entries, projects, certificate } = prepared;
        self.0.parts.set(&state.config, &config, projects, certificate);
        for SettingChange { setting, from, to, .. } in &changes {
            info!(setting, %from, %to, "setting changed");
        }
        for SettingChange { setting, from, to, .. } in &awaiting_restart {
            warn!(setting, %from, %to, "setting not changed: it needs a restart");
        }
        let (changed, restart) = (changes.len(), awaiting_restart.len());
        info!(changed, needs_restart = restart, keys_changed, "configuration reloaded");
        *state =
            ReloadState { config, projects: entries, awaiting_restart: awaiting_restart.clone() };
        Ok(ReloadReport { changed: changes, awaiting_restart, keys_changed })
    }
}

impl Prepared {
    /// Reads everything that `wanted` needs, with the settings of `running` that only a restart changes.
    fn read(wanted: &Config, running: &Config) -> Result<Self, Vec<Problem>> {
        let problems = |problems: Vec<_>| if problems.is_empty() { Ok(()) } else { Err(problems) };
        // With this one the gateway would start again.
        problems(project::check(wanted))?;
        let config = wanted.with_restart_settings_of(running);
        // The two may not suit each other: a token may be needed for an address that is to change.
        problems(config.check().into_iter().map(at_restart).collect())?;
        let entries = project::read_keys(&config)?;
        let projects = Projects::new(&entries, &config)?;
        let files = config.tls.certificate.clone().zip(config.tls.key.clone());
        let certificate = files.map(|(certificate, key)| LoadedCertificate::read(certificate, key));
        let certificate = certificate.transpose().map_err(|error| {
            let reason = format!("cannot be used: {}", with_causes(&error));
            vec![Problem::file("tls.certificate", reason)]
        })?;
        Ok(Self { config, entries, projects, certificate })
    }
}

/// A problem of a configuration that is valid for a gateway that starts with it.
fn at_restart(problem: Problem) -> Problem {
    let reason = format!("{}; the file is valid, but needs a restart", problem.kind);
    Problem::invalid(problem.setting, reason)
}

impl Reloadable {
    /// Applies a configuration. Nothing here can fail.
    fn set(
        &self,
        before: &Config,
        config: &Config,
        projects: Projects,
        certificate: Option<LoadedCertificate>,
    ) {
        let ServerContext { services, lifecycle, admission, .. } = &self.context;
        if let Some(certificate) = certificate {
            self.certificates.present(certificate);
        }
        let mut effective = config.clone();
        effective.auth.allowed_origins.extend(self.page_origins.iter().cloned());
        services.set(&effective, projects);
        admission.set(&effective);
        lifecycle.schedule().set(&config.drain);
        self.webhooks.set_max_bytes(config.limits.webhook_queue_bytes);
        self.quic.set(&services.policy());
        if before.opentok_js.prefix != config.opentok_js.prefix {
            self.router.set(http::router(&self.context));
        }
        // The check has read it.
        if let Ok(token) = config.ops.token() {
            self.ops_token.set(token);
        }
    }
}

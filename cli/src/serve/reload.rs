//! Reload of the projects and the certificate while the gateway runs.

use std::{future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use signalbox_certs::Certificates;
use signalbox_gateway::{
    Config, ProjectsHandle,
    supervise::{blocking, keep_running},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Mutex as AsyncMutex,
};
use tracing::{info, warn};

use super::service_manager::ServiceManager;
use crate::config::{InvalidConfig, Sources};

/// Interval at which the configuration is read.
const CONFIG_POLL: Duration = Duration::from_secs(3);

/// Reloads changed projects when they are noticed; on SIGHUP the projects and the certificate at once.
/// (The gateway watches the certificate files itself.) From now on SIGHUP does not end the process.
pub(super) fn watch(
    certificates: Certificates,
    projects: ProjectReload,
    service_manager: Arc<ServiceManager>,
) -> anyhow::Result<impl Future<Output = ()>> {
    let hangups = Arc::new(AsyncMutex::new(signal(SignalKind::hangup())?));
    let projects = Arc::new(Mutex::new(projects));
    Ok(keep_running("configuration reload", move || {
        poll(certificates.clone(), projects.clone(), hangups.clone(), service_manager.clone())
    }))
}

async fn poll(
    certificates: Certificates,
    projects: Arc<Mutex<ProjectReload>>,
    hangups: Arc<AsyncMutex<Signal>>,
    service_manager: Arc<ServiceManager>,
) {
    let mut hangups = hangups.lock().await;
    let mut interval = tokio::time::interval(CONFIG_POLL);
    loop {
        let requested = tokio::select! {
            hangup = hangups.recv() => hangup.is_some(),
            _ = interval.tick() => false,
        };
        if requested {
            service_manager.reloading().await;
        }
        let certificates = requested.then(|| certificates.clone());
        let projects = projects.clone();
        // Reading files may take a while.
        blocking("configuration reload", move || {
            if let Some(certificates) = certificates {
                // It logs success and failure, and keeps the old certificate on failure.
                let _ = certificates.reload();
            }
            projects.lock().reload(requested);
        })
        .await;
        if requested {
            service_manager.ready().await;
        }
    }
}

/// Passes changed projects of the configuration to the running gateway.
pub(super) struct ProjectReload {
    sources: Sources,
    defaults: Config,
    projects: ProjectsHandle,
    /// The configuration of the last poll, if it has not been applied yet.
    pending: Option<Config>,
    /// The last error, which is logged once.
    error: Option<String>,
    /// The other settings. A change of them is logged once, too.
    other_settings: Config,
}

impl ProjectReload {
    /// `config` is the one with which the gateway was started.
    pub(super) fn new(
        sources: Sources,
        defaults: Config,
        config: &Config,
        projects: ProjectsHandle,
    ) -> Self {
        let other_settings = without_projects(config);
        Self { sources, defaults, projects, pending: None, error: None, other_settings }
    }

    /// Reads the configuration. A change is applied when two polls in a row have seen it, as an editor
    /// may be in the middle of writing; or at once if a reload was `requested`.
    fn reload(&mut self, requested: bool) {
        if let Err(error) = self.apply(requested) {
            let text = format!("{error:#}");
            if requested || self.error.as_ref() != Some(&text) {
                warn!(%error, "configuration reload failed; keeping current projects");
            }
            self.error = Some(text);
        }
    }

    fn apply(&mut self, requested: bool) -> anyhow::Result<()> {
        let before = self.pending.take();
        let config = self.sources.resolve(&self.defaults).map_err(on_one_line)?;
        let is_stable = before.as_ref() == Some(&config);
        self.pending = Some(config.clone());
        if !requested && !is_stable {
            return Ok(());
        }
        let changed = match self.projects.replace(&config) {
            Ok(changed) => changed,
            Err(problems) => {
                return Err(on_one_line(self.sources.locate(&self.defaults, problems)?.into()));
            }
        };
        if changed {
            info!(projects = config.projects.len(), "projects reloaded");
        }
        let other_settings = without_projects(&config);
        if self.other_settings != other_settings {
            warn!("settings other than the projects changed; restart the gateway to apply them");
            self.other_settings = other_settings;
        }
        self.error = None;
        Ok(())
    }
}

/// The same error for a log, where a message is one line.
fn on_one_line(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<InvalidConfig>() {
        Ok(invalid) => anyhow::anyhow!("{}", invalid.on_one_line()),
        Err(error) => error,
    }
}

fn without_projects(config: &Config) -> Config {
    Config { projects: Vec::new(), ..config.clone() }
}

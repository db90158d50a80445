//! Reload of the configuration while the gateway runs.

use std::{future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use signalbox_gateway::{
    Config, Problem, ReloadHandle, ReloadReport, ReloadRequests,
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

/// What the log says of an invalid configuration.
const NOT_RELOADED: &str = "configuration not reloaded; the current one stays in effect";

/// Applies changed projects when they are noticed, and the whole configuration on SIGHUP and when an
/// operator asks for it over the network. (The gateway watches the certificate files itself.) From now on
/// SIGHUP does not end the process.
pub(super) fn watch(
    configuration: ConfigReload,
    requests: ReloadRequests,
    service_manager: Arc<ServiceManager>,
) -> anyhow::Result<impl Future<Output = ()>> {
    let triggers = Triggers { hangups: signal(SignalKind::hangup())?, requests };
    let triggers = Arc::new(AsyncMutex::new(triggers));
    let configuration = Arc::new(Mutex::new(configuration));
    Ok(keep_running("configuration reload", move || {
        poll(configuration.clone(), triggers.clone(), service_manager.clone())
    }))
}

/// What asks for a reload.
struct Triggers {
    hangups: Signal,
    requests: ReloadRequests,
}

async fn poll(
    configuration: Arc<Mutex<ConfigReload>>,
    triggers: Arc<AsyncMutex<Triggers>>,
    service_manager: Arc<ServiceManager>,
) {
    let mut triggers = triggers.lock().await;
    let Triggers { hangups, requests } = &mut *triggers;
    let mut interval = tokio::time::interval(CONFIG_POLL);
    loop {
        let configuration = configuration.clone();
        let request = tokio::select! {
            Some(()) = hangups.recv() => None,
            request = requests.next() => Some(request),
            _ = interval.tick() => {
                let poll = move || configuration.lock().poll();
                blocking("configuration reload", poll).await;
                continue;
            }
        };
        service_manager.reloading().await;
        // Reading files may take a while.
        let reload = move || configuration.lock().reload();
        let outcome = blocking("configuration reload", reload).await;
        service_manager.ready().await;
        if let Some(request) = request {
            request.answer(outcome);
        }
    }
}

/// Passes a changed configuration to the running gateway.
pub(super) struct ConfigReload {
    sources: Sources,
    defaults: Config,
    adapt: Box<Adapt>,
    gateway: ReloadHandle,
    /// The configuration of the last poll, if its projects have not been applied yet.
    pending: Option<Config>,
    /// The last error, which is logged once.
    error: Option<String>,
    /// The other settings. A change of them is logged once, too.
    other_settings: Config,
}

/// Changes the settings of a configuration that flags of this process imply.
pub(super) type Adapt = dyn Fn(&mut Config) + Send;

impl ConfigReload {
    /// `config` is the one with which the gateway was started, before it was adapted.
    pub(super) fn new(
        sources: Sources,
        defaults: Config,
        config: &Config,
        adapt: Box<Adapt>,
        gateway: ReloadHandle,
    ) -> Self {
        let other_settings = without_projects(config);
        Self { sources, defaults, adapt, gateway, pending: None, error: None, other_settings }
    }

    /// Applies the whole configuration. Returns what has changed, or why nothing has.
    fn reload(&mut self) -> Result<ReloadReport, String> {
        self.apply().map_err(|error| {
            warn!(%error, "{NOT_RELOADED}");
            let text = format!("{error:#}");
            self.error = Some(text.clone());
            text
        })
    }

    /// Applies the projects when two polls in a row have seen them, as an editor may be in the middle of
    /// writing.
    fn poll(&mut self) {
        let Err(error) = self.apply_projects() else { return };
        let text = format!("{error:#}");
        if self.error.as_ref() != Some(&text) {
            warn!(%error, "{NOT_RELOADED}");
        }
        self.error = Some(text);
    }

    fn apply(&mut self) -> anyhow::Result<ReloadReport> {
        let config = self.sources.resolve(&self.defaults).map_err(on_one_line)?;
        let mut adapted = config.clone();
        (self.adapt)(&mut adapted);
        let report = self.gateway.apply(&adapted).map_err(|problems| self.located(problems))?;
        self.pending = Some(config.clone());
        self.other_settings = without_projects(&config);
        self.error = None;
        Ok(report)
    }

    fn apply_projects(&mut self) -> anyhow::Result<()> {
        let before = self.pending.take();
        let config = self.sources.resolve(&self.defaults).map_err(on_one_line)?;
        let is_stable = before.as_ref() == Some(&config);
        self.pending = Some(config.clone());
        if !is_stable {
            return Ok(());
        }
        let changed =
            self.gateway.replace_projects(&config).map_err(|problems| self.located(problems))?;
        if changed {
            info!(projects = config.projects.len(), "projects reloaded");
        }
        let other_settings = without_projects(&config);
        if self.other_settings != other_settings {
            warn!("changed settings not applied; reload the gateway");
            self.other_settings = other_settings;
        }
        self.error = None;
        Ok(())
    }

    /// An error with the places of these problems.
    fn located(&self, problems: Vec<Problem>) -> anyhow::Error {
        match self.sources.locate(&self.defaults, problems) {
            Ok(invalid) => on_one_line(invalid.into()),
            Err(error) => error,
        }
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

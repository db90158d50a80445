//! Reload of the configuration while the gateway runs.

use std::{future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use signalbox_gateway::{
    Config, Problem, ReloadHandle,
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

/// Applies changed projects when they are noticed, and the whole configuration on SIGHUP. (The gateway
/// watches the certificate files itself.) From now on SIGHUP does not end the process.
pub(super) fn watch(
    configuration: ConfigReload,
    service_manager: Arc<ServiceManager>,
) -> anyhow::Result<impl Future<Output = ()>> {
    let hangups = Arc::new(AsyncMutex::new(signal(SignalKind::hangup())?));
    let configuration = Arc::new(Mutex::new(configuration));
    Ok(keep_running("configuration reload", move || {
        poll(configuration.clone(), hangups.clone(), service_manager.clone())
    }))
}

async fn poll(
    configuration: Arc<Mutex<ConfigReload>>,
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
        let configuration = configuration.clone();
        // Reading files may take a while.
        blocking("configuration reload", move || configuration.lock().reload(requested)).await;
        if requested {
            service_manager.ready().await;
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

    /// Applies the configuration if a reload was `requested`. Otherwise its projects are applied when two
    /// polls in a row have seen them, as an editor may be in the middle of writing.
    fn reload(&mut self, requested: bool) {
        let applied = if requested { self.apply() } else { self.apply_projects() };
        if let Err(error) = applied {
            let text = format!("{error:#}");
            if requested || self.error.as_ref() != Some(&text) {
                warn!(%error, "configuration not reloaded; the current one stays in effect");
            }
            self.error = Some(text);
        }
    }

    fn apply(&mut self) -> anyhow::Result<()> {
        let config = self.sources.resolve(&self.defaults).map_err(on_one_line)?;
        let mut adapted = config.clone();
        (self.adapt)(&mut adapted);
        self.gateway.apply(&adapted).map_err(|problems| self.located(problems))?;
        self.pending = Some(config.clone());
        self.other_settings = without_projects(&config);
        self.error = None;
        Ok(())
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

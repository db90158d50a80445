//! What a running gateway takes from its configuration when that changes: its projects.

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

use crate::config::{InvalidConfig, Sources};

/// How often the configuration is looked at for changed projects.
const CONFIG_POLL: Duration = Duration::from_secs(3);

/// Takes up changed projects when they are seen, and those and the certificate at once on SIGHUP.
/// (The gateway looks at the certificate's files by itself.)
pub(crate) fn keep_up(
    certificates: Certificates,
    projects: Reload,
) -> anyhow::Result<impl Future<Output = ()>> {
    // From now on SIGHUP does not end the process.
    let hangups = Arc::new(AsyncMutex::new(signal(SignalKind::hangup())?));
    let projects = Arc::new(Mutex::new(projects));
    Ok(keep_running("configuration reload", move || {
        look_again_and_again(certificates.clone(), projects.clone(), hangups.clone())
    }))
}

async fn look_again_and_again(
    certificates: Certificates,
    projects: Arc<Mutex<Reload>>,
    hangups: Arc<AsyncMutex<Signal>>,
) {
    let mut hangups = hangups.lock().await;
    let mut poll = tokio::time::interval(CONFIG_POLL);
    loop {
        let asked = tokio::select! {
            hangup = hangups.recv() => hangup.is_some(),
            _ = poll.tick() => false,
        };
        let certificates = asked.then(|| certificates.clone());
        let projects = projects.clone();
        // Reading files may take a while.
        blocking("configuration reload", move || {
            if let Some(certificates) = certificates {
                // Success and failure are logged there; the old one stays on failure.
                let _ = certificates.reload();
            }
            projects.lock().look(asked);
        })
        .await;
    }
}

/// Takes changed projects from the configuration to the running gateway.
pub(crate) struct Reload {
    sources: Sources,
    defaults: Config,
    projects: ProjectsHandle,
    /// What the last look saw, if it has not been taken up yet.
    seen: Option<Config>,
    /// What was wrong then, so that it is said once.
    wrong: Option<String>,
    /// The rest of the configuration, for the same reason.
    rest: Config,
}

impl Reload {
    /// `config` is what the gateway was started with.
    pub(crate) fn new(
        sources: Sources,
        defaults: Config,
        config: &Config,
        projects: ProjectsHandle,
    ) -> Self {
        Self { sources, defaults, projects, seen: None, wrong: None, rest: rest_of(config) }
    }

    /// Reads the configuration. What has changed is taken up when two looks have seen the same,
    /// as an editor may be in the middle of writing, or at once if somebody has `asked`.
    fn look(&mut self, asked: bool) {
        if let Err(error) = self.take_up(asked) {
            let wrong = format!("{error:#}");
            if asked || self.wrong.as_ref() != Some(&wrong) {
                tracing::warn!(%error, "cannot take up the configuration; the projects stay");
            }
            self.wrong = Some(wrong);
        }
    }

    fn take_up(&mut self, asked: bool) -> anyhow::Result<()> {
        let before = self.seen.take();
        let config = self.sources.resolve(&self.defaults).map_err(on_one_line)?;
        let stable = before.as_ref() == Some(&config);
        self.seen = Some(config.clone());
        if !asked && !stable {
            return Ok(());
        }
        let changed = match self.projects.replace(&config) {
            Ok(changed) => changed,
            Err(problems) => {
                return Err(on_one_line(self.sources.locate(&self.defaults, problems)?.into()));
            }
        };
        if changed {
            tracing::info!(projects = config.projects.len(), "took up changed projects");
        }
        let rest = rest_of(&config);
        if self.rest != rest {
            tracing::warn!("a setting besides the projects has changed: it needs a restart");
            self.rest = rest;
        }
        self.wrong = None;
        Ok(())
    }
}

/// The same error for a log, where a line is a message.
fn on_one_line(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<InvalidConfig>() {
        Ok(invalid) => anyhow::anyhow!("{}", invalid.on_one_line()),
        Err(error) => error,
    }
}

/// All but the projects.
fn rest_of(config: &Config) -> Config {
    Config { projects: Vec::new(), ..config.clone() }
}

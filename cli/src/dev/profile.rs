//! Connection profile of the gateways of `serve --dev` on this machine: the one that was started
//! last, or all of its cluster. With it `join --dev` and `send --dev` need no URL, certificate
//! authority or token.

use std::{
    env,
    fs::{self, DirBuilder},
    io::Write as _,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::ValueEnum;
use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};
use serde::{Deserialize, Serialize};

use super::{DevTokens, lock::FileLock};

/// The contents of the profile file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DevProfile {
    /// The cluster of the gateways; none if there is one gateway on its own.
    pub(crate) cluster: Option<DevCluster>,
    pub(crate) gateways: Vec<DevGateway>,
    pub(crate) ca: PathBuf,
    pub(crate) session: String,
    pub(crate) tokens: DevTokens,
}

/// A cluster at its NATS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DevCluster {
    pub(crate) servers: Vec<String>,
    pub(crate) namespace: String,
}

/// A running gateway.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DevGateway {
    pub(crate) name: String,
    /// Its process id.
    pub(crate) pid: u32,
    pub(crate) quic: String,
    pub(crate) websocket: String,
    /// URL of its operations listener.
    pub(crate) ops: Option<String>,
}

/// The role of the token to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DevRole {
    Publisher,
    Moderator,
    Subscriber,
}

impl DevGateway {
    /// Whether its process exists.
    fn is_alive(&self) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
    }
}

impl DevProfile {
    /// Reads the profile that the gateways have written, without those that were killed.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let file = file()?;
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => anyhow::bail!(
                "no gateway of `signalbox serve --dev` is running ({} does not exist): start one, or pass the \
                 URL of another gateway",
                file.display()
            ),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", file.display()));
            }
        };
        let mut profile: Self = serde_json::from_slice(&text).with_context(|| {
            format!(
                "{} was written by another version: restart `signalbox serve --dev`",
                file.display()
            )
        })?;
        // If all were killed, the error of connecting is the better one.
        if profile.gateways.iter().any(DevGateway::is_alive) {
            profile.gateways.retain(DevGateway::is_alive);
        }
        Ok(profile)
    }

    /// The token of a role.
    pub(crate) fn token(&self, role: DevRole) -> &str {
        match role {
            DevRole::Publisher => &self.tokens.publisher,
            DevRole::Moderator => &self.tokens.moderator,
            DevRole::Subscriber => &self.tokens.subscriber,
        }
    }

    /// Moves the gateway of this name to the front.
    pub(crate) fn prefer(&mut self, name: &str) -> anyhow::Result<()> {
        let Some(at) = self.gateways.iter().position(|gateway| gateway.name == name) else {
            let names: Vec<_> = self.gateways.iter().map(|it| it.name.as_str()).collect();
            anyhow::bail!("no gateway is named {name:?}: --gateway is one of {}", names.join(", "));
        };
        let gateway = self.gateways.remove(at);
        self.gateways.insert(0, gateway);
        Ok(())
    }

    /// Adds the gateway of this profile to that of its cluster, or replaces the profile of another
    /// gateway. It holds tokens, so only its owner can read it.
    pub(crate) fn write(mut self) -> anyhow::Result<ProfileGuard> {
        let file = file()?;
        let dir = file.parent().context("the profile has no directory")?;
        let created = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        created.with_context(|| format!("cannot write {}", file.display()))?;
        let _lock = lock(&file)?;
        let pid = std::process::id();
        if let Ok(other) = Self::read()
            && self.cluster.is_some()
            && (&self.cluster, &self.ca, &self.session)
                == (&other.cluster, &other.ca, &other.session)
        {
            let alive = other.gateways.into_iter().filter(DevGateway::is_alive);
            self.gateways.extend(alive);
            self.gateways.sort_by(|a, b| a.name.cmp(&b.name));
        }
        self.write_to(&file)?;
        Ok(ProfileGuard { file, pid })
    }

    fn write_to(&self, file: &Path) -> anyhow::Result<()> {
        let write = || {
            // Created with mode 0600.
            let mut new = tempfile::NamedTempFile::new_in(file.parent().unwrap_or(file))?;
            new.write_all(&serde_json::to_vec_pretty(self)?)?;
            new.persist(file)?;
            Ok(())
        };
        let written: std::io::Result<()> = write();
        written.with_context(|| format!("cannot write {}", file.display()))
    }
}

/// The gateway of this process in the profile file. Dropping it removes it.
pub(crate) struct ProfileGuard {
    file: PathBuf,
    pid: u32,
}

impl ProfileGuard {
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Removes the gateway; with the last one the file, unless another gateway has replaced it.
    fn remove(&self) -> anyhow::Result<()> {
        let _lock = lock(&self.file)?;
        let mut profile = DevProfile::read()?;
        let before = profile.gateways.len();
        profile.gateways.retain(|gateway| gateway.pid != self.pid);
        if profile.gateways.is_empty() {
            fs::remove_file(&self.file)?;
        } else if profile.gateways.len() < before {
            profile.write_to(&self.file)?;
        }
        Ok(())
    }
}

impl Drop for ProfileGuard {
    fn drop(&mut self) {
        // A profile that stays names processes that do not exist, which readers notice.
        let _ = self.remove();
    }
}

/// The lock for changes of the profile.
fn lock(file: &Path) -> anyhow::Result<FileLock> {
    FileLock::acquire(&file.with_extension("lock"))
}

/// Path of the profile: in a directory that all terminals of the user share (XDG base directories).
fn file() -> anyhow::Result<PathBuf> {
    let dir = |name| env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let base = dir("XDG_RUNTIME_DIR")
        .or_else(|| dir("XDG_STATE_HOME"))
        .or_else(|| Some(env::home_dir()?.join(".local/state")))
        .context("no directory for the profile: set XDG_RUNTIME_DIR or HOME")?;
    Ok(base.join("signalbox").join("dev.json"))
}

//! Connection profile of the gateway that `serve --dev` started last on this machine. With it
//! `join --dev` and `send --dev` need no URL, certificate authority or token.

use std::{
    env,
    fs::{self, DirBuilder},
    io::Write as _,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::DevTokens;

/// The contents of the profile file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DevProfile {
    /// Process id of the gateway.
    pub(crate) pid: u32,
    pub(crate) quic: String,
    pub(crate) websocket: String,
    pub(crate) ca: PathBuf,
    pub(crate) session: String,
    pub(crate) tokens: DevTokens,
}

/// The role of the token to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DevRole {
    Publisher,
    Moderator,
    Subscriber,
}

impl DevProfile {
    /// Reads the profile that the gateway has written.
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
        serde_json::from_slice(&text).with_context(|| {
            format!(
                "{} was written by another version: restart `signalbox serve --dev`",
                file.display()
            )
        })
    }

    /// The token of a role.
    pub(crate) fn token(&self, role: DevRole) -> &str {
        match role {
            DevRole::Publisher => &self.tokens.publisher,
            DevRole::Moderator => &self.tokens.moderator,
            DevRole::Subscriber => &self.tokens.subscriber,
        }
    }

    /// Writes the profile, in place of that of an earlier gateway. It holds tokens, so only its owner
    /// can read it.
    pub(crate) fn write(&self) -> anyhow::Result<ProfileGuard> {
        let file = file()?;
        let dir = file.parent().context("the profile has no directory")?;
        let write = || {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            // Created with mode 0600.
            let mut new = tempfile::NamedTempFile::new_in(dir)?;
            new.write_all(&serde_json::to_vec_pretty(self)?)?;
            new.persist(&file)?;
            Ok(())
        };
        let written: std::io::Result<()> = write();
        written.with_context(|| format!("cannot write {}", file.display()))?;
        Ok(ProfileGuard { file, pid: self.pid })
    }
}

/// The profile file. Dropping it removes the file.
pub(crate) struct ProfileGuard {
    file: PathBuf,
    pid: u32,
}

impl ProfileGuard {
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }
}

impl Drop for ProfileGuard {
    /// Removes the file, unless another gateway has replaced it.
    fn drop(&mut self) {
        if DevProfile::read().is_ok_and(|profile| profile.pid == self.pid) {
            let _ = fs::remove_file(&self.file);
        }
    }
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

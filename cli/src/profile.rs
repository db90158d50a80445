//! How to reach the gateway that `serve --dev` started last on this machine, so that `join --dev`
//! and `send --dev` need no URL, authority and token.

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

use crate::dev::Tokens;

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Profile {
    /// The gateway's process.
    pub(crate) pid: u32,
    pub(crate) quic: String,
    pub(crate) websocket: String,
    pub(crate) ca: PathBuf,
    pub(crate) session: String,
    pub(crate) tokens: Tokens,
}

/// Whose token to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DevRole {
    Publisher,
    Moderator,
    Subscriber,
}

impl Profile {
    /// Reads what the gateway has written.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let file = file()?;
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => anyhow::bail!(
                "no gateway was started by `signalbox serve --dev`, which would have written {}: start one, \
                 or name a gateway by its URL",
                file.display()
            ),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", file.display()));
            }
        };
        serde_json::from_slice(&text).with_context(|| {
            format!("{} is of another version: start `signalbox serve --dev` again", file.display())
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

    /// Writes it, for its owner only as it holds tokens; it replaces that of an earlier gateway.
    pub(crate) fn write(&self) -> anyhow::Result<Written> {
        let file = file()?;
        let dir = file.parent().context("the file is in no folder")?;
        let write = || {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            // Made with mode 0600.
            let mut new = tempfile::NamedTempFile::new_in(dir)?;
            new.write_all(&serde_json::to_vec_pretty(self)?)?;
            new.persist(&file)?;
            Ok(())
        };
        let written: std::io::Result<()> = write();
        written.with_context(|| format!("cannot write {}", file.display()))?;
        Ok(Written { file, pid: self.pid })
    }
}

/// The file while its gateway runs.
pub(crate) struct Written {
    file: PathBuf,
    pid: u32,
}

impl Written {
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }
}

impl Drop for Written {
    /// Removes it, unless it is another gateway's by now.
    fn drop(&mut self) {
        if Profile::read().is_ok_and(|profile| profile.pid == self.pid) {
            let _ = fs::remove_file(&self.file);
        }
    }
}

/// Where it is: a place of the user's that all terminals know (XDG base directories).
fn file() -> anyhow::Result<PathBuf> {
    let dir = |name| env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let base = dir("XDG_RUNTIME_DIR")
        .or_else(|| dir("XDG_STATE_HOME"))
        .or_else(|| Some(env::home_dir()?.join(".local/state")))
        .context("there is no place for it: neither XDG_RUNTIME_DIR nor HOME is set")?;
    Ok(base.join("signalbox").join("dev.json"))
}

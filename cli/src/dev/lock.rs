//! A lock file, for processes of `serve --dev` that start at the same time.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::Context as _;

/// A lock. Dropping it, or the end of the process, releases it.
pub(crate) struct FileLock(#[expect(dead_code, reason = "closing it releases the lock")] File);

impl FileLock {
    /// Waits until no other process has the lock, which each of them has for moments only. The file
    /// stays.
    pub(crate) fn acquire(path: &Path) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = || {
            let file = options.open(path)?;
            file.lock()?;
            Ok(Self(file))
        };
        let locked: std::io::Result<Self> = lock();
        locked.with_context(|| format!("cannot lock {}", path.display()))
    }
}

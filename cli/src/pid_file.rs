//! PID file of a running gateway: its process id in decimal, on one line.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The PID file of this process. Dropping it removes the file.
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    /// Writes the file, in place of one that an earlier process has left.
    pub(crate) fn write(path: &Path) -> anyhow::Result<Self> {
        std::fs::write(path, format!("{}\n", std::process::id()))
            .with_context(|| format!("cannot write the PID file {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }

    /// Reads the process id of a file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<u32> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("cannot read the PID file {shown}; is the gateway running, with --pid-file?")
        })?;
        let pid = text.trim().parse();
        pid.with_context(|| format!("{shown} is not a PID file: it must contain one process id"))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // A new process may have replaced it.
        if Self::read(&self.0).is_ok_and(|pid| pid == std::process::id()) {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_this_process_while_it_lives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        std::fs::write(&path, "12345678901").unwrap();
        let error = PidFile::read(&path).unwrap_err().to_string();
        assert!(error.contains("is not a PID file"), "{error}");
        let file = PidFile::write(&path).unwrap();
        assert_eq!(PidFile::read(&path).unwrap(), std::process::id());
        drop(file);
        assert!(!path.exists());
        let file = PidFile::write(&path).unwrap();
        std::fs::write(&path, "1\n").unwrap();
        drop(file);
        assert_eq!(PidFile::read(&path).unwrap(), 1, "the file of another process stays");
    }
}

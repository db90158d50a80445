//! Headless Chromium.

use std::{ffi::OsStr, process::Command};

use anyhow::{Context as _, ensure};

use crate::process::{Process, ProcessDir};

/// Its names on different systems.
const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Without a window, without the work that it does for its own sake, and without slowing down pages
/// that nobody sees.
const FLAGS: [&str; 12] = [
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--mute-audio",
    // WebSocket knows no hash of a certificate. WebTransport ignores this flag.
    "--ignore-certificate-errors",
];

/// An installed Chromium.
#[derive(Debug)]
pub(super) struct Chromium {
    program: &'static str,
    /// Its name and version.
    pub(super) version: String,
}

impl Chromium {
    /// Looks for it on this machine.
    pub(super) fn find() -> anyhow::Result<Self> {
        let version = |program: &&'static str| {
            let output = Command::new(program).arg("--version").output().ok()?;
            let version = String::from_utf8_lossy(&output.stdout);
            // The rest is the name of the distribution.
            let words: Vec<_> = version.split_whitespace().take(2).collect();
            output.status.success().then(|| (*program, words.join(" ")))
        };
        let found = PROGRAMS.iter().find_map(version);
        let (program, version) = found.context(
            "to measure a browser, install Chromium: apt install chromium (Debian), or a chromium \
             or google-chrome on the PATH",
        )?;
        Ok(Self { program, version })
    }

    /// Starts it with one page.
    pub(super) fn start(&self, directory: &ProcessDir<'_>, url: &str) -> anyhow::Result<Process> {
        ensure!(url.starts_with("http://127.0.0.1:"), "{url} is no secure context");
        let mut profile = OsStr::new("--user-data-dir=").to_owned();
        profile.push(directory.path().join("profile"));
        let mut command = directory.command(self.program);
        command.args(FLAGS).arg(profile);
        if rustix::process::geteuid().is_root() {
            // It refuses to start with a sandbox.
            command.arg("--no-sandbox");
        }
        directory.spawn("Chromium", command.arg(url))
    }
}

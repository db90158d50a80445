//! Fixture: a gateway with a configuration file of its own.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    time::Instant,
};

use serde_json::Value;

use crate::{Gateway, Process, TIMEOUT, run, signalbox, stdout};

/// A gateway with a configuration file, whose certificate is that of a development gateway.
pub(crate) struct Configured {
    pub(crate) process: Process,
    pub(crate) announcement: Value,
    pub(crate) file: PathBuf,
    pub(crate) dev: Gateway,
    pub(crate) dir: tempfile::TempDir,
}

impl Configured {
    pub(crate) fn start() -> Self {
        let dev = Gateway::start();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gateway.toml");
        let ca = Path::new(dev.text("/ca"));
        let tls = format!(
            "[tls]\ncertificate = {:?}\nkey = {:?}\n",
            ca.with_file_name("leaf.pem"),
            ca.with_file_name("leaf.key")
        );
        fs::write(&file, tls + &stdout(&run(&["project", "new"])) + "\n").unwrap();
        let mut command = signalbox();
        command.args(["serve", "--quic", "127.0.0.1:0", "--tcp", "127.0.0.1:0"]);
        command.env("SIGNALBOX_OPS__LISTEN", "127.0.0.1:0");
        command.args(["--announce", "json", "--config"]).arg(&file);
        let mut process = Process::start(&mut command);
        let announcement = process.event();
        Self { process, announcement, file, dev, dir }
    }

    pub(crate) fn add(&self, toml: &str) {
        let mut file = OpenOptions::new().append(true).open(&self.file).unwrap();
        writeln!(file, "{toml}").unwrap();
    }

    /// Whether a client with this token can join.
    pub(crate) fn lets_in(&self, token: &str) -> bool {
        let url = format!("wss://{}", self.announcement["https"].as_str().unwrap());
        let ca = self.dev.text("/ca");
        let sent = run(&["send", &url, "--ca", ca, "--token", token, "--data", "hello"]);
        sent.status.success()
    }

    pub(crate) fn comes_to_let_in(&self, token: &str) {
        let started = Instant::now();
        while !self.lets_in(token) {
            assert!(started.elapsed() < TIMEOUT, "it was never let in");
        }
    }
}

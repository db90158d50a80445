//! Fixture: a gateway of `serve --dev`, and commands that connect to it.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use crate::support::{Process, signalbox};

/// The command as an interactive shell starts it. Tests that run in the background inherit ignored
/// signals, which the command would leave ignored.
pub(crate) fn with_default_signals(command: &Command) -> Command {
    let mut env = Command::new("env");
    env.arg("--default-signal=INT,TERM,HUP").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => env.env(name, value),
            None => env.env_remove(name),
        };
    }
    env
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    signalbox().args(arguments).output().unwrap()
}

/// A gateway of `serve --dev`.
pub(crate) struct Gateway {
    pub(crate) process: Process,
    pub(crate) announcement: Value,
    pub(crate) _dir: tempfile::TempDir,
}

impl Gateway {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(environment: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Self::serve_command(dir.path(), "json");
        let mut process = Process::start(command.envs(environment.iter().copied()));
        let announcement = process.event();
        Self { process, announcement, _dir: dir }
    }

    pub(crate) fn serve(dir: &Path, announce: &str) -> Process {
        Process::start(&mut Self::serve_command(dir, announce))
    }

    pub(crate) fn serve_command(dir: &Path, announce: &str) -> Command {
        let mut command = signalbox();
        command
            .args(["serve", "--dev", "--quic", "127.0.0.1:0", "--tcp", "127.0.0.1:0"])
            .args(["--announce", announce, "--dev-dir"])
            .arg(dir)
            // Directory of the profile for --dev.
            .env("XDG_RUNTIME_DIR", dir);
        command
    }

    pub(crate) fn text(&self, path: &str) -> &str {
        self.announcement.pointer(path).and_then(Value::as_str).unwrap()
    }

    /// Its resident memory.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = format!("/proc/{}/status", self.process.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn url(&self, scheme: &str) -> String {
        let place = if scheme == "quic" { "/quic" } else { "/https" };
        format!("{scheme}://{}", self.text(place))
    }

    pub(crate) fn command(&self, name: &str, scheme: &str, role: &str) -> Command {
        let mut command = signalbox();
        let token = self.text(&format!("/tokens/{role}"));
        command.args([name, &self.url(scheme), "--ca", self.text("/ca"), "--token", token]);
        command
    }

    pub(crate) fn join(&self, scheme: &str, role: &str) -> Process {
        Process::start(&mut self.command("join", scheme, role))
    }

    pub(crate) fn join_json(&self, scheme: &str) -> Process {
        let mut process = Process::start(self.command("join", scheme, "publisher").arg("--json"));
        assert_eq!(process.event()["event"], "sessionConnected");
        process
    }
}

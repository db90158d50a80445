//! A nats-server of its own for a test or a benchmark of a cluster.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's panic is its answer"
)]

use std::{env, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// A running nats-server on a port of its own. Dropping it kills it.
pub struct NatsServer {
    directory: TempDir,
    process: Child,
    listen: (String, u16),
}

impl NatsServer {
    /// Whether this machine has no nats-server.
    pub fn is_missing() -> bool {
        let path = program_path();
        !env::split_paths(&path).any(|directory| directory.join("nats-server").is_file())
    }

    /// Starts it with this configuration.
    pub async fn start(configuration: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), configuration).await
    }

    /// Starts it in a folder that contains files of its configuration.
    pub async fn start_in(directory: TempDir, configuration: &str) -> Self {
        std::fs::write(directory.path().join("nats.conf"), configuration).unwrap();
        let address = "127.0.0.1";
        let (process, port) = spawn(&directory, address, -1).await;
        Self { directory, process, listen: (address.to_owned(), port) }
    }

    /// Starts it with this configuration on this address and port.
    pub async fn start_at(address: &str, port: u16, configuration: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("nats.conf"), configuration).unwrap();
        let (process, port) = spawn(&directory, address, port.into()).await;
        Self { directory, process, listen: (address.to_owned(), port) }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        let (address, port) = &self.listen;
        format!("nats://{address}:{port}")
    }

    /// Kills it.
    pub async fn kill(&mut self) {
        self.process.kill().await.unwrap();
    }

    /// Starts it on the same port after it was killed.
    pub async fn restart(&mut self) {
        let (address, port) = &self.listen;
        (self.process, _) = spawn(&self.directory, address, (*port).into()).await;
    }

    /// Stops the process, whose connections stay.
    pub fn stop(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
        // The signal takes effect later.
        let stopped = waitpid(Some(self.pid()), WaitOptions::UNTRACED).unwrap();
        assert!(stopped.is_some_and(|(_, status)| status.stopped()));
    }

    /// Lets the process run again.
    pub fn proceed(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    fn pid(&self) -> Pid {
        let pid = self.process.id().unwrap().try_into().unwrap();
        Pid::from_raw(pid).unwrap()
    }
}

/// Debian installs nats-server where only the superuser looks for programs.
fn program_path() -> String {
    let path = env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin")
}

/// Starts the process and waits until it listens; -1 is any port.
async fn spawn(directory: &TempDir, address: &str, port: i32) -> (Child, u16) {
    let mut process = Command::new("nats-server")
        .env("PATH", program_path())
        .current_dir(directory.path())
        .args(["--addr", address, "--config", "nats.conf", "--port", &port.to_string()])
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("these tests need nats-server: apt install nats-server");
    let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
    let ready = async {
        let (mut port, mut seen) = (None, String::new());
        loop {
            let line = log.next_line().await.unwrap();
            let line = line.unwrap_or_else(|| panic!("nats-server has ended: {seen}"));
            if let Some((_, listening)) = line.split_once("Listening for client connections on ") {
                port = listening.rsplit(':').next().and_then(|port| port.parse().ok());
            }
            if line.contains("Server is ready") {
                return port.unwrap_or_else(|| panic!("nats-server has no port: {seen}"));
            }
            seen += &line;
        }
    };
    let port = timeout(Duration::from_secs(20), ready).await.expect("nats-server starts");
    // A process that cannot write its log blocks.
    tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
    (process, port)
}

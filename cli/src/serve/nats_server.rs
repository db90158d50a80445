//! The nats-server of `serve --dev --gateways`: a child process on a free port of this machine.

use std::{env, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::child;

/// The program, and where Debian installs it, where only the superuser looks for programs.
const PROGRAM: &str = "nats-server";
const SYSTEM_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Time to start.
const START: Duration = Duration::from_secs(10);

/// A running nats-server. Dropping it kills it.
pub(super) struct NatsServer {
    pub(super) process: Child,
    pub(super) pid: u32,
    pub(super) url: String,
}

impl NatsServer {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let program = find().with_context(|| {
            format!(
                "{PROGRAM} is not installed, which --gateways starts: install it (on Debian and Ubuntu \
                 the package nats-server), or run one elsewhere and start each gateway with --cluster \
                 nats://HOST:PORT"
            )
        })?;
        let mut command = child::command(&program)?;
        // -1 is any free port.
        command.args(["--addr", "127.0.0.1", "--port", "-1"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Command::from(command).kill_on_drop(true).spawn()?;
        let pid = process.id().context("nats-server has ended")?;
        let log = process.stderr.take().context("nats-server has no log")?;
        let mut log = BufReader::new(log).lines();
        let ready = async {
            let (mut url, mut last) = (None, String::new());
            while let Some(line) = log.next_line().await? {
                if let Some((_, address)) = line.split_once("Listening for client connections on ")
                {
                    url = Some(format!("nats://{}", address.trim()));
                }
                if line.contains("Server is ready") {
                    break;
                }
                last = line;
            }
            url.with_context(|| format!("{} does not start: {last}", program.display()))
        };
        let Ok(url) = timeout(START, ready).await else {
            bail!("{} is not ready after {} s", program.display(), START.as_secs());
        };
        // A process that cannot write its log blocks.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Ok(Self { process, pid, url: url? })
    }
}

/// The path of the program.
fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(SYSTEM_DIRECTORIES.map(PathBuf::from));
    directories.map(|directory| directory.join(PROGRAM)).find(|file| file.is_file())
}

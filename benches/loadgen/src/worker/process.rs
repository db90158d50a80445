//! A worker process, seen from the measuring process.
//!
//! The two exchange lines of JSON over the worker's standard streams. When its input ends, for
//! any reason, the worker ends too.

use std::{ffi::OsStr, process::Stdio, time::Duration};

use anyhow::{Context as _, ensure};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// Timeout of a worker's end.
const END: Duration = Duration::from_secs(10);

/// A running worker. Dropping it ends it.
pub struct WorkerProcess {
    /// The command, for errors.
    name: String,
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl WorkerProcess {
    /// Starts this program with a hidden command and its flags.
    pub fn start<A: AsRef<OsStr>>(
        name: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let mut command = Command::new(program);
        command.arg(name).args(arguments);
        Self::spawn(name, command)
    }

    /// Starts another program.
    pub(crate) fn spawn(name: &str, mut command: Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C reaches us; the worker ends because we do.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start the {name}"))?;
        let input = child.stdin.take().context("no standard input")?;
        let output = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        Ok(Self { name: name.to_owned(), child, input, output })
    }

    /// `None` once it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a message, as a line of JSON.
    pub async fn send(&mut self, message: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_string(message)?;
        line.push('\n');
        let sent = self.input.write_all(line.as_bytes()).await;
        sent.with_context(|| format!("the {} has ended; the measurement is void", self.name))
    }

    /// Receives its next message.
    pub async fn receive<T: DeserializeOwned>(&mut self, within: Duration) -> anyhow::Result<T> {
        Ok(serde_json::from_str(&self.line(within).await?)?)
    }

    /// Receives its next line.
    pub async fn line(&mut self, within: Duration) -> anyhow::Result<String> {
        let name = &self.name;
        let line = tokio::time::timeout(within, self.output.next_line()).await;
        let line =
            line.with_context(|| format!("the {name} has sent nothing for {within:?}"))??;
        line.with_context(|| format!("the {name} has ended; the measurement is void"))
    }

    /// Ends it.
    pub async fn stop(self) -> anyhow::Result<()> {
        let Self { name, mut child, input, output } = self;
        drop((input, output));
        let status = tokio::time::timeout(END, child.wait()).await;
        let status = status.with_context(|| format!("the {name} did not end"))??;
        ensure!(status.success(), "the {name} ended with {status}");
        Ok(())
    }

    /// Kills it, as a crash would: its sockets are gone without a close.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("cannot kill the {}", self.name))
    }
}

//! A process beside the one that measures, for what must not delay its thread: this program once
//! more, with a hidden command.
//!
//! The two speak over the child's standard streams, line by line; when its input ends, whatever
//! the reason, so does the child.

use std::{ffi::OsStr, process::Stdio, time::Duration};

use anyhow::{Context as _, ensure};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
};

/// How long it may take to end.
const END: Duration = Duration::from_secs(10);

/// The child, seen from the process that measures. Dropping it ends it.
pub(crate) struct Helper {
    /// The command, for errors.
    name: String,
    child: Child,
    asks: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Helper {
    /// Starts this program with a hidden command and its flags.
    pub(crate) fn start<A: AsRef<OsStr>>(
        name: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let mut child = tokio::process::Command::new(program)
            .arg(name)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-c reaches us; the child ends because we do.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start the {name}"))?;
        let asks = child.stdin.take().context("no standard input")?;
        let answers = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        Ok(Self { name: name.to_owned(), child, asks, answers })
    }

    /// None once it has ended.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Says something to it, in a line of JSON.
    pub(crate) async fn tell(&mut self, message: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_string(message)?;
        line.push('\n');
        let told = self.asks.write_all(line.as_bytes()).await;
        told.with_context(|| format!("the {} has ended; the measurement is void", self.name))
    }

    /// What it says next, within a time.
    pub(crate) async fn answer<T: DeserializeOwned>(
        &mut self,
        within: Duration,
    ) -> anyhow::Result<T> {
        let name = &self.name;
        let line = tokio::time::timeout(within, self.answers.next_line()).await;
        let line = line.with_context(|| format!("the {name} says nothing for {within:?}"))??;
        let line =
            line.with_context(|| format!("the {name} has ended; the measurement is void"))?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Ends it; what it has to complain of is an error here, too.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let Self { name, mut child, asks, answers } = self;
        drop((asks, answers));
        let status = tokio::time::timeout(END, child.wait()).await;
        let status = status.with_context(|| format!("the {name} does not end"))??;
        ensure!(status.success(), "the {name} ended with {status}");
        Ok(())
    }

    /// Ends it without any notice, as a crash does: its sockets are just gone.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("cannot kill the {}", self.name))
    }
}

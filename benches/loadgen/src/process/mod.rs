//! Processes that end with the benchmark.

mod directory;

use std::{
    ffi::OsStr,
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

pub use self::directory::ProcessDir;

/// Timeout of a process until it is ready.
const START: Duration = Duration::from_secs(10);

/// Timeout of its shutdown: a gateway's own drain timeout (10 s), and some more.
const STOP: Duration = Duration::from_secs(15);

/// The same when the benchmark itself is shutting down.
const ABANDON: Duration = Duration::from_secs(3);

/// Interval of looks at its state.
const LOOK: Duration = Duration::from_millis(20);

/// A command for a process on an emulated host. A network namespace lasts as long as a process in
/// it, so the process must not outlive us, even if we are killed.
pub fn mortal(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// A running process with its log. Dropping it ends it, after an error or a panic too.
pub struct Process {
    child: Child,
    log: PathBuf,
    /// Its name in errors.
    name: &'static str,
}

impl Process {
    /// Starts a program whose standard error goes to `log`.
    pub fn spawn(name: &'static str, command: &mut Command, log: PathBuf) -> anyhow::Result<Self> {
        let stderr =
            File::create(&log).with_context(|| format!("cannot create a log for {name}"))?;
        let child = command.stdin(Stdio::null()).stderr(stderr).spawn();
        let child = child.with_context(|| cannot_run(command))?;
        Ok(Self { child, log, name })
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it.
    pub fn kill(mut self) -> anyhow::Result<()> {
        let Self { child, name, .. } = &mut self;
        child.kill().with_context(|| format!("cannot kill {name}"))?;
        child.wait().with_context(|| format!("cannot wait for {name}"))?;
        Ok(())
    }

    /// Ends it with SIGTERM.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.terminate();
        let name = self.name;
        let deadline = Instant::now() + STOP;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                anyhow::ensure!(
                    status.success(),
                    "{name} ended with {status}; the end of its log:\n{}",
                    self.last_words()
                );
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        anyhow::bail!("{name} did not end within {STOP:?} of SIGTERM and is killed")
    }

    /// The first line of its standard output, which must be piped.
    pub async fn first_line(&mut self) -> anyhow::Result<String> {
        let out = self.child.stdout.take().context("no standard output")?;
        let read = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(out).read_line(&mut line).map(|_| line)
        });
        // On a timeout the process ends with us, and the reading with it.
        let line = tokio::time::timeout(START, read)
            .await
            .with_context(|| format!("{} was not ready within {START:?}", self.name))???;
        anyhow::ensure!(!line.is_empty(), "{} did not start:\n{}", self.name, self.last_words());
        Ok(line)
    }

    /// Waits until `find` finds something in its log.
    pub async fn logged<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> anyhow::Result<T> {
        let (name, deadline) = (self.name, Instant::now() + START);
        loop {
            let ended = self.child.try_wait()?;
            if let Some(found) = find(&std::fs::read_to_string(&self.log).unwrap_or_default()) {
                return Ok(found);
            }
            let words = || self.last_words();
            anyhow::ensure!(ended.is_none(), "{name} did not start:\n{}", words());
            let late = Instant::now() > deadline;
            anyhow::ensure!(!late, "{name} was not ready within {START:?}:\n{}", words());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The last lines of its log.
    pub fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let last = lines.len().saturating_sub(10);
        lines.get(last..).unwrap_or_default().join("\n")
    }

    fn terminate(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It has not been waited for, so the number is still its own.
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.terminate();
        let deadline = Instant::now() + ABANDON;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            // Blocking is fine: an error, Ctrl-C or a panic led here, and nothing else runs.
            std::thread::park_timeout(LOOK);
        }
    }
}

fn cannot_run(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let hint = match program.to_str() {
        Some("taskset") => ", which keeps the gateway on its core: install util-linux",
        Some("setpriv") => ", which ends the gateway with this program: install util-linux",
        _ => "",
    };
    format!("cannot run {}{hint}", program.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_for_a_missing_tool_has_the_next_step() {
        assert!(cannot_run(&Command::new("taskset")).contains("util-linux"));
        assert!(cannot_run(&Command::new("setpriv")).contains("util-linux"));
        assert!(!cannot_run(&Command::new("signalbox")).contains("util-linux"));
    }

    #[tokio::test]
    async fn a_log_is_read_until_a_match_or_the_end_of_its_process() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo port 7 >&2; echo no >&2; exit 1"]);
        let mut process = Process::spawn("sh", &mut command, dir.path().join("log")).unwrap();
        let port = process.logged(|log| log.contains("port 7\n").then_some(7)).await;
        assert_eq!(port.unwrap(), 7);
        let error = process.logged(|_| None::<()>).await.unwrap_err().to_string();
        assert!(error.contains("did not start") && error.contains("no"), "{error}");
    }

    #[test]
    fn a_panic_ends_the_gateway() {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let own = PathBuf::from(format!("/proc/{}", child.id()));
        assert!(own.exists());
        let process = Process { child, log: PathBuf::new(), name: "sleep" };
        let panic = std::panic::catch_unwind(move || {
            let _process = process;
            panic!("as intended");
        });
        assert!(panic.is_err());
        assert!(!own.exists());
    }
}

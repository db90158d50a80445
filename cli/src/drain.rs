//! `signalbox drain`: shuts a gateway on this machine down, and waits until it has exited.
//!
//! The gateway is referred to by a descriptor (pidfd) that is opened before its process is checked, so
//! that another process that gets the same id is never signalled by mistake.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use crate::{output, pid_file::PidFile};

/// Interval of progress messages.
const PROGRESS: Duration = Duration::from_secs(5);

/// Shut a gateway on this machine down gracefully (SIGTERM), and wait until it has exited.
///
/// The gateway accepts no new clients, asks its clients to leave at times spread over drain.spread_ms,
/// and disconnects those that are left. A second drain disconnects all of them at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signalbox drain --pid-file /run/signalbox.pid
      The gateway that was started with `signalbox serve --pid-file /run/signalbox.pid`.
  signalbox drain --pid 4242 --timeout 2m
      By its process id; fails if it is still running after two minutes.
  signalbox drain --pid-file /run/signalbox.pid --json
      For programs: a line of JSON at the start, every five seconds, and at the end.")]
pub(crate) struct Args {
    /// PID file of the gateway.
    #[arg(long, value_name = "PATH", required_unless_present = "pid")]
    pid_file: Option<PathBuf>,
    /// The gateway's process id.
    #[arg(long, value_name = "N", conflicts_with = "pid_file")]
    pid: Option<u32>,
    /// Time to wait, as 90s or 2m. The gateway keeps draining after that.
    #[arg(long, value_name = "TIME", default_value = "1m")]
    timeout: humantime::Duration,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (pid, file) = match (&args.pid_file, args.pid) {
        (Some(file), _) => (PidFile::read(file)?, Some(file.as_path())),
        (None, Some(pid)) => (pid, None),
        (None, None) => bail!("no gateway: pass --pid-file PATH or --pid N"),
    };
    let gateway = GatewayProcess::find(pid, file)?;
    gateway.terminate()?;
    args.report("draining", pid, None)?;
    let started = Instant::now();
    let timeout = *args.timeout;
    loop {
        let left = timeout.saturating_sub(started.elapsed());
        if gateway.exits_within(left.min(PROGRESS))? {
            args.report("ended", pid, Some(started.elapsed()))?;
            return Ok(ExitCode::SUCCESS);
        }
        if started.elapsed() >= timeout {
            bail!(
                "process {pid} is still running after {}; it keeps draining, and a second drain \
                 disconnects its clients at once",
                args.timeout
            );
        }
        args.report("waiting", pid, Some(started.elapsed()))?;
    }
}

impl Args {
    /// Prints the progress.
    fn report(&self, event: &str, pid: u32, after: Option<Duration>) -> anyhow::Result<()> {
        let seconds = after.map(|after| (after.as_secs_f64() * 10.0).round() / 10.0);
        if self.json {
            output::line(serde_json::json!({ "event": event, "pid": pid, "seconds": seconds }))?;
            return Ok(());
        }
        match (event, seconds) {
            ("ended", Some(seconds)) => {
                output::line(format_args!("process {pid} exited after {seconds} s"))?;
            }
            (_, Some(seconds)) => output::note(format_args!("still running after {seconds} s")),
            (_, None) => output::note(format_args!("process {pid} is draining")),
        }
        Ok(())
    }
}

/// The process of a gateway.
struct GatewayProcess {
    pid: u32,
    handle: OwnedFd,
}

impl GatewayProcess {
    /// Opens the process with this id, if it is a gateway.
    fn find(pid: u32, file: Option<&Path>) -> anyhow::Result<Self> {
        let stale = || match file {
            Some(file) => format!(
                "there is no process {pid}: {} was left behind by a gateway that crashed; delete it",
                file.display()
            ),
            None => format!("there is no process {pid}"),
        };
        let id = i32::try_from(pid).ok().and_then(Pid::from_raw).with_context(stale)?;
        let handle = match pidfd_open(id, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(Errno::SRCH) => bail!(stale()),
            Err(error) => return Err(error).with_context(|| format!("cannot open process {pid}")),
        };
        if !is_gateway(pid) {
            bail!("process {pid} is not `signalbox serve`; it was not signalled");
        }
        Ok(Self { pid, handle })
    }

    fn terminate(&self) -> anyhow::Result<()> {
        match pidfd_send_signal(&self.handle, Signal::TERM) {
            Ok(()) => Ok(()),
            Err(Errno::PERM) => {
                bail!(
                    "process {} belongs to another user: run this as that user or as root",
                    self.pid
                )
            }
            Err(Errno::SRCH) => bail!("process {} has already exited", self.pid),
            Err(error) => Err(error).context("cannot signal the gateway"),
        }
    }

    fn exits_within(&self, time: Duration) -> anyhow::Result<bool> {
        let timeout = Timespec::try_from(time).context("--timeout is too long")?;
        let mut handles = [PollFd::new(&self.handle, PollFlags::IN)];
        match poll(&mut handles, Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error).context("cannot wait for the gateway"),
        }
    }
}

/// Whether a process runs `signalbox serve`, by its name and arguments. (Its program file may have been
/// replaced by an upgrade.)
fn is_gateway(pid: u32) -> bool {
    let of = |what: &str| std::fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
    let command = of("cmdline");
    let serves = command.split(|byte| *byte == 0).nth(1) == Some(b"serve");
    of("comm").trim_ascii() == b"signalbox" && serves
}

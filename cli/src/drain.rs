//! `signalbox drain`: end a gateway on this machine, and wait until it has ended.
//!
//! The gateway is held by a descriptor (pidfd) from before it is looked at until it has ended, so
//! that a process which gets the same id in between is never meant by mistake.

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

/// How often it says that it still waits.
const PROGRESS: Duration = Duration::from_secs(5);

/// Tell a gateway on this machine to drain (SIGTERM), and wait until it has ended.
///
/// It takes nobody in any more, asks its clients to go, one after the other, and ends those who
/// do not. Told again, it ends all of them at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  signalbox drain --pid-file /run/signalbox.pid
      The gateway that was started by `signalbox serve --pid-file /run/signalbox.pid`.
  signalbox drain --pid 4242 --timeout 2m
      By its process id; an error if it is still there after two minutes.
  signalbox drain --pid-file /run/signalbox.pid --json
      For programs: a line of JSON when it has been told, every five seconds, and at the end.")]
pub(crate) struct Args {
    /// File that names the gateway's process.
    #[arg(long, value_name = "PATH", required_unless_present = "pid")]
    pid_file: Option<PathBuf>,
    /// The gateway's process id.
    #[arg(long, value_name = "N", conflicts_with = "pid_file")]
    pid: Option<u32>,
    /// How long to wait for its end, as 90s or 2m. It goes on draining all the same.
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
        (None, None) => bail!("name the gateway by --pid-file or --pid"),
    };
    let gateway = Gateway::find(pid, file)?;
    gateway.terminate()?;
    args.say("draining", pid, None)?;
    let started = Instant::now();
    let timeout = *args.timeout;
    loop {
        let left = timeout.saturating_sub(started.elapsed());
        if gateway.has_ended_within(left.min(PROGRESS))? {
            args.say("ended", pid, Some(started.elapsed()))?;
            return Ok(ExitCode::SUCCESS);
        }
        if started.elapsed() >= timeout {
            bail!(
                "process {pid} is still there after {}; it goes on draining, unless told again",
                args.timeout
            );
        }
        args.say("waiting", pid, Some(started.elapsed()))?;
    }
}

impl Args {
    /// Says how far it is.
    fn say(&self, event: &str, pid: u32, after: Option<Duration>) -> anyhow::Result<()> {
        let seconds = after.map(|after| (after.as_secs_f64() * 10.0).round() / 10.0);
        if self.json {
            output::line(serde_json::json!({ "event": event, "pid": pid, "seconds": seconds }))?;
            return Ok(());
        }
        match (event, seconds) {
            ("ended", Some(seconds)) => {
                output::line(format_args!("process {pid} has ended after {seconds} s"))?;
            }
            (_, Some(seconds)) => output::note(format_args!("still there after {seconds} s")),
            (_, None) => output::note(format_args!("process {pid} has been told to drain")),
        }
        Ok(())
    }
}

/// A gateway's process.
struct Gateway {
    pid: u32,
    handle: OwnedFd,
}

impl Gateway {
    /// The process with this id, if it is a gateway.
    fn find(pid: u32, file: Option<&Path>) -> anyhow::Result<Self> {
        let stale = || match file {
            Some(file) => format!(
                "there is no process {pid}: {} was left by a gateway that did not end in good order",
                file.display()
            ),
            None => format!("there is no process {pid}"),
        };
        let id = i32::try_from(pid).ok().and_then(Pid::from_raw).with_context(stale)?;
        let handle = match pidfd_open(id, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(Errno::SRCH) => bail!(stale()),
            Err(error) => return Err(error).with_context(|| format!("cannot look at {pid}")),
        };
        if !is_gateway(pid) {
            bail!("process {pid} is no `signalbox serve`: it is left alone");
        }
        Ok(Self { pid, handle })
    }

    fn terminate(&self) -> anyhow::Result<()> {
        match pidfd_send_signal(&self.handle, Signal::TERM) {
            Ok(()) => Ok(()),
            Err(Errno::PERM) => {
                bail!("process {} is another user's: be that user, or root", self.pid)
            }
            Err(Errno::SRCH) => bail!("process {} has just ended by itself", self.pid),
            Err(error) => Err(error).context("cannot tell the gateway"),
        }
    }

    fn has_ended_within(&self, time: Duration) -> anyhow::Result<bool> {
        let timeout = Timespec::try_from(time).context("too long")?;
        let mut handles = [PollFd::new(&self.handle, PollFlags::IN)];
        match poll(&mut handles, Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error).context("cannot wait for the gateway"),
        }
    }
}

/// Whether a process runs `signalbox serve`, by what the system says of it. (The program's file may
/// be another by now: that is how gateways are upgraded.)
fn is_gateway(pid: u32) -> bool {
    let of = |what: &str| std::fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
    let command = of("cmdline");
    let serves = command.split(|byte| *byte == 0).nth(1) == Some(b"serve");
    of("comm").trim_ascii() == b"signalbox" && serves
}

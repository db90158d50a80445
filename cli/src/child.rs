//! `signalbox child`, which no user types: replaces itself by a program that ends when the process
//! that started it ends, even if that one is killed. A program cannot ask for this on behalf of a
//! child, so the child asks before it becomes the program.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

use anyhow::Context as _;

/// Run a program that ends with its parent.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Process id of the parent.
    #[arg(long, value_name = "PID")]
    parent: u32,
    /// The program, and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// The command that runs a program as such a child of this process.
pub(crate) fn command(program: impl Into<OsString>) -> anyhow::Result<Command> {
    let this = std::env::current_exe().context("cannot find the program of this process")?;
    let mut command = Command::new(this);
    command.args(["child", "--parent", &std::process::id().to_string(), "--"]);
    command.arg(program.into());
    // Ctrl-c at a terminal is for the parent, which ends its children in order.
    command.process_group(0);
    Ok(command)
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    end_with(args.parent)?;
    let (program, rest) = args.command.split_first().context("no program")?;
    let error = Command::new(program).args(rest).exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}

#[cfg(target_os = "linux")]
fn end_with(parent: u32) -> anyhow::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};

    set_parent_process_death_signal(Some(Signal::TERM)).context("cannot watch the parent")?;
    // It may have ended before.
    let now = getppid().map(|pid| pid.as_raw_nonzero().get());
    anyhow::ensure!(
        now.and_then(|pid| u32::try_from(pid).ok()) == Some(parent),
        "the parent ended"
    );
    Ok(())
}

/// Other systems have no such request: if the parent is killed, the child stays.
#[cfg(not(target_os = "linux"))]
fn end_with(_: u32) -> anyhow::Result<()> {
    Ok(())
}

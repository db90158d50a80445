//! `signalbox bench`: the benchmark, which is a program of its own, so that what it needs is not in
//! the one that everybody runs.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::Context as _;

use crate::output;

/// The benchmark's program.
const PROGRAM: &str = "signalbox-bench";

/// Tells the benchmark which gateway to start.
const GATEWAY: &str = "SIGNALBOX_BENCH_GATEWAY";

/// Measure what a gateway costs and how fast it is (`signalbox bench --help`).
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// What `signalbox-bench` is to do.
    #[arg(
        value_name = "SCENARIO",
        trailing_var_arg = true,
        allow_hyphen_values = true,
        num_args = 0..
    )]
    arguments: Vec<OsString>,
}

/// What is said of it where it is not installed.
const HELP: &str = "\
Measure what a gateway costs and how fast it is, per transport, side by side.

Usage: signalbox bench SCENARIO [OPTIONS]

Scenarios: latency, fanout, mesh, capacity, churn, rest, flood, loss, reconnect, crash, resumes, idle, all; and
`compare`, which sets two runs side by side. `signalbox bench SCENARIO --help` says what each takes.

The benchmark is a program of its own, signalbox-bench, which is not here yet. In the repository:

  cargo build --release -p signalbox -p signalbox-bench   builds it beside this program
  ./bench SCENARIO                                        builds and runs it";

/// Becomes the benchmark.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let beside = own.with_file_name(PROGRAM);
    // What is in the PATH may be of another version, so it comes second.
    let program = if beside.is_file() { beside } else { PathBuf::from(PROGRAM) };
    let wants_help = args.arguments.iter().all(|it| it == "--help" || it == "-h" || it == "help");
    let error = Command::new(&program).args(args.arguments).env(GATEWAY, own).exec();
    if wants_help && error.kind() == io::ErrorKind::NotFound {
        output::line(HELP)?;
        return Ok(ExitCode::SUCCESS);
    }
    Err(error).with_context(|| {
        format!(
            "cannot run {}: build it where this program was built (cargo build --release -p \
             signalbox -p {PROGRAM}), or put it beside this program",
            program.display()
        )
    })
}

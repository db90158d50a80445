//! `signalbox bench`: runs the benchmark, a separate program, so that its dependencies stay out of this
//! one.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::Context as _;

use crate::output;

/// Name of the benchmark program.
const PROGRAM: &str = "signalbox-bench";

/// Environment variable with the gateway that the benchmark starts.
const GATEWAY: &str = "SIGNALBOX_BENCH_GATEWAY";

/// Measure the latency, throughput and cost of a gateway (`signalbox bench --help`).
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Scenario and options, passed to `signalbox-bench`.
    #[arg(
        value_name = "SCENARIO",
        trailing_var_arg = true,
        allow_hyphen_values = true,
        num_args = 0..
    )]
    arguments: Vec<OsString>,
}

/// Help text if the benchmark is not installed.
const HELP: &str = "\
Measure the latency, throughput and cost of a gateway, for each transport.

Usage: signalbox bench SCENARIO [OPTIONS]

Examples:
  signalbox bench latency
      Latency of one signal at a time over each transport.
  signalbox bench all --markdown figures.md
      All scenarios, as a Markdown page.

Scenarios: latency, fanout, mesh, capacity, churn, rest, flood, fairness, loss, browser, reconnect, crash,
cluster, failover, resumes, idle, all; and `compare`, which compares two runs. `signalbox bench SCENARIO --help`
lists the options of each.

The benchmark is a separate program, signalbox-bench, which is not installed. In the repository:

  cargo build --release -p signalbox -p signalbox-bench   builds it beside this program
  ./bench SCENARIO                                        builds and runs it";

/// Replaces this process by the benchmark.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let own = std::env::current_exe().context("cannot find the path of this program")?;
    let beside = own.with_file_name(PROGRAM);
    // A program in the PATH may be of another version, so it comes second.
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

//! `signalbox bench`: the benchmark, which is a program of its own, so that what it needs is not in
//! the one that everybody runs.

use std::{
    convert::Infallible, ffi::OsString, os::unix::process::CommandExt as _, path::PathBuf,
    process::Command,
};

use anyhow::Context as _;

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

/// Becomes the benchmark.
pub(crate) fn run(args: Args) -> anyhow::Result<Infallible> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let beside = own.with_file_name(PROGRAM);
    // What is in the PATH may be of another version, so it comes second.
    let program = if beside.is_file() { beside } else { PathBuf::from(PROGRAM) };
    let error = Command::new(&program).args(args.arguments).env(GATEWAY, own).exec();
    Err(error).with_context(|| {
        format!(
            "cannot run {}: build it where this program was built (cargo build --release -p \
             {PROGRAM}), or put it beside this program",
            program.display()
        )
    })
}

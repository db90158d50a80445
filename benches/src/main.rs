//! The benchmark: what a gateway costs and how fast it is over each transport, side by side.
//!
//! ```text
//! registry     the list of scenarios
//! scenario/    one folder each: flags, run, metrics, table, charts, words
//! all          every scenario in turn, and the document of their figures
//! bench        what scenarios need of a run
//! commands     the command line
//! ```
//!
//! Load comes from `signalbox-loadgen`, bad networks from `signalbox-netem`, and tables, charts,
//! pages and comparisons from `signalbox-report`. Claims are ratios within one run: absolute figures
//! belong to one machine in one hour.

mod all;
mod bench;
mod commands;
mod registry;
mod scenario;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use signalbox_loadgen::output::note;

use self::bench::Bench;

fn main() -> ExitCode {
    let cli = commands::Cli::parse();
    // One thread: its use is the generator's, and no wake-up crosses cores in this process.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result =
        runtime.context("cannot start the runtime").and_then(|runtime| runtime.block_on(cli.run()));
    result.unwrap_or_else(|error| {
        note(format_args!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

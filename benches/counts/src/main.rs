//! `signalbox-counts`: instructions and allocations of the hot path, compared with a committed
//! baseline. See `README.md`.
//!
//! The program runs itself under valgrind ([`callgrind`]) to count each of the [`cases`], and
//! compares the costs with the [`baseline`].

mod baseline;
mod callgrind;
mod cases;

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, bail, ensure};
use baseline::{Baseline, CostComparison};
use callgrind::Cost;

/// The argument of the program's run under valgrind.
const RUN_CASES: &str = "--run-cases";

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if cfg!(debug_assertions) {
        bail!("counts of a debug build say nothing; build with --profile counts");
    }
    match *arguments {
        [] => check(),
        ["--renew"] => renew(),
        [RUN_CASES] => cases::run().map(|()| ExitCode::SUCCESS),
        _ => bail!("usage: signalbox-counts [--renew]"),
    }
}

fn check() -> anyhow::Result<ExitCode> {
    // First: without a baseline there is no need to count.
    let baseline = Baseline::read()?;
    let CostComparison { table, verdict, passed } = baseline.compare(&count()?);
    write!(io::stdout(), "{table}{verdict}")?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn renew() -> anyhow::Result<ExitCode> {
    let costs = count()?;
    // For the commit message, if there is an earlier baseline.
    if let Ok(old) = Baseline::read() {
        write!(io::stdout(), "{}", old.compare(&costs).table)?;
    }
    let path = Baseline::new(&costs).write()?;
    writeln!(io::stdout(), "wrote {}", path.display())?;
    Ok(ExitCode::SUCCESS)
}

fn count() -> anyhow::Result<Vec<(&'static str, Cost)>> {
    let rounds = callgrind::count(RUN_CASES).context("count instructions")?;
    ensure!(rounds.len() == cases::ALL.len() * cases::ROUNDS, "{} rounds counted", rounds.len());
    let costs = rounds.chunks(cases::ROUNDS).map(Cost::mean);
    Ok(cases::ALL.iter().map(|(name, _)| *name).zip(costs).collect())
}

//! `signalbox-counts`: how many instructions the hot path takes, against a committed baseline.
//!
//! Time on a busy machine says little about a change; the number of instructions says the same on every
//! run. So this is the one benchmark that can fail a build: `./check counts` runs it. What it cannot
//! see is everything that makes equal instructions unequally fast (caches, locks, system calls);
//! `signalbox-bench` measures that.
//!
//! The program runs itself once more under valgrind ([`callgrind`]) to count each of the [`cases`],
//! and compares with the [`baseline`].

mod baseline;
mod callgrind;
mod cases;

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, bail, ensure};
use baseline::{Baseline, Comparison};
use callgrind::Cost;

/// What the program's own second run is called with.
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
    // First: without it there is nothing to count for.
    let baseline = Baseline::read()?;
    let Comparison { table, verdict, passed } = baseline.compare(&count()?);
    write!(io::stdout(), "{table}{verdict}")?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn renew() -> anyhow::Result<ExitCode> {
    let baseline = Baseline::new(count()?);
    // For the message of the commit; there may be none yet, or none that can be read any more.
    if let Ok(old) = Baseline::read() {
        write!(io::stdout(), "{}", old.compare(baseline.costs()).table)?;
    }
    let path = baseline.write()?;
    writeln!(io::stdout(), "wrote {}", path.display())?;
    Ok(ExitCode::SUCCESS)
}

fn count() -> anyhow::Result<Vec<(String, Cost)>> {
    let rounds = callgrind::count(RUN_CASES).context("count instructions")?;
    ensure!(rounds.len() == cases::ALL.len() * cases::ROUNDS, "{} were counted", rounds.len());
    let costs = rounds.chunks(cases::ROUNDS).map(Cost::mean);
    Ok(cases::ALL.iter().map(|(name, _)| (*name).to_owned()).zip(costs).collect())
}

//! `signalbox-bench`: the benchmark's command line. Parse, run until done or told to stop, print.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use signalbox_bench::{
    Launcher,
    output::{line, note},
    report::Report,
    scenario::{Fanout, Idle, Latency},
};
use tokio::signal::unix::{SignalKind, signal};

/// Measure what a Signalbox gateway costs and how fast it is, per transport, side by side.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The gateway's program. [default: the `signalbox` next to this program]
    #[arg(long, value_name = "PATH", global = true)]
    gateway: Option<PathBuf>,
    /// Print JSON, with every single measurement.
    #[arg(long, global = true)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  cargo build --release -p signalbox -p signalbox-bench
      Build the gateway and the benchmark; figures of debug builds say nothing.
  signalbox-bench all --markdown docs/benchmarks.md
      Everything, in about five minutes.
  signalbox-bench latency --transport quic,wss --repeat 5
      Two transports in turn, five times.
  signalbox-bench fanout --receivers 1000 --json | jq '.fanout.rows[].p99_us.median'
  signalbox-bench idle --connections 10000 --gateway /usr/local/bin/signalbox

Results go to standard output, progress and warnings to standard error. The gateway takes settings from the
environment (SIGNALBOX_LINKS__IDLE_TIMEOUT_MS=60000 ...).";

#[derive(Debug, Subcommand)]
enum Command {
    /// Latency and CPU of a lone signal from one connection to another.
    Latency(Latency),
    /// Latency and CPU per delivery from one connection to many.
    Fanout(Fanout),
    /// Memory per idle connection.
    Idle(Idle),
    /// All of these in turn, with their defaults.
    All(All),
}

#[derive(Debug, clap::Args)]
struct All {
    /// Rounds of latency and fan-out.
    #[arg(long, value_name = "ROUNDS", default_value_t = 3)]
    repeat: usize,
    /// Rounds of memory, which varies less.
    #[arg(long, value_name = "ROUNDS", default_value_t = 1)]
    repeat_idle: usize,
    /// Write a whole document to this file, tables and what they mean.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One thread: what it uses is what the generator uses, and no wake-up crosses cores in here.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime
        .context("cannot start the runtime")
        .and_then(|runtime| runtime.block_on(run_until_told(&cli)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Dropping the run ends the gateway, whichever way we get there.
async fn run_until_told(cli: &Cli) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = run(cli) => result,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted; there are no results")),
        _ = terminate.recv() => Err(anyhow::anyhow!("told to stop; there are no results")),
    }
}

async fn run(cli: &Cli) -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        note("warning: this is a debug build, its figures say nothing (cargo build --release)");
    }
    let launcher = Launcher::new(cli.gateway.clone())?;
    let mut report = Report::new(launcher.version());
    match &cli.command {
        Command::Latency(latency) => report.latency = Some(latency.run(&launcher).await?),
        Command::Fanout(fanout) => report.fanout = Some(fanout.run(&launcher).await?),
        Command::Idle(idle) => report.idle = Some(idle.run(&launcher).await?),
        Command::All(all) => all.run(&launcher, &mut report).await?,
    }
    if cli.json {
        line(serde_json::to_string_pretty(&report)?)?;
    } else {
        line(format_args!("{}\n{}\n\n{}", report.gateway, report.machine, report.tables()))?;
    }
    Ok(())
}

impl All {
    async fn run(&self, launcher: &Launcher, report: &mut Report) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.markdown.is_none() || !cfg!(debug_assertions),
            "figures of a debug build are not written down: cargo run --release"
        );
        let mut latency: Latency = defaults()?;
        let mut fanout: Fanout = defaults()?;
        let mut idle: Idle = defaults()?;
        latency.rounds.repeat = self.repeat;
        fanout.rounds.repeat = self.repeat;
        idle.repeat = self.repeat_idle;
        report.latency = Some(latency.run(launcher).await?);
        report.fanout = Some(fanout.run(launcher).await?);
        report.idle = Some(idle.run(launcher).await?);
        if let Some(file) = &self.markdown {
            let repeat = (self.repeat != 3).then(|| format!(" --repeat {}", self.repeat));
            let repeat_idle =
                (self.repeat_idle != 1).then(|| format!(" --repeat-idle {}", self.repeat_idle));
            let command = format!(
                "cargo build --release -p signalbox -p signalbox-bench\n\
                 target/release/signalbox-bench all{}{} --markdown docs/benchmarks.md",
                repeat.unwrap_or_default(),
                repeat_idle.unwrap_or_default()
            );
            std::fs::write(file, report.markdown(&command))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }
}

/// A scenario as it is without any flags.
fn defaults<A: clap::Args>() -> anyhow::Result<A> {
    let command = A::augment_args(clap::Command::new("defaults").no_binary_name(true));
    let matches = command.try_get_matches_from([""; 0])?;
    Ok(A::from_arg_matches(&matches)?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn scenarios_have_defaults() {
        assert_eq!(super::defaults::<super::Latency>().unwrap().rate, 200);
        assert_eq!(super::defaults::<super::Fanout>().unwrap().receivers, 100);
        assert_eq!(super::defaults::<super::Idle>().unwrap().connections, 2000);
    }
}

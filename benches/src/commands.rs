//! The command line: runs until done or interrupted, then prints.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use signalbox_loadgen::{
    machine::machine,
    output::{line, note},
    target::gateway::Launcher,
    worker::WorkerCommand,
};
use signalbox_report::{Report, Run, RunComparison};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    Bench,
    all::All,
    registry::{NAMES, ScenarioCommand, run_all},
};

/// Explanation of the figures of any scenario, with gateways that the benchmark starts.
const READING: &str = concat!(include_str!("reading.md"), include_str!("reading-local.md"));

/// The same with a gateway that runs already.
const READING_REMOTE: &str = concat!(include_str!("reading.md"), include_str!("reading-remote.md"));

/// The exit code of an interrupted run, as in shells.
const INTERRUPTED: u8 = 130;

/// Measure what a Signalbox gateway costs and how fast it is, per transport, side by side.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The gateway's program. [default: the `signalbox` beside this program]
    #[arg(long, value_name = "PATH", global = true, env = "SIGNALBOX_BENCH_GATEWAY")]
    gateway: Option<PathBuf>,
    /// Print JSON, with every single measurement.
    #[arg(long, global = true)]
    json: bool,
    /// Write a page with charts to this file: one HTML file, for a browser.
    #[arg(long, value_name = "FILE", global = true)]
    report: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  cargo build --release -p signalbox -p signalbox-bench
      Build the gateway and the benchmark; figures of debug builds say nothing.
  signalbox-bench all --markdown docs/benchmarks.md
      Everything except `fairness` and `resumes`, in half an hour; without root, `loss` is left out too.
  signalbox-bench latency --report latency.html
      A page with charts for a browser; available with every scenario.
  signalbox-bench latency --repeat 5 --json >b.json && signalbox-bench compare a.json b.json
      The figures that differ from an earlier run by more than their rounds do.
  signalbox-bench latency --transport quic,wss --repeat 5
      Two transports in turn, five times.
  signalbox-bench latency --baselines
      The transports beside echoes without a relay: the least that this machine can do.
  signalbox-bench mesh --compare-with nats,mosquitto,socket-io,uws,ws
      Other systems beside them, which must be installed: apt install nats-server mosquitto nodejs npm,
      and npm ci --prefix benches/peers.
  signalbox-bench fanout --receivers 1000 --json | jq '.fanout.rows[].p99_us.median'
  signalbox-bench rest --connections 100 --servers 8
      A server's signals to a hundred connections, with the gateway on one core.
  signalbox-bench flood --transport wss --requests 20000
      The effect of twice as many unauthenticated requests on the others' signals.
  sudo signalbox-bench loss --loss 5% --rtt 80ms
      The effect of lost packets on signals over each transport; needs root.
  sudo signalbox-bench latency --rtt 40ms --jitter 5ms --link-rate 10mbit
      Other scenarios over a bad network.
  sudo signalbox-bench browser
      WebTransport and WebSocket in Chromium, with and without lost packets; needs a checkout, node and root.
  signalbox-bench reconnect --rtt 30,300
      How long a client receives nothing when its network changes, over two distances.
  signalbox-bench resumes --transport wss --connections 2000 --seconds 1
      The effect of two thousand resuming clients on the others' signals.
  signalbox-bench cluster --compare-with-socket-io
      Signals between the gateways of a cluster; needs nats-server, and redis-server for Socket.IO.
  signalbox-bench failover --connections 2000 --idle 3
      A gateway of a cluster is killed: when its clients have resumed, and whether any signal was lost.
  signalbox-bench idle --connections 10000 --gateway /usr/local/bin/signalbox

Results go to standard output, progress and warnings to standard error. The gateway takes settings from the
environment (SIGNALBOX_TIMEOUTS__IDLE_MS=60000 ...).";

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Scenario(Box<ScenarioCommand>),
    All(All),
    Compare(Compare),
    #[command(flatten)]
    Worker(WorkerCommand),
}

/// Compare two runs, and tell which differences are more than noise.
#[derive(Debug, Clone, clap::Args)]
struct Compare {
    /// Output of `--json` of the run to compare with.
    #[arg(value_name = "A.json")]
    a: PathBuf,
    /// Output of `--json` of the other run.
    #[arg(value_name = "B.json")]
    b: PathBuf,
}

impl Cli {
    /// Runs the command. The first interrupt ends the current measurement and shows the finished
    /// ones; the second one ends the run at once. Dropping the run ends the gateways in any case.
    pub(crate) async fn run(&self) -> anyhow::Result<ExitCode> {
        match &self.command {
            Command::Worker(worker) => worker.run().await.map(|()| ExitCode::SUCCESS),
            Command::Compare(compare) => self.compare(compare).map(|()| ExitCode::SUCCESS),
            Command::Scenario(_) | Command::All(_) => self.measure_until_interrupted().await,
        }
    }

    async fn measure_until_interrupted(&self) -> anyhow::Result<ExitCode> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let bench = Bench::new(Launcher::new(self.gateway.clone())?);
        let interrupted_twice = async {
            for times in 1.. {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if times == 2 {
                    break;
                }
                note("interrupted: this measurement is dropped; interrupt again for no results");
                bench.interrupt();
            }
        };
        tokio::select! {
            result = self.measure(&bench) => result,
            () = interrupted_twice => Err(anyhow::anyhow!("interrupted; there are no results")),
        }
    }

    async fn measure(&self, bench: &Bench) -> anyhow::Result<ExitCode> {
        if cfg!(debug_assertions) {
            note("warning: this is a debug build, its figures say nothing (cargo build --release)");
        }
        if let Some(file) = &self.report {
            // Checked first: the measurements take long.
            let folder = file.parent().filter(|it| !it.as_os_str().is_empty());
            let is_there = folder.is_none_or(std::path::Path::is_dir) && !file.is_dir();
            anyhow::ensure!(is_there, "--report {}: cannot create this file", file.display());
        }
        let mut run = self.about(bench)?;
        let sections = match &self.command {
            Command::All(all) => {
                all.check(NAMES)?;
                run_all(bench, all).await?
            }
            Command::Scenario(scenario) => scenario.run(bench).await?.into_iter().collect(),
            Command::Compare(_) | Command::Worker(_) => Vec::new(),
        };
        run.interrupted = bench.is_interrupted();
        anyhow::ensure!(
            !(run.interrupted && sections.is_empty()),
            "interrupted before the first measurement was done; there are no results"
        );
        let reading = if run.elsewhere { READING_REMOTE } else { READING };
        let report = Report { run, reading, sections };
        self.print(&report)?;
        Ok(if report.run.interrupted { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
    }

    fn about(&self, bench: &Bench) -> anyhow::Result<Run> {
        let remote = match &self.command {
            Command::Scenario(scenario) => scenario.remote(),
            _ => None,
        };
        let elsewhere = remote.is_some();
        let place = if elsewhere { " (the clients')" } else { ", loopback" };
        let gateway = remote.unwrap_or_else(|| bench.launcher.version());
        let benchmark = concat!("signalbox-bench ", env!("CARGO_PKG_VERSION"));
        let run = Run::this(benchmark, gateway, format!("{}{place}", machine()))?;
        Ok(Run { elsewhere, ..run })
    }

    fn print(&self, report: &Report) -> anyhow::Result<()> {
        if let Command::All(all) = &self.command {
            all.write(report)?;
        }
        if let Some(file) = &self.report {
            std::fs::write(file, report.page())
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        let Run { gateway, machine, .. } = &report.run;
        if self.json {
            line(serde_json::to_string_pretty(report)?)?;
        } else {
            line(format_args!("{gateway}\n{machine}\n\n{}", report.tables()))?;
        }
        Ok(())
    }

    fn compare(&self, Compare { a, b }: &Compare) -> anyhow::Result<()> {
        anyhow::ensure!(self.report.is_none(), "compare measures nothing: it has no --report");
        let comparison = RunComparison::of(a, b)?;
        let json = || serde_json::to_string_pretty(&comparison);
        line(if self.json { json()? } else { comparison.text().trim_end().to_owned() })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}

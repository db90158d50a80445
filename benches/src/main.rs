//! `signalbox-bench`: the benchmark's command line. Parse, run until done or told to stop, print.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum as _, builder::PossibleValue};
use signalbox_bench::{
    Compare, Crowd, Echo, Flooder, Launcher, PeerKind, Transport, allow_files,
    output::{line, note},
    report::Report,
    scenario::{
        Capacity, Churn, Crash, Fanout, Flood, Idle, Latency, Loss, Mesh, Reconnect, Rest, Resumes,
    },
};
use tokio::signal::unix::{SignalKind, signal};

/// Measure what a Signalbox gateway costs and how fast it is, per transport, side by side.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The gateway's program. [default: the `signalbox` next to this program]
    #[arg(long, value_name = "PATH", global = true, env = "SIGNALBOX_BENCH_GATEWAY")]
    gateway: Option<PathBuf>,
    /// Print JSON, with every single measurement.
    #[arg(long, global = true)]
    json: bool,
    /// Write a page with charts to this file, too: one file of HTML, to look at in a browser.
    #[arg(long, value_name = "FILE", global = true)]
    report: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  cargo build --release -p signalbox -p signalbox-bench
      Build the gateway and the benchmark; figures of debug builds say nothing.
  signalbox-bench all --markdown docs/benchmarks.md
      Everything but thousands who resume, in half an hour; without root all but `loss`, too.
  signalbox-bench latency --report latency.html
      A page with charts, to look at in a browser or to pass on; with every command.
  signalbox-bench latency --repeat 5 --json >b.json && signalbox-bench compare a.json b.json
      Which figures have changed since an earlier run by more than its rounds were apart.
  signalbox-bench latency --transport quic,wss --repeat 5
      Two transports in turn, five times.
  signalbox-bench latency --floors
      The transports beside echoes without a relay: what the machine can do at best.
  signalbox-bench mesh --against nats,mosquitto,socket-io,uws,ws
      Other systems beside them, which must be installed: apt install nats-server mosquitto nodejs npm,
      and npm ci --prefix benches/peers.
  signalbox-bench fanout --receivers 1000 --json | jq '.fanout.rows[].p99_us.median'
  signalbox-bench rest --connections 100 --servers 8
      A server's signals to a hundred connections, with the gateway on one core.
  signalbox-bench flood --transport wss --requests 20000
      What twice as many requests without a credential do to the others' signals.
  sudo signalbox-bench loss --loss 5% --rtt 80ms
      What lost packets do to signals over each transport; needs root.
  sudo signalbox-bench latency --rtt 40ms --jitter 5ms --link-rate 10mbit
      The other measurements over a bad network.
  signalbox-bench reconnect --rtt 30,300
      How long a client hears nothing when its network changes, over two distances.
  signalbox-bench resumes --transport wss --connections 2000 --seconds 1
      What the network's return to two thousand clients does to the others' signals.
  signalbox-bench idle --connections 10000 --gateway /usr/local/bin/signalbox

Results go to standard output, progress and warnings to standard error. The gateway takes settings from the
environment (SIGNALBOX_TIMEOUTS__IDLE_MS=60000 ...).";

/// Length of a measurement in `all`: there are many, and the whole must not take longer than somebody
/// waits.
const SHORT_SECONDS: f64 = 5.0;

/// The same of an attempt at the highest rate, of which there are many.
const CAPACITY_SECONDS: f64 = 1.5;

/// The same of lost packets, of which there are few in a second.
const LOSS_SECONDS: f64 = 20.0;

/// Idle connections whose memory is measured, where the system allows so many files.
const MANY: usize = 10_000;
const FILES_OF_MANY: u64 = 11_000;

#[derive(Debug, Subcommand)]
enum Command {
    /// Latency and CPU of a lone signal from one connection to another.
    Latency(Latency),
    /// Latency and CPU per delivery from one connection to many.
    Fanout(Fanout),
    /// Latency and CPU per delivery when all talk to all.
    Mesh(Mesh),
    /// Highest rate from one connection to many with bounded latency.
    Capacity(Capacity),
    /// Connects per second.
    Churn(Churn),
    /// REST signals per second from a server to a session, with the gateway on one core.
    Rest(Rest),
    /// Latency of signals while strangers flood the gateway with requests.
    Flood(Flood),
    /// Latency of many senders' signals to one receiver behind a link that loses packets.
    Loss(Loss),
    /// Time to the next signal when a client's network changes, by every way back.
    Reconnect(Reconnect),
    /// How soon clients are back when their gateway is killed, or goes in good order.
    Crash(Crash),
    /// Latency of signals while thousands of other clients resume.
    Resumes(Resumes),
    /// Memory per idle connection.
    Idle(Idle),
    /// All of these in turn, with their defaults, except resumes, which take long.
    All(All),
    /// Set two runs side by side, and say which differences are more than noise.
    Compare(Compare),
    /// The process that floods; `flood` starts it.
    #[command(hide = true)]
    Flooder(Flooder),
    /// The process with many clients; `resumes` starts it.
    #[command(hide = true)]
    Crowd(Crowd),
    /// The process that sends everything back; `latency --floors` starts it.
    #[command(hide = true)]
    Echo(Echo),
}

#[derive(Debug, clap::Args)]
struct All {
    /// Rounds of latency, fan-out, mesh, churn and REST.
    #[arg(long, value_name = "ROUNDS", default_value_t = 3)]
    repeat: usize,
    /// Searches for the highest rate; each takes a minute for a system and a number of receivers.
    #[arg(long, value_name = "ROUNDS", default_value_t = 1)]
    repeat_capacity: usize,
    /// Rounds of the flood, which has five measurements for each transport.
    #[arg(long, value_name = "ROUNDS", default_value_t = 2)]
    repeat_flood: usize,
    /// Rounds of lost packets.
    #[arg(long, value_name = "ROUNDS", default_value_t = 2)]
    repeat_loss: usize,
    /// Rounds of networks that change.
    #[arg(long, value_name = "ROUNDS", default_value_t = 5)]
    repeat_reconnect: usize,
    /// Crashes, and as many restarts in good order.
    #[arg(long, value_name = "ROUNDS", default_value_t = 2)]
    repeat_crash: usize,
    /// Rounds of thousands who resume; each takes two and a half minutes.
    #[arg(long, value_name = "ROUNDS", default_value_t = 0)]
    repeat_resumes: usize,
    /// Rounds of memory, which varies less.
    #[arg(long, value_name = "ROUNDS", default_value_t = 1)]
    repeat_idle: usize,
    /// Measure these other systems beside it, which must be installed.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    against: Vec<PeerKind>,
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
        Ok(code) => code,
        Err(error) => {
            note(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The exit code of a run that was interrupted, as shells have it.
const INTERRUPTED: u8 = 130;

/// Told once, it ends the measurement that goes on, and shows those that were done; told twice, it
/// ends at once. Dropping the run ends the gateway, whichever way we get there.
async fn run_until_told(cli: &Cli) -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    if let Some(helped) = help_out(cli).await {
        return helped.map(|()| ExitCode::SUCCESS);
    }
    let launcher = Launcher::new(cli.gateway.clone())?;
    let told_twice = async {
        for times in 1.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if times == 2 {
                break;
            }
            note("interrupted: this measurement is given up; once more, and there are no results");
            launcher.interrupt();
        }
    };
    tokio::select! {
        result = run(cli, &launcher) => result,
        () = told_twice => Err(anyhow::anyhow!("interrupted; there are no results")),
    }
}

/// The commands that measure nothing themselves; none if this is another.
async fn help_out(cli: &Cli) -> Option<anyhow::Result<()>> {
    Some(match &cli.command {
        Command::Flooder(flooder) => flooder.run().await,
        Command::Crowd(crowd) => crowd.run().await,
        Command::Echo(echo) => echo.run().await,
        Command::Compare(compare) => cli.compare(compare),
        _ => return None,
    })
}

async fn run(cli: &Cli, launcher: &Launcher) -> anyhow::Result<ExitCode> {
    if cfg!(debug_assertions) {
        note("warning: this is a debug build, its figures say nothing (cargo build --release)");
    }
    if let Some(file) = &cli.report {
        // Before anything is measured, which takes long.
        let folder = file.parent().filter(|it| !it.as_os_str().is_empty());
        let is_there = folder.is_none_or(std::path::Path::is_dir) && !file.is_dir();
        anyhow::ensure!(is_there, "--report {}: no file can be there", file.display());
    }
    let mut report = match cli.elsewhere() {
        Some(gateway) => Report::elsewhere(gateway),
        None => Report::new(launcher.version()),
    };
    match &cli.command {
        Command::Latency(latency) => report.latency = Some(latency.run(launcher).await?),
        Command::Fanout(fanout) => report.fanout = Some(fanout.run(launcher).await?),
        Command::Mesh(mesh) => report.mesh = Some(mesh.run(launcher).await?),
        Command::Capacity(capacity) => report.capacity = Some(capacity.run(launcher).await?),
        Command::Churn(churn) => report.churn = Some(churn.run(launcher).await?),
        Command::Rest(rest) => report.rest = Some(rest.run(launcher).await?),
        Command::Flood(flood) => report.flood = Some(flood.run(launcher).await?),
        Command::Loss(loss) => report.loss = Some(loss.run(launcher).await?),
        Command::Reconnect(reconnect) => report.reconnect = Some(reconnect.run(launcher).await?),
        Command::Crash(crash) => report.crash = Some(crash.run(launcher).await?),
        Command::Resumes(resumes) => report.resumes = Some(resumes.run(launcher).await?),
        Command::Idle(idle) => report.idle = Some(idle.run(launcher).await?),
        Command::All(all) => all.run(launcher, &mut report).await?,
        // Done above: they need no gateway of their own.
        Command::Flooder(_) | Command::Crowd(_) | Command::Compare(_) | Command::Echo(_) => {}
    }
    let interrupted = launcher.is_interrupted();
    if interrupted && !report.interrupted() {
        anyhow::bail!("interrupted before the first measurement was done; there are no results");
    }
    if let Some(file) = &cli.report {
        std::fs::write(file, report.page())
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if cli.json {
        line(serde_json::to_string_pretty(&report)?)?;
    } else {
        line(format_args!("{}\n{}\n\n{}", report.gateway, report.machine, report.tables()))?;
    }
    Ok(if interrupted { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

impl Cli {
    fn compare(&self, compare: &Compare) -> anyhow::Result<()> {
        anyhow::ensure!(self.report.is_none(), "`compare` measures nothing: there is no --report");
        let comparison = compare.run()?;
        let json = || serde_json::to_string_pretty(&comparison);
        line(if self.json { json()? } else { comparison.text().trim_end().to_owned() })?;
        Ok(())
    }

    /// The gateway that runs already, if that is what is measured.
    fn elsewhere(&self) -> Option<String> {
        let systems = match &self.command {
            Command::Latency(it) => &it.systems,
            Command::Fanout(it) => &it.systems,
            Command::Mesh(it) => &it.systems,
            Command::Capacity(it) => &it.systems,
            Command::Churn(it) => &it.systems,
            _ => return None,
        };
        systems.elsewhere()
    }
}

impl All {
    async fn run(&self, launcher: &Launcher, report: &mut Report) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.markdown.is_none() || !cfg!(debug_assertions),
            "figures of a debug build are not written down: cargo run --release"
        );
        let mut latency: Latency = defaults()?;
        let mut fanout: Fanout = defaults()?;
        let mut mesh: Mesh = defaults()?;
        let mut capacity: Capacity = defaults()?;
        let mut churn: Churn = defaults()?;
        let mut rest: Rest = defaults()?;
        let mut flood: Flood = defaults()?;
        let mut loss: Loss = defaults()?;
        let mut reconnect: Reconnect = defaults()?;
        let mut crash: Crash = defaults()?;
        let mut resumes: Resumes = defaults()?;
        let mut idle: Idle = defaults()?;
        for rounds in [&mut latency.rounds, &mut fanout.rounds, &mut mesh.rounds, &mut churn.rounds]
        {
            (rounds.repeat, rounds.seconds) = (self.repeat, SHORT_SECONDS);
        }
        latency.systems.transport = Transport::value_variants().to_vec();
        latency.floors = true;
        fanout.receivers = vec![10, 100, 1000, 5000];
        mesh.deliveries = vec![49_000, 392_000, 784_000];
        for systems in [
            &mut latency.systems,
            &mut fanout.systems,
            &mut mesh.systems,
            &mut capacity.systems,
            &mut churn.systems,
        ] {
            systems.against.clone_from(&self.against);
        }
        capacity.repeat = self.repeat_capacity;
        capacity.seconds = CAPACITY_SECONDS;
        rest.rounds.repeat = self.repeat;
        rest.rounds.seconds = SHORT_SECONDS;
        flood.rounds.repeat = self.repeat_flood;
        flood.rounds.seconds = SHORT_SECONDS;
        loss.repeat = self.repeat_loss;
        loss.seconds = LOSS_SECONDS;
        reconnect.repeat = self.repeat_reconnect;
        crash.repeat = self.repeat_crash;
        resumes.repeat = self.repeat_resumes;
        idle.repeat = self.repeat_idle;
        if allow_files(FILES_OF_MANY).is_ok() {
            idle.connections = MANY;
        }
        report.latency = Some(latency.run(launcher).await?);
        report.fanout = Some(fanout.run(launcher).await?);
        report.mesh = Some(mesh.run(launcher).await?);
        report.capacity = Some(capacity.run(launcher).await?);
        report.churn = Some(churn.run(launcher).await?);
        report.rest = Some(rest.run(launcher).await?);
        report.flood = Some(flood.run(launcher).await?);
        match loss.impairment.emulate() {
            Ok(_) => report.loss = Some(loss.run(launcher).await?),
            Err(error) => note(format_args!("warning: `loss` is left out: {error:#}")),
        }
        report.reconnect = Some(reconnect.run(launcher).await?);
        report.crash = Some(crash.run(launcher).await?);
        if self.repeat_resumes > 0 {
            report.resumes = Some(resumes.run(launcher).await?);
        }
        report.idle = Some(idle.run(launcher).await?);
        if launcher.is_interrupted() && self.markdown.is_some() {
            note("interrupted: no document is written, as it would lack what was not measured");
        } else if let Some(file) = &self.markdown {
            let flag = |name: &str, value: usize, default: usize| {
                if value == default { String::new() } else { format!(" --{name} {value}") }
            };
            let against: Vec<_> =
                self.against.iter().filter_map(PeerKind::to_possible_value).collect();
            let against = against.iter().map(PossibleValue::get_name).collect::<Vec<_>>().join(",");
            let command = format!(
                "./bench all{}{}{}{}{}{}{}{}{} --markdown docs/benchmarks.md",
                if against.is_empty() { against } else { format!(" --against {against}") },
                flag("repeat", self.repeat, 3),
                flag("repeat-capacity", self.repeat_capacity, 1),
                flag("repeat-flood", self.repeat_flood, 2),
                flag("repeat-loss", self.repeat_loss, 2),
                flag("repeat-reconnect", self.repeat_reconnect, 5),
                flag("repeat-crash", self.repeat_crash, 2),
                flag("repeat-resumes", self.repeat_resumes, 0),
                flag("repeat-idle", self.repeat_idle, 1),
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
        assert_eq!(super::defaults::<super::Fanout>().unwrap().receivers, [100]);
        assert_eq!(super::defaults::<super::Rest>().unwrap().servers, 4);
        assert_eq!(super::defaults::<super::Flood>().unwrap().requests, 10_000);
        assert_eq!(super::defaults::<super::Loss>().unwrap().senders, 50);
        assert_eq!(super::defaults::<super::Reconnect>().unwrap().rtt, [0, 50, 150]);
        assert_eq!(super::defaults::<super::Crash>().unwrap().clients, 200);
        assert_eq!(super::defaults::<super::Resumes>().unwrap().connections, 10_000);
        assert_eq!(super::defaults::<super::Idle>().unwrap().connections, 2000);
    }
}

//! `serve --dev --gateways N`: a nats-server, and gateways of one cluster as processes of their own,
//! so that one of them can be killed to see what its clients do.

use std::{
    fmt::Write as _,
    process::{ExitCode, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{AnnounceFormat, Args, announcement, nats_server::NatsServer, program};
use crate::{child, logging, ops_client::OpsUrl, output, stop_signals::StopSignals};

/// Time for a gateway to start.
const START: Duration = Duration::from_secs(30);

/// Time for the gateways to hear each other, and interval of the checks.
const CONNECT: Duration = Duration::from_secs(5);
const CHECK: Duration = Duration::from_millis(100);

/// Log of the gateways by default: what happens in the cluster, and warnings.
const LOG: &str = "warn,signalbox_cluster=info,signalbox_nats=info";

/// Time for gateways that have been asked twice to end.
const END: Duration = Duration::from_secs(5);

/// Lines of logs that wait to be printed. Beyond it, the gateways wait.
const LINES: usize = 256;

/// A gateway of the fleet.
struct FleetGateway {
    name: String,
    pid: u32,
    process: Child,
    announcement: Value,
}

pub(super) fn run(args: &Args, count: u8) -> anyhow::Result<ExitCode> {
    // One thread, which lives as long as the process: children end with the thread that started
    // them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(args, count))
}

async fn serve(args: &Args, count: u8) -> anyhow::Result<ExitCode> {
    let mut stop = StopSignals::listen()?;
    let starting = async {
        let nats = NatsServer::start().await?;
        let mut processes = Vec::new();
        for _ in 0..count {
            processes.push(spawn(args, &nats.url)?);
        }
        let mut gateways = Vec::new();
        for process in processes {
            gateways.push(FleetGateway::ready(process).await?);
        }
        gateways.sort_by(|a, b| a.name.cmp(&b.name));
        // If it takes longer, `cluster status` says why.
        let _ = timeout(CONNECT, are_connected(&gateways)).await;
        anyhow::Ok((nats, gateways))
    };
    let (mut nats, mut gateways) = tokio::select! {
        started = starting => started?,
        () = stop.requested() => return Ok(ExitCode::SUCCESS),
    };
    announcement::print(match args.announce {
        AnnounceFormat::Text => text(args, &nats, &gateways),
        AnnounceFormat::Json => json(&nats, &gateways),
    })
    .await;
    let mut nats_runs = true;
    while !gateways.is_empty() {
        tokio::select! {
            () = stop.requested() => return end(nats, gateways, &mut stop).await,
            (at, status) = next_end(&mut gateways) => {
                let FleetGateway { name, pid, .. } = gateways.remove(at);
                output::note(format_args!("{name} (process {pid}) has ended: {status}"));
            }
            status = nats.process.wait(), if nats_runs => {
                nats_runs = false;
                let status = status?;
                output::note(format_args!("nats-server (process {}) has ended: {status}", nats.pid));
            }
        }
    }
    bail!("no gateway is left")
}

/// Starts a gateway.
fn spawn(args: &Args, nats: &str) -> anyhow::Result<Child> {
    let mut command = child::command(std::env::current_exe()?)?;
    command.args(["serve", "--dev", "--dev-profile", "--announce", "json", "--cluster", nats]);
    command.arg("--dev-dir").arg(&args.dev_dir);
    if args.log_json {
        command.arg("--log-json");
    }
    args.sources.pass_on(&mut command);
    if std::env::var_os(logging::VARIABLE).is_none() {
        command.env(logging::VARIABLE, LOG);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut command = Command::from(command);
    // After an error. Otherwise they are asked to end.
    command.kill_on_drop(true).spawn().context("cannot start a gateway")
}

impl FleetGateway {
    /// Waits for the announcement, and prints the log from then on with the gateway's name.
    async fn ready(mut process: Child) -> anyhow::Result<Self> {
        let pid = process.id().context("a gateway has ended")?;
        let out = process.stdout.take().context("a gateway has no output")?;
        let mut log = lines(process.stderr.take().context("a gateway has no log")?);
        let mut out = lines(out);
        let Ok(line) = timeout(START, out.recv()).await else {
            bail!("a gateway is not ready after {} s", START.as_secs());
        };
        let Some(line) = line else {
            // The reason is in its last lines.
            while let Some(line) = log.recv().await {
                output::note(line);
            }
            bail!("a gateway did not start");
        };
        let announcement: Value = serde_json::from_str(&line)?;
        let name = text_of(&announcement, "name").to_owned();
        let prefix = name.clone();
        tokio::spawn(async move {
            while let Some(line) = log.recv().await {
                output::note(format_args!("{prefix} | {line}"));
            }
        });
        Ok(Self { name, pid, process, announcement })
    }

    fn terminate(&self) {
        // The process has not been waited for, so the id is its own.
        if let Some(pid) = self.process.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // It may have ended.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

/// Waits until each gateway has heard all others.
async fn are_connected(gateways: &[FleetGateway]) {
    for gateway in gateways {
        let url = format!("http://{}", text_of(&gateway.announcement, "ops"));
        let Ok(url) = url.parse::<OpsUrl>() else { continue };
        while url.report().await.is_ok_and(|it| it.peers.len() + 1 < gateways.len()) {
            sleep(CHECK).await;
        }
    }
}

/// The lines of a pipe, which is read until its end.
fn lines(pipe: impl AsyncRead + Unpin + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(LINES);
    tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let _ = sender.send(line).await;
        }
    });
    receiver
}

/// Waits until one of the gateways has ended.
async fn next_end(gateways: &mut [FleetGateway]) -> (usize, ExitStatus) {
    let waits = gateways.iter_mut().enumerate().map(|(at, gateway)| {
        Box::pin(async move { (at, gateway.process.wait().await.unwrap_or_default()) })
    });
    let mut waits: Vec<_> = waits.collect();
    std::future::poll_fn(|cx| {
        let ready = waits.iter_mut().find_map(|wait| match wait.as_mut().poll(cx) {
            std::task::Poll::Ready(ended) => Some(ended),
            std::task::Poll::Pending => None,
        });
        ready.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
    })
    .await
}

/// Ends the gateways, then NATS. A second signal disconnects all clients at once.
async fn end(
    mut nats: NatsServer,
    mut gateways: Vec<FleetGateway>,
    stop: &mut StopSignals,
) -> anyhow::Result<ExitCode> {
    let mut asked = 0;
    let mut succeeded = true;
    while !gateways.is_empty() {
        if asked < 2 {
            gateways.iter().for_each(FleetGateway::terminate);
            asked += 1;
        }
        let patience = if asked < 2 { Duration::MAX } else { END };
        while !gateways.is_empty() {
            tokio::select! {
                ended = timeout(patience, next_end(&mut gateways)) => {
                    let Ok((at, status)) = ended else {
                        // Dropping them kills them.
                        bail!("{} gateways did not end and were killed", gateways.len());
                    };
                    gateways.remove(at);
                    succeeded &= status.success();
                }
                () = stop.requested() => break,
            }
        }
    }
    nats.process.kill().await.context("cannot end nats-server")?;
    Ok(output::code(succeeded))
}

fn text_of<'a>(announcement: &'a Value, member: &str) -> &'a str {
    announcement.get(member).and_then(Value::as_str).unwrap_or_default()
}

/// Commands to join each gateway, and to kill one.
fn text(args: &Args, nats: &NatsServer, gateways: &[FleetGateway]) -> String {
    let program = program();
    let NatsServer { url, pid, .. } = nats;
    let mut text = format!(
        "
{} gateways of one cluster are ready. NATS is at {url} (process {pid}).

Join each of them, in terminals of their own, and type:

",
        gateways.len()
    );
    for FleetGateway { name, .. } in gateways {
        let _ = writeln!(text, "  {program} join --dev --gateway {name}");
    }
    text += "\nKill one: its clients go on at another one, and nobody sees them leave.\n\n";
    for FleetGateway { name, pid, .. } in gateways {
        let _ = writeln!(text, "  kill -9 {pid:<8}  # {name}");
    }
    let dir = if args.dev_dir == std::path::Path::new(super::DEV_DIR) {
        String::new()
    } else {
        format!(" --dev-dir {}", args.dev_dir.display())
    };
    let _ = write!(
        text,
        "
Look at the cluster, and add a gateway:

  {program} cluster status --dev
  {program} serve --dev{dir} --cluster {url}
"
    );
    text
}

/// Exactly one line of JSON.
fn json(nats: &NatsServer, gateways: &[FleetGateway]) -> String {
    let gateways = gateways.iter().map(|gateway| {
        let mut announcement = gateway.announcement.clone();
        if let Some(object) = announcement.as_object_mut() {
            object.insert("pid".into(), gateway.pid.into());
        }
        announcement
    });
    let gateways: Vec<_> = gateways.collect();
    serde_json::json!({ "nats": nats.url, "natsPid": nats.pid, "gateways": gateways }).to_string()
}

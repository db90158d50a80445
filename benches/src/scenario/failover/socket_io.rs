//! The same kill for Socket.IO on three nodes, with clients of its own on node.

use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use signalbox_loadgen::{
    clock::now_ns,
    peer::nodes::{RunningNodes, SocketIoAdapter, failover_clients},
    target::gateway::Launcher,
    usage::Usage,
};

use super::FailoverMeasured;

/// Nodes, one of which is killed.
const NODES: usize = 3;

/// Timeout of the clients for connecting, and for their result.
const CONNECTED: Duration = Duration::from_secs(180);
const RESULT: Duration = Duration::from_secs(120);

/// The result of the clients' process.
#[derive(Debug, Deserialize)]
struct ClientsResult {
    /// Times at which each client lost its connection and had another one.
    each_ns: Vec<(u64, u64)>,
    /// Clients whose state the server recovered.
    recovered: u64,
    signals: u64,
    /// Missing signals of clients that do not know that something may be missing.
    silent: u64,
    /// Missing signals of clients that do.
    noticed: u64,
    duplicates: u64,
}

/// Measures once.
pub(super) async fn measure(
    launcher: &Launcher,
    connections: usize,
    rate: u32,
) -> anyhow::Result<FailoverMeasured> {
    let mut nodes = RunningNodes::start(launcher, NODES, SocketIoAdapter::Streams).await?;
    let directory = launcher.process_dir(None)?;
    let mut clients = failover_clients(directory.ca(), connections, rate, &nodes.addresses())?;
    let ready = clients.line(CONNECTED).await?;
    anyhow::ensure!(ready == "ready", "the clients of Socket.IO printed {ready:?}");
    let kill_ns = now_ns();
    nodes.kill_first()?;
    let before = Usage::now(nodes.processes(), &[])?;
    let result: ClientsResult = clients.receive(RESULT).await?;
    let used = Usage::now(nodes.processes(), &[])?.since(&before);
    nodes.stop()?;
    let after_ms = |at_ns: u64| at_ns.saturating_sub(kill_ns) as f64 / 1e6;
    let back = u64::try_from(connections).context("too many clients")?;
    let mut measured = FailoverMeasured {
        each_ms: result.each_ns.iter().map(|it| (after_ms(it.0), after_ms(it.1))).collect(),
        not_resumed: back.saturating_sub(result.recovered),
        signals: result.signals,
        silent: result.silent,
        reported: result.noticed,
        duplicates: result.duplicates,
        seconds: used.seconds,
        ..FailoverMeasured::default()
    };
    measured.sort();
    Ok(measured)
}

//! Socket.IO on several nodes, with Redis between them.

use std::{net::SocketAddr, path::Path};

use anyhow::Context as _;

use super::{
    node::{self, NodeScript},
    run,
    socket_io::SocketIoProtocol,
};
use crate::{
    client::{ClientProtocol, stream::StreamDialer},
    process::{Process, ProcessDir},
    target::{Target, gateway::Launcher},
    worker::WorkerProcess,
};

/// The nodes of an installed Socket.IO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketIoNodes {
    version: String,
    nodes: usize,
    /// The first of them, to which clients connect in turn.
    pub(crate) occupied: usize,
}

/// The adapter between the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketIoAdapter {
    /// On Redis's channels.
    PubSub,
    /// On Redis's streams, with recovery of connections.
    Streams,
}

impl SocketIoAdapter {
    fn name(self) -> &'static str {
        match self {
            Self::PubSub => "pubsub",
            Self::Streams => "streams",
        }
    }
}

impl SocketIoNodes {
    /// Looks for it on this machine.
    pub fn find(nodes: usize, occupied: usize) -> anyhow::Result<Self> {
        let hint = "to compare with nodes of Socket.IO, install Redis: apt install redis-server";
        run("redis-server", &["--version"]).context(hint)?;
        Ok(Self { version: node::SOCKET_IO_NODE.version()?, nodes, occupied })
    }

    /// For tables.
    pub(crate) fn title(&self) -> String {
        let Self { version, nodes, occupied } = self;
        format!("Socket.IO {version}, Redis adapter, TLS: {occupied} of {nodes} nodes")
    }

    /// Starts Redis and the nodes, and waits until they listen.
    pub(crate) async fn start(&self, launcher: &Launcher) -> anyhow::Result<RunningNodes> {
        RunningNodes::start(launcher, self.nodes, SocketIoAdapter::PubSub).await
    }
}

/// Running nodes. Dropping them ends them.
pub struct RunningNodes {
    // In the order in which they end.
    nodes: Vec<RunningNode>,
    redis: Process,
}

struct RunningNode {
    process: Process,
    address: SocketAddr,
    dialer: StreamDialer,
}

impl RunningNodes {
    /// Starts Redis and this many nodes.
    pub async fn start(
        launcher: &Launcher,
        count: usize,
        adapter: SocketIoAdapter,
    ) -> anyhow::Result<Self> {
        let (redis, port) = start_redis(&launcher.process_dir(None)?).await?;
        let port = port.to_string();
        let mut nodes = Vec::new();
        for _ in 0..count {
            let directory = launcher.process_dir(None)?;
            let script: &NodeScript = &node::SOCKET_IO_NODE;
            let (process, address) =
                script.start_with(&directory, &[&port, adapter.name()]).await?;
            nodes.push(RunningNode { process, address, dialer: directory.dialer(address)? });
        }
        Ok(Self { nodes, redis })
    }

    /// Clients at the first few nodes, in turn.
    pub fn target(&self, occupied: usize) -> Target {
        let target = |node: &RunningNode| {
            let host = node.address.to_string();
            let protocols = move |number| -> Box<dyn ClientProtocol> {
                Box::new(SocketIoProtocol::new(&host, number))
            };
            Target::Stream { dialer: node.dialer.clone(), protocols: Box::new(protocols) }
        };
        Target::Spread(self.nodes.iter().take(occupied).map(target).collect())
    }

    /// The addresses of the nodes.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|it| it.address).collect()
    }

    /// Kills the first node.
    pub fn kill_first(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.nodes.is_empty(), "no node is left");
        self.nodes.remove(0).process.kill()
    }

    /// The processes of the nodes, and then of Redis.
    pub fn processes(&self) -> Vec<&Process> {
        self.nodes.iter().map(|it| &it.process).chain([&self.redis]).collect()
    }

    /// Kills them.
    pub fn stop(self) -> anyhow::Result<()> {
        for node in self.nodes {
            node.process.kill()?;
        }
        self.redis.kill()
    }
}

/// Starts clients of Socket.IO for a node that is killed, in a process of their own: `connections` at
/// the first node, which together send `rate` signals per second.
pub fn failover_clients(
    ca: &Path,
    connections: usize,
    rate: u32,
    nodes: &[SocketAddr],
) -> anyhow::Result<WorkerProcess> {
    let (program, _) = run("node", &["--version"])?;
    let mut command = tokio::process::Command::new(program);
    command.arg(node::script("socket-io-failover.js")).arg(ca);
    command.args([connections.to_string(), rate.to_string()]);
    command.args(nodes.iter().map(SocketAddr::to_string));
    WorkerProcess::spawn("process of Socket.IO's clients", command)
}

/// Without a file: nothing is to outlive the measurement.
async fn start_redis(directory: &ProcessDir<'_>) -> anyhow::Result<(Process, u16)> {
    let (program, _) = run("redis-server", &["--version"])?;
    let port = directory.free_port()?;
    let mut command = directory.command(program);
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
    command.args(["--appendonly", "no", "--dir"]).arg(directory.path());
    command.arg("--logfile").arg(directory.path().join("log"));
    let mut redis = directory.spawn("redis-server", &mut command)?;
    let ready = |log: &str| log.contains("Ready to accept connections").then_some(());
    redis.logged(ready).await?;
    Ok((redis, port))
}

//! The systems that are measured side by side: Signalbox over each transport, started here or
//! running elsewhere, other systems, and baselines.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use serde::{Serialize, Serializer};
use signalbox_netem::namespace::Network;
use signalbox_report::Contender;

use crate::{
    baseline::{BaselineKind, RunningBaseline},
    peer::{
        Peer, PeerKind, RunningPeer,
        nodes::{RunningNodes, SocketIoNodes},
        requests::NatsRequests,
    },
    process::Process,
    target::{
        Target,
        cluster::GatewayCluster,
        gateway::{Gateway, Launcher},
        remote::RemoteGateway,
    },
    transport::TransportVariant,
};

/// A system, and the transport of its clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum System {
    /// A gateway that is started for the measurement.
    Signalbox(TransportVariant),
    /// A gateway that runs already.
    Remote(RemoteGateway),
    /// Gateways of a cluster.
    Cluster(ClusterVariant),
    /// Another system, started for the measurement.
    Peer(Peer),
    /// Another system on several nodes.
    Nodes(SocketIoNodes),
    /// Requests and replies over NATS, under their title; they have one client.
    NatsRequests(String),
    /// An echo, which has one client.
    Baseline(BaselineKind),
}

impl System {
    /// For tables.
    pub fn title(&self) -> String {
        match self {
            Self::Signalbox(transport) => transport.title().to_owned(),
            Self::Remote(target) => target.url(),
            Self::Cluster(cluster) => cluster.title(),
            Self::Peer(peer) => peer.title(),
            Self::Nodes(nodes) => nodes.title(),
            Self::NatsRequests(title) => title.clone(),
            Self::Baseline(baseline) => baseline.title().to_owned(),
        }
    }

    /// Its role in the summary of a run; baselines have none.
    pub fn contender(&self) -> Option<Contender> {
        match self {
            Self::Signalbox(TransportVariant::Quic | TransportVariant::Wss) | Self::Remote(_) => {
                Some(Contender::Main)
            }
            Self::Signalbox(_) => Some(Contender::Variant),
            Self::Peer(_) => Some(Contender::Other),
            Self::Cluster(_) | Self::Nodes(_) | Self::NatsRequests(_) | Self::Baseline(_) => None,
        }
    }

    /// Its number of clients where gateways and other systems have `connections`.
    pub fn connections(&self, connections: usize) -> usize {
        if matches!(self, Self::Baseline(_) | Self::NatsRequests(_)) { 1 } else { connections }
    }

    /// Starts it, on an emulated network if there is one.
    pub async fn start(
        &self,
        launcher: &Launcher,
        emulation: Option<&Network>,
    ) -> anyhow::Result<RunningSystem> {
        match self {
            Self::Signalbox(transport) => {
                let plaintext = [("SIGNALBOX_TLS__PLAINTEXT_TCP", "true")];
                let settings = if transport.is_encrypted() { &[][..] } else { &plaintext[..] };
                let gateway = launcher.start_in(emulation, settings).await?;
                Ok(RunningSystem::Gateway(Box::new(gateway), *transport))
            }
            Self::Remote(target) => {
                ensure!(emulation.is_none(), "a --target cannot be behind an emulated link");
                Ok(RunningSystem::Remote(target.clone()))
            }
            Self::Cluster(cluster) => {
                let running =
                    GatewayCluster::start(launcher, cluster.gateways, cluster.transport, &[])
                        .await?;
                Ok(RunningSystem::Cluster(Box::new(running), *cluster))
            }
            Self::Peer(peer) => Ok(RunningSystem::Peer(Box::new(
                peer.start(&launcher.process_dir(emulation)?).await?,
            ))),
            Self::Nodes(nodes) => {
                Ok(RunningSystem::Nodes(Box::new(nodes.start(launcher).await?), nodes.occupied))
            }
            Self::NatsRequests(_) => Ok(RunningSystem::NatsRequests(Box::new(
                NatsRequests::start(&launcher.process_dir(emulation)?).await?,
            ))),
            Self::Baseline(baseline) => Ok(RunningSystem::Baseline(Box::new(
                baseline.start(&launcher.process_dir(emulation)?).await?,
            ))),
        }
    }
}

impl Serialize for System {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Signalbox(transport) => transport.serialize(serializer),
            _ => serializer.serialize_str(&self.title()),
        }
    }
}

/// A cluster, the transport of its clients, and where they connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterVariant {
    /// The transport.
    pub transport: TransportVariant,
    /// Gateways of the cluster.
    pub gateways: usize,
    /// The first of them, which clients join in turn.
    pub occupied: usize,
}

impl ClusterVariant {
    fn title(self) -> String {
        let Self { transport, gateways, occupied } = self;
        format!("{}: {occupied} of {gateways} gateways", transport.title())
    }
}

/// A running system.
pub enum RunningSystem {
    /// A gateway.
    Gateway(Box<Gateway>, TransportVariant),
    /// A gateway that ran already.
    Remote(RemoteGateway),
    /// Gateways of a cluster.
    Cluster(Box<GatewayCluster>, ClusterVariant),
    /// Another system.
    Peer(Box<RunningPeer>),
    /// Another system on several nodes, and the number of those to which clients connect.
    Nodes(Box<RunningNodes>, usize),
    /// Requests and replies over NATS.
    NatsRequests(Box<NatsRequests>),
    /// An echo.
    Baseline(Box<RunningBaseline>),
}

impl RunningSystem {
    /// A new target for clients; at a remote gateway, the session of its token.
    pub async fn target(&self) -> anyhow::Result<Target> {
        match self {
            Self::Gateway(gateway, transport) => gateway.target(*transport),
            Self::Remote(target) => target.target().await,
            Self::Cluster(cluster, it) => cluster.target(it.transport, it.occupied),
            Self::Peer(peer) => Ok(peer.target()),
            Self::Nodes(nodes, occupied) => Ok(nodes.target(*occupied)),
            Self::NatsRequests(requests) => Ok(requests.target()),
            Self::Baseline(baseline) => Ok(baseline.target()),
        }
    }

    /// Its processes, if the benchmark started it.
    pub fn processes(&self) -> Vec<&Process> {
        match self {
            Self::Gateway(gateway, _) => vec![gateway.process()],
            Self::Remote(_) => Vec::new(),
            Self::Cluster(cluster, _) => cluster.processes(),
            Self::Peer(peer) => vec![peer.process()],
            Self::Nodes(nodes, _) => nodes.processes(),
            Self::NatsRequests(requests) => requests.processes(),
            Self::Baseline(baseline) => vec![baseline.process()],
        }
    }

    /// Ends it, if the benchmark started it.
    pub async fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Gateway(gateway, _) => gateway.stop().await,
            Self::Remote(_) => Ok(()),
            Self::Cluster(cluster, _) => cluster.stop().await,
            Self::Peer(peer) => peer.stop(),
            Self::Nodes(nodes, _) => nodes.stop(),
            Self::NatsRequests(requests) => requests.stop(),
            Self::Baseline(baseline) => baseline.stop(),
        }
    }
}

/// Flags: the systems to measure side by side.
#[derive(Debug, Clone, clap::Args)]
pub struct Systems {
    /// Transports of a gateway that is started for each measurement.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "quic,wss",
        conflicts_with = "target"
    )]
    pub transport: Vec<TransportVariant>,
    /// Measure a gateway that runs already: quic://, https:// (WebTransport), wss:// or
    /// ws://HOST:PORT. May be given several times.
    #[arg(long, value_name = "URL", requires = "token")]
    pub target: Vec<String>,
    /// Token of a publisher or a moderator for the session at the target.
    #[arg(long, value_name = "TOKEN", env = "SIGNALBOX_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Authority of the target's certificate (PEM). [default: the system's]
    #[arg(long, value_name = "FILE", requires = "target")]
    pub ca: Option<PathBuf>,
    /// Measure these other systems too; they must be installed. Each is started for each
    /// measurement, near its defaults, with TLS.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub compare_with: Vec<PeerKind>,
}

impl Systems {
    /// All of them.
    pub fn all(&self) -> anyhow::Result<Vec<System>> {
        let peers = self.compare_with.iter().map(|kind| Ok(System::Peer(Peer::find(*kind)?)));
        let mut all = self.signalbox()?;
        all.extend(peers.collect::<anyhow::Result<Vec<_>>>()?);
        Ok(all)
    }

    /// The gateways that run already, if those are measured.
    pub fn elsewhere(&self) -> Option<String> {
        (!self.target.is_empty()).then(|| format!("a gateway at {}", self.target.join(", ")))
    }

    fn signalbox(&self) -> anyhow::Result<Vec<System>> {
        if self.target.is_empty() {
            return Ok(self.transport.iter().copied().map(System::Signalbox).collect());
        }
        let token = self.token.as_deref().context("a --target needs a --token")?;
        let target = |url: &String| {
            Ok(System::Remote(RemoteGateway::new(url, token.to_owned(), self.ca.clone())?))
        };
        self.target.iter().map(target).collect()
    }
}

//! Clusters under test: gateways and a nats-server, each in a process of its own.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use anyhow::Context as _;

use crate::{
    peer::nats,
    process::Process,
    target::{
        Target,
        gateway::{Gateway, Launcher},
    },
    transport::TransportVariant,
};

/// Attempts to find a free port.
const PORT_ATTEMPTS: usize = 100;

/// A running cluster. Dropping it ends it.
pub struct GatewayCluster {
    // In the order in which they end.
    gateways: Vec<Gateway>,
    nats: Process,
}

impl GatewayCluster {
    /// Starts this many gateways with these settings, and waits until they have heard each other.
    /// Each tells its clients the URL of the next one for this transport, and of no other, so that
    /// clients know which gateway they have joined.
    pub async fn start(
        launcher: &Launcher,
        count: usize,
        transport: TransportVariant,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let (nats, address) = nats::start_plain(&launcher.process_dir(None)?).await?;
        let servers = format!("[\"nats://{address}\"]");
        let ports = (0..count).map(|_| free_port()).collect::<anyhow::Result<Vec<_>>>()?;
        let mut gateways = Vec::with_capacity(count);
        for (number, own) in ports.iter().enumerate() {
            let name = format!("gw-{}", number + 1);
            let next = ports.get((number + 1) % count).unwrap_or(own);
            let others = format!("[\"{}\"]", url(transport, *next));
            let cluster = [
                ("SIGNALBOX_NAME", &*name),
                ("SIGNALBOX_CLUSTER__SERVERS", &*servers),
                ("SIGNALBOX_RESUME__GATEWAYS", &*others),
            ];
            gateways.push(launcher.start_at(*own, &[settings, &cluster].concat()).await?);
        }
        for gateway in &mut gateways {
            gateway.peers_joined(count.saturating_sub(1)).await?;
        }
        Ok(Self { gateways, nats })
    }

    /// The gateways that are running.
    pub fn gateways(&self) -> &[Gateway] {
        &self.gateways
    }

    /// The processes of the gateways, and then of the nats-server.
    pub fn processes(&self) -> Vec<&Process> {
        self.gateways.iter().map(Gateway::process).chain([&self.nats]).collect()
    }

    /// A new session, whose clients join at the first few gateways in turn.
    pub fn target(&self, transport: TransportVariant, occupied: usize) -> anyhow::Result<Target> {
        let token = self.gateways.first().context("a cluster without gateways")?.token()?;
        let gateways = self.gateways.iter().take(occupied);
        let targets = gateways.map(|it| it.target_of(transport, token.clone()));
        Ok(Target::Spread(targets.collect::<anyhow::Result<_>>()?))
    }

    /// Kills the first gateway.
    pub fn kill_first(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.gateways.is_empty(), "no gateway is left");
        self.gateways.remove(0).kill()
    }

    /// Shuts the gateways down, and kills the nats-server.
    pub async fn stop(self) -> anyhow::Result<()> {
        for gateway in self.gateways {
            gateway.stop().await?;
        }
        self.nats.kill()
    }
}

/// The URL of the gateway at this port.
fn url(transport: TransportVariant, port: u16) -> String {
    format!("{}://127.0.0.1:{port}", transport.scheme())
}

/// A port that is free now over UDP and TCP, below those that the system gives to clients: one of
/// them could take it before the gateway does.
fn free_port() -> anyhow::Result<u16> {
    let is_free = |port: u16| {
        let address = (Ipv4Addr::LOCALHOST, port);
        UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok()
    };
    for _ in 0..PORT_ATTEMPTS {
        let mut random = [0; 2];
        getrandom::fill(&mut random).context("the OS random generator failed")?;
        let port = 10_000 + u16::from_ne_bytes(random) % 20_000;
        if is_free(port) {
            return Ok(port);
        }
    }
    anyhow::bail!("found no free port in {PORT_ATTEMPTS} attempts")
}

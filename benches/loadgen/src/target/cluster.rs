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
        let ports = (0..count).map(|_| free_ports()).collect::<anyhow::Result<Vec<_>>>()?;
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

/// The URL of the gateway at these UDP and TCP ports.
fn url(transport: TransportVariant, (quic, tcp): (u16, u16)) -> String {
    let port = if transport.is_quic() { quic } else { tcp };
    format!("{}://127.0.0.1:{port}", transport.scheme())
}

/// A UDP and a TCP port that are free now.
fn free_ports() -> anyhow::Result<(u16, u16)> {
    let any = (Ipv4Addr::LOCALHOST, 0);
    let (udp, tcp) = (UdpSocket::bind(any)?, TcpListener::bind(any)?);
    Ok((udp.local_addr()?.port(), tcp.local_addr()?.port()))
}

//! First packets of QUIC handshakes, as from a stranger who forges addresses: each from another port,
//! and nobody reads the answers.
//!
//! The packets are made before the flood, so that sending them costs next to nothing.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use quinn::{Endpoint, crypto::rustls::QuicClientConfig};
use signalbox_protocol::ALPN;
use tokio::{net::UdpSocket, task::JoinSet, time::timeout};

use super::{FloodWorker, SharedProgress};
use crate::clock::{Metronome, nanos, now_ns};

/// Seconds' worth of packets that are made. The gateway forgets a handshake that does not go on
/// sooner, so that each packet begins a new one whenever it is sent.
const SECONDS: u32 = 6;

/// Packets that are made at a time.
const BATCH: usize = 64;

/// Time for a packet to get from one socket of this process to another.
const ARRIVAL: Duration = Duration::from_secs(5);

impl FloodWorker {
    /// Makes the packets.
    pub(super) async fn make_initials(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let gateway: SocketAddr = self.quic.parse()?;
        let (count, ca) = ((self.rate * SECONDS) as usize, self.ca()?);
        make_initials(count, gateway.ip(), &ca).await.context("cannot make packets")
    }

    /// Starts sending the packets.
    pub(super) fn send_initials(
        &self,
        packets: Vec<Vec<u8>>,
        progress: &SharedProgress,
        senders: &mut JoinSet<anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let gateway: SocketAddr = self.quic.parse()?;
        let sources: Vec<IpAddr> = (0..self.addresses).map(|it| self.source(it)).collect();
        let interval_ns = nanos(Duration::from_secs(1)) / u64::from(self.rate);
        let progress = progress.clone();
        senders.spawn(async move {
            let mut metronome = Metronome::start(now_ns(), interval_ns)?;
            for (packet, source) in packets.iter().cycle().zip(sources.iter().cycle()) {
                metronome.tick().await?;
                let socket = std::net::UdpSocket::bind(SocketAddr::new(*source, 0))?;
                socket.set_nonblocking(true)?;
                // A full buffer loses the packet, as a network would.
                let _ = socket.send_to(packet, gateway);
                progress.lock().answered += 1;
            }
            Ok(())
        });
        Ok(())
    }
}

/// The first packet of this many handshakes, with different connection ids.
async fn make_initials(count: usize, name: IpAddr, ca: &[u8]) -> anyhow::Result<Vec<Vec<u8>>> {
    let tls = signalbox_certs::client(signalbox_certs::roots_from_pem(ca)?, &[ALPN]);
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let endpoint = Endpoint::client(SocketAddr::new(name, 0))?;
    let sink = UdpSocket::bind(SocketAddr::new(name, 0)).await?;
    let (to, name) = (sink.local_addr()?, name.to_string());
    let (mut packets, mut seen) = (Vec::with_capacity(count), HashSet::new());
    let mut buffer = [0; 2048];
    while packets.len() < count {
        // Dropped at the end of the batch, which sends more packets with the same ids.
        let mut connecting = Vec::new();
        for _ in 0..BATCH {
            connecting.push(endpoint.connect_with(config.clone(), to, &name)?);
        }
        let mut fresh = 0;
        while fresh < BATCH {
            let length = timeout(ARRIVAL, sink.recv(&mut buffer)).await??;
            let packet = buffer.get(..length).unwrap_or_default();
            if seen.insert(destination(packet)?.to_vec()) {
                packets.push(packet.to_vec());
                fresh += 1;
            }
        }
    }
    Ok(packets)
}

/// The destination connection id of a long header (RFC 9000 §17.2).
fn destination(packet: &[u8]) -> anyhow::Result<&[u8]> {
    let length = usize::from(*packet.get(5).context("a short packet")?);
    let id = packet.get(6..6 + length).context("a short packet")?;
    ensure!(length >= 8, "a short connection id");
    Ok(id)
}

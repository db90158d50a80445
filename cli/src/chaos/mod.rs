//! Fault-injecting proxy of `serve --dev --chaos`, for authors of clients.
//!
//! It listens on the public ports of the gateway and forwards bytes to the gateway, which listens on
//! ports chosen by the system. The gateway is the same with and without it. The proxy never changes,
//! adds or repeats a byte, so all guarantees of the protocol hold.

mod decisions;
mod quic;
mod spec;
mod tcp;

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::Context as _;
use signalbox_gateway::Addresses;
use tokio::net::{TcpListener, UdpSocket};

pub(crate) use spec::ChaosSpec;

/// Default idle timeout of the gateway: a link that was cut silently is noticed by this timeout only, and
/// an author should not have to wait for it.
pub(crate) const IDLE_TIMEOUT_MS: u32 = 5000;

/// Links of each protocol at a time.
const LINKS: usize = 1024;

/// Silence after which the proxy forgets a link.
const IDLE: Duration = Duration::from_secs(120);

/// The bound proxy.
pub(crate) struct Chaos {
    spec: ChaosSpec,
    udp: UdpSocket,
    tcp: TcpListener,
    addresses: Addresses,
}

impl Chaos {
    /// Binds the gateway's public addresses.
    pub(crate) async fn bind(spec: ChaosSpec, public: Addresses) -> anyhow::Result<Self> {
        let udp = UdpSocket::bind(public.quic).await;
        let udp = udp.with_context(|| format!("cannot listen on {} (udp)", public.quic))?;
        let tcp = TcpListener::bind(public.tcp).await;
        let tcp = tcp.with_context(|| format!("cannot listen on {} (tcp)", public.tcp))?;
        let addresses =
            Addresses { quic: udp.local_addr()?, tcp: tcp.local_addr()?, page: None, ops: None };
        Ok(Self { spec, udp, tcp, addresses })
    }

    /// Address for the gateway behind the proxy. The system chooses the port.
    pub(crate) fn hidden_address() -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
    }

    /// The addresses of the proxy, for clients.
    pub(crate) fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The spec with its seed, which repeats the same decisions.
    pub(crate) fn spec(&self) -> ChaosSpec {
        self.spec
    }

    /// Forwards bytes between clients and the gateway while it is polled.
    pub(crate) async fn run(self, gateway: Addresses) {
        let Self { spec, udp, tcp, .. } = self;
        tokio::join!(quic::forward(spec, udp, gateway.quic), tcp::forward(spec, tcp, gateway.tcp));
    }
}

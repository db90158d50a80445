//! A proxy in front of the gateway that behaves like a bad network on purpose, so that authors of
//! clients can see how theirs copes: `serve --dev --chaos`.
//!
//! It listens on the gateway's public ports and passes bytes to the gateway, which listens on ports
//! of this machine that nobody else knows. The gateway itself is the same with and without it. The
//! proxy never changes, adds or repeats a byte, so all guarantees of the protocol still hold.

mod fate;
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

pub(crate) use spec::Spec;

/// The gateway's idle timeout unless the operator sets one: a link that was cut silently is noticed
/// by this silence only, and an author should not have to wait for it.
pub(crate) const IDLE_TIMEOUT_MS: u32 = 5000;

/// Links of each carrier at a time.
const LINKS: usize = 1024;

/// How long a link may be silent before the proxy forgets it.
const IDLE: Duration = Duration::from_secs(120);

/// The bound proxy.
pub(crate) struct Chaos {
    spec: Spec,
    udp: UdpSocket,
    tcp: TcpListener,
    addresses: Addresses,
}

impl Chaos {
    /// Binds the gateway's public addresses.
    pub(crate) async fn bind(spec: Spec, public: Addresses) -> anyhow::Result<Self> {
        let udp = UdpSocket::bind(public.quic).await;
        let udp = udp.with_context(|| format!("cannot listen on {} (udp)", public.quic))?;
        let tcp = TcpListener::bind(public.tcp).await;
        let tcp = tcp.with_context(|| format!("cannot listen on {} (tcp)", public.tcp))?;
        let addresses = Addresses { quic: udp.local_addr()?, tcp: tcp.local_addr()? };
        Ok(Self { spec, udp, tcp, addresses })
    }

    /// Where the gateway listens behind the proxy: the system chooses the ports.
    pub(crate) fn hidden() -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
    }

    /// Where clients find the proxy.
    pub(crate) fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// What it does, as it can be said again to see the same.
    pub(crate) fn spec(&self) -> Spec {
        self.spec
    }

    /// Passes bytes between clients and the gateway for as long as it is polled.
    pub(crate) async fn run(self, gateway: Addresses) {
        let Self { spec, udp, tcp, .. } = self;
        tokio::join!(quic::carry(spec, udp, gateway.quic), tcp::carry(spec, tcp, gateway.tcp));
    }
}

//! A proxy between the clients of a test and its gateway.

use std::{net::SocketAddr, ops::Deref};

use signalbox_netem::proxy::{Proxy as NetworkProxy, Targets};

use crate::{TransportMode, World, within_timeout};

/// A [`NetworkProxy`] in front of a gateway.
pub struct Proxy(NetworkProxy);

impl Proxy {
    /// A proxy in front of the gateway of a world.
    pub async fn new(world: &World) -> Self {
        Self(NetworkProxy::start(targets(world)).await.unwrap())
    }

    /// The gateway's URL for a transport, through the proxy.
    pub fn url(&self, transport: TransportMode) -> String {
        match transport {
            _ if !transport.is_udp() => format!("wss://{}", self.tcp()),
            TransportMode::WebTransport => format!("https://{}", self.udp()),
            _ => format!("quic://{}", self.udp()),
        }
    }

    /// The gateway's address for a transport, through the proxy.
    pub fn address(&self, transport: TransportMode) -> SocketAddr {
        if transport.is_udp() { self.udp() } else { self.tcp() }
    }

    /// Waits until clients have begun this many QUIC connections.
    pub async fn quic_begun(&self, count: usize) {
        let mut begun = self.quic_connections();
        within_timeout("another QUIC connection", begun.wait_for(|begun| *begun >= count))
            .await
            .unwrap();
    }

    /// Replays early data to the gateway.
    pub async fn replay(&self) {
        within_timeout("an answer to replayed packets", self.replay_early_data()).await.unwrap();
    }

    /// Leads clients to the gateway of another world.
    pub fn lead_to(&self, world: &World) {
        self.redirect(targets(world));
    }
}

impl Deref for Proxy {
    type Target = NetworkProxy;

    fn deref(&self) -> &NetworkProxy {
        &self.0
    }
}

fn targets(world: &World) -> Targets {
    Targets { udp: world.addresses().quic, tcp: world.addresses().tcp }
}

//! Settings of `serve --dev` that nothing configures: the addresses, and in a cluster the name. Each
//! gateway of a cluster on this machine gets other ones, so that the same command starts all of them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use anyhow::Context as _;
use signalbox_gateway::{Config, PAGES};

use super::page;
use crate::config::Sources;

/// Distance between the ports of two gateways: each has the port after that of its clients for the
/// page, and the next one for operations.
const PORTS: u16 = 10;

/// Gateways of a cluster on this machine that get ports by themselves.
const GATEWAYS: u16 = 100;

/// Silence after which a link is lost. QUIC clients of a killed gateway notice it no earlier, and the
/// developer waits for them.
const IDLE_TIMEOUT_MS: u32 = 3000;

/// Path below which the vendor's browser SDK is served.
const OPENTOK_JS_PREFIX: &str = "/opentok";

/// Puts the settings into the defaults, so that a reload sees no change. Returns the configuration.
pub(super) fn choose(
    sources: &Sources,
    defaults: &mut Config,
    on_network: bool,
) -> anyhow::Result<Config> {
    let config = sources.check(defaults)?;
    let in_cluster = !config.cluster.servers.is_empty();
    let default_ports = [config.listen.quic, config.listen.tcp]
        == [defaults.listen.quic, defaults.listen.tcp]
        && config.listen.page.is_none();
    if in_cluster && default_ports {
        let first = defaults.listen.tcp.port();
        let mut ports = (0..GATEWAYS).map(|number| first + number * PORTS);
        let port = ports.find(|port| are_free(*port)).with_context(|| {
            format!(
                "the ports of {GATEWAYS} gateways from {first} on are in use: pass --quic and --tcp"
            )
        })?;
        defaults.listen.quic.set_port(port);
        defaults.listen.tcp.set_port(port);
    }
    let tcp = sources.check(defaults)?.listen.tcp;
    if in_cluster && config.name == defaults.name {
        // The system chooses port 0 only after the name is known.
        let number = if tcp.port() == 0 { std::process::id() } else { tcp.port().into() };
        defaults.name = format!("dev-{number}").parse().context("cannot make a name")?;
    }
    if in_cluster {
        defaults.timeouts.idle_ms = defaults.timeouts.idle_ms.min(IDLE_TIMEOUT_MS);
    }
    if config.opentok_js.prefix.is_none() {
        defaults.opentok_js.prefix = Some(OPENTOK_JS_PREFIX.to_owned());
    }
    if PAGES && config.listen.page.is_none() {
        defaults.listen.page = Some(page::default_address(tcp, on_network));
    }
    if config.ops.listen.is_none() {
        defaults.ops.listen = Some(ops_address(tcp));
    }
    sources.check(defaults)
}

/// The address of the operations listener by default.
fn ops_address(tcp: SocketAddr) -> SocketAddr {
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let second = if tcp.port() == 0 { None } else { tcp.port().checked_add(2).map(local) };
    // It is no reason for a gateway not to start.
    second.filter(|address| TcpListener::bind(address).is_ok()).unwrap_or(local(0))
}

/// Whether the ports of a gateway are free.
fn are_free(port: u16) -> bool {
    let local = |port| (Ipv4Addr::LOCALHOST, port);
    UdpSocket::bind(local(port)).is_ok()
        && (port..=port + 2).all(|port| TcpListener::bind(local(port)).is_ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn operations_are_two_ports_after_websocket_or_anywhere() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_eq!(ops_address(([127, 0, 0, 1], port - 2).into()).port(), 0);
        assert_eq!(ops_address(([127, 0, 0, 1], u16::MAX).into()).port(), 0);
        assert_eq!(ops_address(([127, 0, 0, 1], 0).into()).port(), 0);
        assert!(!are_free(port));
        drop(taken);
        assert_eq!(ops_address(([0, 0, 0, 0], port - 2).into()), ([127, 0, 0, 1], port).into());
    }
}

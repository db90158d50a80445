//! The page of `serve --dev`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::Context as _;
use qrcode::{
    QrCode,
    render::{svg, unicode},
};
use signalbox_gateway::{Addresses, NetworkPage, PageSession, PageTokens};

use crate::address::{local_name, reachable};
use crate::dev::{DevEnvironment, DevTokens};

/// Any address beyond the local network (RFC 5737, TEST-NET-1).
const ELSEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// Its address by default: the port after that of WebSocket, so that a gateway on other ports does
/// not collide with it, and on this machine only unless it is to be on the network.
pub(super) fn default_address(tcp: SocketAddr, on_network: bool) -> SocketAddr {
    // Port 0 lets the system choose both.
    let port = if tcp.port() == 0 { 0 } else { tcp.port().checked_add(1).unwrap_or(0) };
    let ip = if on_network { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
    (ip, port).into()
}

/// The address of this machine on its network: that from which it would send to the rest of the
/// world. Nothing is sent.
pub(super) fn network_ip() -> anyhow::Result<IpAddr> {
    let ask = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(ELSEWHERE)?;
        Ok(socket.local_addr()?.ip())
    };
    let found: std::io::Result<IpAddr> = ask();
    found.context("--lan: this machine has no address on a network; name one with --page")
}

/// The page's origin on the network.
pub(super) fn origin(ip: IpAddr, port: u16) -> String {
    format!("http://{}", SocketAddr::new(ip, port))
}

/// The page's address for other devices.
pub(super) fn on_network(
    dev: &DevEnvironment,
    addresses: Addresses,
    ip: IpAddr,
) -> anyhow::Result<Option<NetworkPage>> {
    let Some(page) = addresses.page else { return Ok(None) };
    let url = format!("{}/#{}", origin(ip, page.port()), dev.page_key());
    let code = QrCode::new(&url).context("the page's address does not fit into a QR code")?;
    let qr_svg = code.render::<svg::Color<'_>>().min_dimensions(200, 200).build();
    Ok(Some(NetworkPage { url, qr_svg }))
}

/// A QR code for terminals. Blocks are its light parts, as most terminals are dark.
pub(super) fn terminal_code(url: &str) -> String {
    let (light, dark) = (unicode::Dense1x2::Dark, unicode::Dense1x2::Light);
    let draw = |code: QrCode| {
        code.render().light_color(light).dark_color(dark).module_dimensions(1, 1).build()
    };
    let code = QrCode::new(url).map(draw);
    code.unwrap_or_default()
}

/// The session that it joins.
pub(super) fn session(
    dev: &DevEnvironment,
    addresses: Addresses,
    network: Option<NetworkPage>,
) -> PageSession {
    let DevTokens { moderator, publisher, subscriber } = dev.tokens.clone();
    PageSession {
        key: dev.page_key(),
        quic: reachable(addresses.quic),
        session: dev.project.session.to_string(),
        tokens: PageTokens { moderator, publisher, subscriber },
        network,
    }
}

/// The address to open in a browser, if there is a page.
pub(super) fn url(dev: &DevEnvironment, addresses: Addresses) -> Option<String> {
    let address = addresses.page?;
    Some(format!("http://{}/#{}", local_name(address), dev.page_key()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_on_the_port_after_that_of_websocket() {
        for (tcp, page) in [(4433, 4434), (0, 0), (u16::MAX, 0)] {
            // Without TLS it is not for the network, even if the rest of the gateway is.
            let address = default_address(([0, 0, 0, 0], tcp).into(), false);
            assert_eq!(address, ([127, 0, 0, 1], page).into());
            let address = default_address(([127, 0, 0, 1], tcp).into(), true);
            assert_eq!(address, ([0, 0, 0, 0], page).into());
        }
    }
}

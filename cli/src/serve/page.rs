//! The page of `serve --dev`.

use std::net::SocketAddr;

use signalbox_gateway::{Addresses, PageSession, PageTokens};

use super::address::{local_name, reachable};
use crate::dev::{DevEnvironment, DevTokens};

/// Its address by default: the port after that of WebSocket, so that a gateway on other ports does
/// not collide with it, and on this machine only.
pub(super) fn default_address(tcp: SocketAddr) -> SocketAddr {
    // Port 0 lets the system choose both.
    let port = if tcp.port() == 0 { 0 } else { tcp.port().checked_add(1).unwrap_or(0) };
    ([127, 0, 0, 1], port).into()
}

/// The session that it joins.
pub(super) fn session(dev: &DevEnvironment, addresses: Addresses) -> PageSession {
    let DevTokens { moderator, publisher, subscriber } = dev.tokens.clone();
    PageSession {
        key: dev.page_key(),
        quic: reachable(addresses.quic),
        session: dev.project.session.to_string(),
        tokens: PageTokens { moderator, publisher, subscriber },
        network: None,
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
            let address = default_address(([0, 0, 0, 0], tcp).into());
            assert_eq!(address, ([127, 0, 0, 1], page).into());
        }
    }
}

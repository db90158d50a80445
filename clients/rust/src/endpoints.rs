//! Sockets. All QUIC connections of a [`Connector`](crate::Connector) share one UDP socket for each
//! address family; a WebSocket has a TCP socket of its own.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
};

use parking_lot::Mutex;
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

/// Socket buffers to ask for, in bytes; one socket serves all connections of a connector.
const SOCKET_BUFFER: usize = 2 * 1024 * 1024;

/// One QUIC endpoint per address family, opened when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    /// The address of this host to connect from, for its family; otherwise the system chooses.
    local: Option<IpAddr>,
    v4: Mutex<Option<Endpoint>>,
    v6: Mutex<Option<Endpoint>>,
}

impl Endpoints {
    pub(crate) fn with_local_address(local: IpAddr) -> Self {
        Self { local: Some(local), ..Self::default() }
    }

    /// The endpoint that reaches `address`.
    pub(crate) fn for_address(&self, address: SocketAddr) -> io::Result<Endpoint> {
        let slot = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        let mut slot = slot.lock();
        if let Some(endpoint) = &*slot {
            return Ok(endpoint.clone());
        }
        let runtime = Arc::new(TokioRuntime);
        let socket = bind(self.local(address.is_ipv4()))?;
        let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, runtime)?;
        Ok(slot.insert(endpoint).clone())
    }

    /// Moves all connections to new sockets.
    pub(crate) fn rebind(&self) -> io::Result<()> {
        for (slot, is_ipv4) in [(&self.v4, true), (&self.v6, false)] {
            if let Some(endpoint) = &*slot.lock() {
                endpoint.rebind(bind(self.local(is_ipv4))?)?;
            }
        }
        Ok(())
    }

    /// A TCP connection to `address`.
    pub(crate) async fn connect_tcp(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let is_ipv4 = address.is_ipv4();
        let socket = if is_ipv4 { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        let local = self.local(is_ipv4);
        // Without an address, the system binds the socket when it connects. It can then use a port again
        // that is in use towards other gateways.
        if !local.ip().is_unspecified() {
            socket.bind(local)?;
        }
        socket.connect(address).await
    }

    /// The address to bind a socket of this family to.
    fn local(&self, is_ipv4: bool) -> SocketAddr {
        let unspecified: IpAddr =
            if is_ipv4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let local = self.local.filter(|local| local.is_ipv4() == is_ipv4);
        SocketAddr::new(local.unwrap_or(unspecified), 0)
    }
}

fn bind(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    // The system may grant less, which costs only retransmissions.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&local.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_of_both_protocols_come_from_the_chosen_address() {
        let local: IpAddr = [127, 0, 0, 9].into();
        let endpoints = Endpoints::with_local_address(local);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = listener.local_addr().unwrap();
        let (_stream, accepted) = tokio::join!(endpoints.connect_tcp(gateway), listener.accept());
        assert_eq!(accepted.unwrap().1.ip(), local);
        let quic = || endpoints.for_address(gateway).unwrap().local_addr().unwrap();
        assert_eq!(quic().ip(), local);
        let before = quic();
        endpoints.rebind().unwrap();
        assert_eq!(quic().ip(), local);
        assert_ne!(quic(), before, "another socket");
    }
}

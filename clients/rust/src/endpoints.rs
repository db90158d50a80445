//! UDP sockets. All QUIC connections of a [`Connector`](crate::Connector) share one socket for each
//! address family.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
};

use parking_lot::Mutex;
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use socket2::{Domain, Protocol, Socket, Type};

/// Socket buffers to ask for, in bytes; one socket serves all connections of a connector.
const SOCKET_BUFFER: usize = 2 * 1024 * 1024;

/// One QUIC endpoint per address family, opened when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    v4: Mutex<Option<Endpoint>>,
    v6: Mutex<Option<Endpoint>>,
}

impl Endpoints {
    /// The endpoint that reaches `address`.
    pub(crate) fn for_address(&self, address: SocketAddr) -> io::Result<Endpoint> {
        let (slot, local) = match address {
            SocketAddr::V4(_) => (&self.v4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            SocketAddr::V6(_) => (&self.v6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
        };
        let mut slot = slot.lock();
        if let Some(endpoint) = &*slot {
            return Ok(endpoint.clone());
        }
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(EndpointConfig::default(), None, bind(local)?, runtime)?;
        Ok(slot.insert(endpoint).clone())
    }

    /// Moves all connections to new sockets.
    pub(crate) fn rebind(&self) -> io::Result<()> {
        let unspecified = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        for (slot, ip) in [&self.v4, &self.v6].into_iter().zip(unspecified) {
            if let Some(endpoint) = &*slot.lock() {
                endpoint.rebind(bind(SocketAddr::new(ip, 0))?)?;
            }
        }
        Ok(())
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

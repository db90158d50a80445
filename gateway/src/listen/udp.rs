//! The UDP socket under QUIC: larger buffers for all, smaller ones for each connection.

use std::{
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use quinn::{
    AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use socket2::{Domain, Protocol, Socket, Type};

/// Socket buffers that we ask for, in bytes. The usual 208 KiB hold a few milliseconds of a busy
/// gateway; the system may grant less, which costs only retransmissions.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;

/// Datagrams that are handed to the system in one call, by segmentation offload. quinn keeps a
/// buffer for as many in every connection, from its handshake on: with its own ten, 14.5 KiB of
/// address space, of which even an idle connection touches about two. Signals are small, and at
/// 20,000 deliveries a second to 100 receivers the CPU does not notice the difference.
const SEGMENTS: usize = 2;

/// Binds `address`. Must be called inside a tokio runtime.
pub(super) fn bind(address: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    // Granted in part, or not at all, they are no reason not to start.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&address.into())?;
    Ok(Arc::new(FewSegments(TokioRuntime.wrap_udp_socket(socket.into())?)))
}

/// quinn's socket, but with [`SEGMENTS`].
#[derive(Debug)]
struct FewSegments(Arc<dyn AsyncUdpSocket>);

impl AsyncUdpSocket for FewSegments {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.0.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.0.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.0.max_transmit_segments().min(SEGMENTS)
    }

    fn max_receive_segments(&self) -> usize {
        self.0.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.0.may_fragment()
    }
}

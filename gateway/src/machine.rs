//! What this machine grants to the sockets of a gateway; for `signalbox doctor`.

use std::io;

use crate::listen::quic::{SOCKET_BUFFER, udp_socket};

/// What the system grants to the UDP socket of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpGrants {
    /// Bytes of each buffer that the gateway asks for.
    pub wanted: usize,
    /// Bytes of the receive buffer.
    pub receive: usize,
    /// Bytes of the send buffer.
    pub send: usize,
    /// Packets that one system call can send (GSO); 1 without it.
    pub gso_segments: usize,
}

/// Opens a socket like that of a gateway, on a free port of this machine, and looks at it.
///
/// # Errors
/// The system's error if there can be no such socket.
pub fn udp_grants() -> io::Result<UdpGrants> {
    let socket = udp_socket(([127, 0, 0, 1], 0).into())?;
    let buffers = socket2::SockRef::from(&socket);
    // Linux counts its own overhead, as much again.
    let share = if cfg!(target_os = "linux") { 2 } else { 1 };
    Ok(UdpGrants {
        wanted: SOCKET_BUFFER,
        receive: buffers.recv_buffer_size()? / share,
        send: buffers.send_buffer_size()? / share,
        gso_segments: signalbox_quic::max_gso_segments(&socket)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_has_buffers() {
        let grants = udp_grants().unwrap();
        assert!(grants.gso_segments >= 1);
        for granted in [grants.receive, grants.send] {
            assert!((1024..=2 * grants.wanted).contains(&granted), "{grants:?}");
        }
    }
}

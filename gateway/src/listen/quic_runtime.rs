//! How quinn's tasks run: as tokio's, but what receives gets its turn before the rest is starved.
//!
//! One task of quinn's takes packets from the socket, for 50 µs at a time, and then waits until all
//! other tasks have had their turn. With a thousand clients that are all being sent something that
//! is several milliseconds, in which more packets arrive than are taken. Those that are nearly all,
//! acknowledgements, then delay the few that bring signals by as much as the socket's buffer holds:
//! 200 ms and more.

use std::{
    future::Future,
    io,
    net::UdpSocket,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};

use crate::woken::while_woken;

/// How often in a row the receiving task may go on.
const TURNS: u32 = 32;

/// The runtime of one endpoint.
#[derive(Debug, Default)]
pub(super) struct EndpointRuntime {
    /// Whether the first task, which is the receiving one, has been started.
    receives: AtomicBool,
}

impl Runtime for EndpointRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        if self.receives.swap(true, Ordering::Relaxed) {
            TokioRuntime.spawn(future);
        } else {
            TokioRuntime.spawn(Box::pin(while_woken(TURNS, future)));
        }
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }
}

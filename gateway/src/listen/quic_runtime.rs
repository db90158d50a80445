//! How quinn's tasks run and send: as tokio's, but what is sent is put together (`quic_socket.rs`),
//! connections run in the tasks of their links (`quic_driver.rs`), and what receives gets its turn
//! before the rest is starved.
//!
//! One task of quinn's takes packets from the socket, for 50 µs at a time, and then waits until all
//! other tasks have had their turn. With a thousand clients that are all being sent something that
//! is several milliseconds, in which more packets arrive than are taken. Those that are nearly all,
//! acknowledgements, then delay the few that bring signals by as much as the socket's buffer holds:
//! 200 ms and more.

use std::{
    fmt,
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

use parking_lot::Mutex;
use quinn::{
    AsyncTimer, AsyncUdpSocket, Connecting, ConnectionError, Incoming, Runtime, TokioRuntime,
};

use super::{
    quic_driver::{Driver, Work},
    quic_socket::BatchingSocket,
};
use crate::{failure::Failure, woken::while_woken};

/// How often in a row the receiving task may go on: for 1.6 ms. The others wait so long at the worst,
/// when there is a flood.
const TURNS: u32 = 32;

/// The runtime of one endpoint.
pub(super) struct EndpointRuntime {
    /// Told if a task of the endpoint panics.
    failure: Failure,
    /// Whether the first task, which is the receiving one, has been started.
    receives: AtomicBool,
    /// What the connection that is being accepted wants to have run.
    driver: Mutex<Option<Work>>,
    /// One is accepted at a time.
    accepting: Mutex<()>,
}

impl EndpointRuntime {
    pub(super) fn new(failure: Failure) -> Self {
        let (receives, driver, accepting) = Default::default();
        Self { failure, receives, driver, accepting }
    }

    /// Accepts a connection. Its driver is the caller's to run.
    pub(super) fn accept(
        &self,
        incoming: Incoming,
    ) -> Result<(Connecting, Driver), ConnectionError> {
        let _one = self.accepting.lock();
        let connecting = incoming.accept()?;
        // quinn has just spawned it.
        let work = self.driver.lock().take();
        Ok((connecting, Driver::new(work.unwrap_or_else(|| Box::pin(async {})))))
    }
}

impl fmt::Debug for EndpointRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointRuntime").finish_non_exhaustive()
    }
}

impl Runtime for EndpointRuntime {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        if self.receives.swap(true, Ordering::Relaxed) {
            *self.driver.lock() = Some(future);
        } else {
            let receiving = self.failure.clone().of_quic(while_woken(TURNS, future));
            TokioRuntime.spawn(Box::pin(receiving));
        }
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let (socket, flusher) = BatchingSocket::new(TokioRuntime.wrap_udp_socket(socket)?);
        TokioRuntime.spawn(Box::pin(self.failure.clone().of_quic(flusher)));
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::atomic::AtomicU32, task::Poll};

    use super::*;

    /// A task that always wants to go on, and how often it was polled.
    fn eager() -> (Arc<AtomicU32>, Pin<Box<dyn Future<Output = ()> + Send>>) {
        let polls = Arc::new(AtomicU32::new(0));
        let counted = polls.clone();
        let task = poll_fn(move |cx| {
            counted.fetch_add(1, Ordering::Relaxed);
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        (polls, Box::pin(task))
    }

    #[tokio::test]
    async fn a_panic_of_the_task_that_receives_is_a_failure() {
        let failure = Failure::default();
        let runtime = EndpointRuntime::new(failure.clone());
        runtime.spawn(Box::pin(async { panic!("a fault") }));
        failure.reported().await;
    }

    #[tokio::test]
    async fn only_the_first_task_goes_on() {
        let runtime = EndpointRuntime::new(Failure::default());
        let ((receiving, first), (other, second)) = (eager(), eager());
        runtime.spawn(first);
        tokio::spawn(second);
        while other.load(Ordering::Relaxed) < 3 {
            tokio::task::yield_now().await;
        }
        let (receiving, other) = (receiving.load(Ordering::Relaxed), other.load(Ordering::Relaxed));
        assert!(receiving >= (other - 1) * TURNS, "{receiving} and {other}");
    }

    #[tokio::test]
    async fn the_others_are_left_to_who_accepts() {
        let runtime = EndpointRuntime::new(Failure::default());
        runtime.spawn(eager().1);
        let (polls, driving) = eager();
        runtime.spawn(driving);
        tokio::task::yield_now().await;
        assert_eq!(polls.load(Ordering::Relaxed), 0);
        assert!(runtime.driver.lock().is_some());
    }
}
